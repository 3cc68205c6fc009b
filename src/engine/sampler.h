// Which token comes next. Drawn by a counter-based generator: the draw at a position is a function of (seed,
// position) alone, so that a text resumed on another node goes on with the very draws it would have had.
// Rejected: a generator with state, which would have to travel with the task and be advanced in step.
// Source: Salmon et al. 2011 (Philox4x32-10); Holtzman et al. 2020 (top-p); Nguyen et al. 2024 (min-p);
//         Keskar et al. 2019 (repetition penalty).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace sedge::engine {

struct SamplingOptions {
  float temperature = 0;           // 0: the best token, always
  std::uint32_t top_k = 0;         // the k best; 0: off
  float top_p = 1;                 // the best that together reach this probability; 1: off
  float min_p = 0;                 // at least this fraction of the best one's probability; 0: off
  float repeat_penalty = 1;        // divides positive, multiplies negative logits of recent tokens; 1: off
  std::uint32_t repeat_last = 64;  // how many recent tokens those are
  std::uint64_t seed = 0;
};

// Errors: InvalidArgument naming the field and its range.
Status check_sampling(const SamplingOptions& options);

// Chooses the token that stands at `position`, after `history` (prompt included; its end is what is recent).
// Filters apply in this order to the model's own distribution: penalty, top-k, top-p, min-p; then temperature.
// Ties go to the lower id. `logits` [vocab] is changed.
// Requires: options that check_sampling accepts.  Errors: DataLoss when no logit is a number (damaged weights).
Result<std::int32_t> sample(std::span<float> logits, std::span<const std::int32_t> history, std::size_t position,
                            const SamplingOptions& options);

// Ten rounds of Philox 4x32.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// Uniform in [0, 1), 53 bits.
double uniform_at(std::uint64_t seed, std::uint64_t position);

}  // namespace sedge::engine
