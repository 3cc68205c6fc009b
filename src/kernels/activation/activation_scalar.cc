// What stands between two products of a feed-forward network: SwiGLU's and GeGLU's (Shazeer 2020), with
// silu(x) = x / (1 + e^-x) and GELU by its tanh (Hendrycks & Gimpel 2016); and the cap on scores and logits
// (Gemma team 2024, §2).
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/math.h"

namespace sedge::kernels::scalar {

void silu_mul(const GatedArgs& s) {
  for (std::size_t i = 0; i < s.count; ++i) s.gate[i] = s.gate[i] / (1.0f + exp_f32(-s.gate[i])) * s.up[i];
}

void gelu_mul(const GatedArgs& s) {
  for (std::size_t i = 0; i < s.count; ++i) {
    const float x = s.gate[i], twice = x * std::fma(x * x, kGelu3, kGelu1);
    s.gate[i] = x / (1.0f + exp_f32(-twice)) * s.up[i];
  }
}

// tanh(u) = 1 - 2 / (e^2u + 1)
void softcap(const SoftcapArgs& s) {
  const float twice = 2.0f * s.scale / s.cap;
  for (std::size_t i = 0; i < s.count; ++i) {
    s.x[i] = s.cap * (1.0f - 2.0f / (exp_f32(s.x[i] * twice) + 1.0f));
  }
}

void exponential(const ExponentialArgs& s) {
  for (std::size_t i = 0; i < s.count; ++i) s.y[i] = exp_f32(s.x[i] - s.shift);
}

}  // namespace sedge::kernels::scalar
