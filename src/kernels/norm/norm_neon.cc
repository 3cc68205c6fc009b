#include "kernels/simd_neon.h"

#include "kernels/norm/norm_simd.h"

namespace sedge::kernels::neon {

void rms_norm(const NormArgs& args) { simd::rms_norm<V>(args); }

}  // namespace sedge::kernels::neon
