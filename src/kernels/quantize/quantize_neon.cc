#include "kernels/simd_neon.h"

#include "kernels/quantize/quantize_simd.h"

namespace sedge::kernels::neon {

void quantize_q8(const QuantizeArgs& args) { simd::quantize_q8<V>(args); }

}  // namespace sedge::kernels::neon
