// Activations to 8-bit blocks, for the integer dot products.
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/math.h"

namespace sedge::kernels::scalar {

void quantize_q8(const QuantizeArgs& q) {
  for (std::size_t b = 0; b < q.count / 32; ++b) {
    const float* x = q.x + b * 32;
    float largest = 0.0f;
    for (std::size_t i = 0; i < 32; ++i) largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
    const float to_quant = largest > 0.0f ? 127.0f / largest : 0.0f;
    q.scales[b] = f16_to_f32(f32_to_f16(largest / 127.0f));
    q.sums[2 * b] = q.sums[2 * b + 1] = 0;
    for (std::size_t i = 0; i < 32; ++i) {
      float v = x[i] * to_quant;
      v = v > -127.0f ? v : -127.0f;  // a NaN too
      v = v < 127.0f ? v : 127.0f;
      q.quants[b * 32 + i] = static_cast<std::int8_t>(v + kRoundMagic - kRoundMagic);  // to nearest, ties to even
      q.sums[2 * b + i / 16] += q.quants[b * 32 + i];
    }
  }
}

}  // namespace sedge::kernels::scalar
