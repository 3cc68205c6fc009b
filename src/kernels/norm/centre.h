// The half of LayerNorm (Ba et al. 2016) that RMSNorm lacks: y = x - mean(x). rms_norm of y, plus a bias, is the rest.
// The sum keeps the lanes of lanes.h; one pass over a row needs no vector file.
#pragma once

#include <span>

namespace sedge::kernels {

// Shapes:   y [x.size()]; may be x itself.   Requires: x is not empty.
void centre(std::span<const float> x, float* y);

}  // namespace sedge::kernels
