// SwiGLU's product: Shazeer 2020. silu(x) = x / (1 + e^-x).
#include "kernels/kernels.h"
#include "kernels/math.h"

namespace sedge::kernels::scalar {

void silu_mul(const SiluArgs& s) {
  for (std::size_t i = 0; i < s.count; ++i) s.gate[i] = s.gate[i] / (1.0f + exp_f32(-s.gate[i])) * s.up[i];
}

}  // namespace sedge::kernels::scalar
