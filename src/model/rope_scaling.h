// How a model's positions are stretched past the context it first learned: factors by which each pair of dimensions
// turns more slowly, and a magnitude that keeps scores as sharp as they were.
// Sources: Chen et al. 2023 (linear); Peng et al. 2023, YaRN §3; Ding et al. 2024, LongRoPE.
#pragma once

#include <cstddef>
#include <vector>

namespace sedge::model {

struct RopeScaling {
  // kLongRope: factors come with the file; the short ones are used, and the context is that of the first training.
  enum class Kind { kNone, kLinear, kYarn, kLongRope };
  Kind kind = Kind::kNone;
  float factor = 1;                     // positive
  std::size_t original_context = 0;     // yarn, longrope
  float beta_fast = 32, beta_slow = 1;  // yarn: turns within the original context; above the first nothing is
                                        // stretched, below the second everything
  float magnitude = 1;                  // of rotated queries and keys, beyond what the kind says itself
  bool operator==(const RopeScaling&) const = default;
};

// Factors of kLinear and kYarn: [rope_dim / 2]; empty for others. Pair i turns by position · base^(-2i/rope_dim) /
// factors[i].
std::vector<float> scaling_factors(const RopeScaling& scaling, std::size_t rope_dim, float base);

// By which rotated queries and keys are multiplied.
double scaling_magnitude(const RopeScaling& scaling);

}  // namespace sedge::model
