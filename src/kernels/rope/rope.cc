#include "kernels/rope/rope.h"

#include "kernels/math.h"

namespace sedge::kernels {

std::vector<double> rope_frequencies(std::size_t rope_dim, double base, std::span<const float> factors) {
  std::vector<double> frequencies(rope_dim / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = pow_f64(base, -2.0 * static_cast<double>(i) / static_cast<double>(rope_dim));
    if (!factors.empty()) frequencies[i] /= static_cast<double>(factors[i]);
  }
  return frequencies;
}

void rope_angles(std::span<const double> frequencies, std::size_t position, double magnitude, float* cosines,
                 float* sines) {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const SinCos angle = sin_cos(static_cast<double>(position) * frequencies[i]);
    cosines[i] = static_cast<float>(angle.cos * magnitude);
    sines[i] = static_cast<float>(angle.sin * magnitude);
  }
}

void rope(const RopeArgs& r) {
  const std::size_t step = r.interleaved ? 2 : 1, apart = r.interleaved ? 1 : r.pairs;
  for (std::size_t h = 0; h < r.heads; ++h) {
    float* head = r.x + h * r.head_dim;
    for (std::size_t i = 0; i < r.pairs; ++i) {
      float& a = head[i * step];
      float& b = head[i * step + apart];
      const float x = a, y = b;
      a = x * r.cosines[i] - y * r.sines[i];
      b = x * r.sines[i] + y * r.cosines[i];
    }
  }
}

}  // namespace sedge::kernels
