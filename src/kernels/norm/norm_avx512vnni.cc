#include "kernels/simd_avx512.h"

#include "kernels/norm/norm_simd.h"

namespace sedge::kernels::avx512vnni {

void rms_norm(const NormArgs& args) { simd::rms_norm<V>(args); }

}  // namespace sedge::kernels::avx512vnni
