#include "kernels/simd_avx512.h"

#include "kernels/attention/attention_simd.h"

namespace sedge::kernels::avx512vnni {

void attend(const AttentionArgs& args) { simd::attend<V>(args); }

}  // namespace sedge::kernels::avx512vnni
