#include "kernels/simd_avx512.h"

#include "kernels/quantize/quantize_simd.h"

namespace sedge::kernels::avx512vnni {

void quantize_q8(const QuantizeArgs& args) { simd::quantize_q8<V>(args); }

}  // namespace sedge::kernels::avx512vnni
