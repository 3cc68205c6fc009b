#include "kernels/simd_avx2.h"

#include "kernels/norm/norm_simd.h"

namespace sedge::kernels::avx2 {

void rms_norm(const NormArgs& args) { simd::rms_norm<V>(args); }

}  // namespace sedge::kernels::avx2
