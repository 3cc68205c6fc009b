// RMSNorm: Zhang & Sennrich 2019. The root and the quotient are correctly rounded everywhere.
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/lanes.h"

namespace sedge::kernels::scalar {

void rms_norm(const NormArgs& n) {
  Lanes squares;
  for (std::size_t i = 0; i < n.count; ++i) squares.fma(i % kLanes, n.x[i], n.x[i]);
  squares.close(n.count);
  const float scale = 1.0f / std::sqrt(squares.sum() / static_cast<float>(n.count) + n.epsilon);
  for (std::size_t i = 0; i < n.count; ++i) n.y[i] = n.x[i] * scale * n.weight[i];
}

}  // namespace sedge::kernels::scalar
