// How a model's positions are stretched past the context it first learned: factors by which each pair of dimensions
// turns more slowly, and a magnitude that keeps scores as sharp as they were.
// Llama 3.1's factors alone are no kind of it: they come with the file, as a tensor.
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

// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between blended.
struct Llama3Scaling {
  float factor = 8;
  float low = 1, high = 4;  // turns within the original context: at the first all is divided, at the second nothing
  std::size_t original_context = 8192;
};

// [rope_dim / 2], as above. Requires: factor >= 1, 0 < low < high, a context above 0.
std::vector<float> llama3_factors(const Llama3Scaling& scaling, std::size_t rope_dim, float base);

// By which rotated queries and keys are multiplied.
double scaling_magnitude(const RopeScaling& scaling);

}  // namespace sedge::model
