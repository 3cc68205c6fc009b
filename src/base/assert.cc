#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace sedge {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "sedge: assertion failed: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace sedge
