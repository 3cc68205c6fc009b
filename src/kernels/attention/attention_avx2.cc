#include "kernels/simd_avx2.h"

#include "kernels/attention/attention_simd.h"

namespace sedge::kernels::avx2 {

void attend_f32(const AttentionArgs& args) { simd::attend<V, simd::KeptF32<V>>(args); }
void attend_f16(const AttentionArgs& args) { simd::attend<V, simd::KeptF16<V>>(args); }
void attend_q8_0(const AttentionArgs& args) { simd::attend<V, simd::KeptQ8<V>>(args); }
void attend_q4_0(const AttentionArgs& args) { simd::attend<V, simd::KeptQ4<V>>(args); }

}  // namespace sedge::kernels::avx2
