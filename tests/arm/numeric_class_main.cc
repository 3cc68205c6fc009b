// Prints this machine's fingerprint for each instruction set; fails when one is not the numeric class's, or when
// products of few or of many tokens are not the definition's.
#include <cstdio>

#include "kernels/kernel_cases.h"
#include "kernels/numeric_class.h"

namespace {

using namespace sedge;
using namespace sedge::kernels;

bool is_of_the_class(const Kernels& set) {
  const auto found = numeric_fingerprint(set);
  std::printf("%.*s %016llx\n", static_cast<int>(set.isa.size()), set.isa.data(),
              static_cast<unsigned long long>(found));
  return found == kNumericFingerprint;
}

// A group of sixteen rows and a part of one, 288 columns or two blocks of 256.
bool multiply_as_defined(const Format& format) {
  Prng prng(17);
  cases::Case<MatmulArgs> random(prng, {.rows = 19, .cols = 288, .tokens = 97}, format.type);
  bool same = true;
  for (const std::size_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 97}) {
    random.args.tokens = tokens;
    const Buffer expected = random.run(available_kernels().front().matmul(format.type));
    for (const Kernels& set : available_kernels()) {
      if (random.run(set.matmul(format.type)) == expected) continue;
      std::fprintf(stderr, "%.*s on %.*s differs with %zu tokens\n", static_cast<int>(format.name.size()),
                   format.name.data(), static_cast<int>(set.isa.size()), set.isa.data(), tokens);
      same = false;
    }
  }
  return same;
}

}  // namespace

int main() {
  bool same = true;
  for (const Kernels& set : available_kernels()) same = is_of_the_class(set) && same;
  for (const Format& format : formats()) same = multiply_as_defined(format) && same;
  return same ? 0 : 1;
}
