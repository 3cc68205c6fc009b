#include "kernels/simd_neon.h"

#include "kernels/activation/activation_simd.h"

namespace sedge::kernels::neon {

void silu_mul(const SiluArgs& args) { simd::silu_mul<V>(args); }

}  // namespace sedge::kernels::neon
