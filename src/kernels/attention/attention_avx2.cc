#include "kernels/simd_avx2.h"

#include "kernels/attention/attention_simd.h"

namespace sedge::kernels::avx2 {

void attend(const AttentionArgs& args) { simd::attend<V>(args); }

}  // namespace sedge::kernels::avx2
