#include "kernels/simd_avx512.h"

#include "kernels/activation/activation_simd.h"

namespace sedge::kernels::avx512vnni {

void silu_mul(const SiluArgs& args) { simd::silu_mul<V>(args); }

}  // namespace sedge::kernels::avx512vnni
