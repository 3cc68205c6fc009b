#include "kernels/simd_neon.h"

#include "kernels/attention/attention_simd.h"

namespace sedge::kernels::neon {

void attend(const AttentionArgs& args) { simd::attend<V>(args); }

}  // namespace sedge::kernels::neon
