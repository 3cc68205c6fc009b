// Rotary position embedding: Su et al. 2021. Angles in double from functions of our own (math.h), once a token and
// shared by all layers and heads; the rotation itself is six plain operations a pair and needs no vector file.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace sedge::kernels {

// Angular frequencies, radians a position: base^(-2i / rope_dim) / factors[i]. `factors` empty or [rope_dim / 2].
std::vector<double> rope_frequencies(std::size_t rope_dim, double base, std::span<const float> factors);

// cosines, sines [frequencies] of one position, times `magnitude` (1, or what a stretched context asks for).
void rope_angles(std::span<const double> frequencies, std::size_t position, double magnitude, float* cosines,
                 float* sines);

// Rotates `heads` heads of head_dim values in place. Pair i is (2i, 2i + 1) when interleaved, else (i, i + pairs).
struct RopeArgs {
  float* x;  // [heads, head_dim]
  std::size_t heads;
  std::size_t head_dim;
  std::size_t pairs;  // rope_dim / 2; dimensions past 2 · pairs stay
  const float* cosines;
  const float* sines;
  bool interleaved;
};
void rope(const RopeArgs& args);

}  // namespace sedge::kernels
