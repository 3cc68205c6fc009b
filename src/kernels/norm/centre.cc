#include "kernels/norm/centre.h"

#include "kernels/lanes.h"

namespace sedge::kernels {

void centre(std::span<const float> x, float* y) {
  scalar::Lanes lanes;
  for (std::size_t i = 0; i < x.size(); ++i) lanes.add(i % scalar::kLanes, x[i]);
  const float mean = lanes.sum() / static_cast<float>(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] - mean;
}

}  // namespace sedge::kernels
