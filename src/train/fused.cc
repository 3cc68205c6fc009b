#include "train/fused.h"

#include <cstring>

namespace sedge::train {

namespace portable {
extern const Fused kFused;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Fused kFused;
}
namespace avx512 {
extern const Fused kFused;
}
#endif

namespace {

struct Row {
  const Fused* fused;
  bool (*runs_here)();
};

constexpr Row kTable[] = {
// best first
#if defined(__x86_64__)
    {&avx512::kFused,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
     }},
    {&avx2::kFused, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
    {&portable::kFused, [] { return true; }},
};

}  // namespace

const Fused* fused(const char* name) {
  for (const Row& row : kTable) {
    if (row.runs_here() && (name == nullptr || std::strcmp(row.fused->name, name) == 0)) return row.fused;
  }
  return nullptr;
}

const Fused& fused() { return *fused(nullptr); }

std::size_t attention_scratch_floats(std::size_t length, std::size_t head_dim) {
  const std::size_t padded = (length + 15) / 16 * 16;
  return padded * (9 * head_dim + 2 * 32);
}

}  // namespace sedge::train
