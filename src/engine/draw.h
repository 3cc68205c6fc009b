// Draws one token of a distribution, the same one wherever and however it is drawn.
//
// The problem: a vocabulary has 150,000 tokens, and sorting them for every token costs more than a small model's pass.
// The idea: a race. Each token has an arrival time of its own, exponential with its probability as the rate; the first
// to arrive is drawn. That is exactly the distribution, needs no order, and most tokens are seen to be late before
// their probability is known. Filters keep the best so many; where they end is found without sorting. The times depend
// on seed, position and token alone: so the tokens that are left when some are forbidden are in their own distribution
// still, and two models that think much alike draw the same (draft_model.h). Rejected: cutting a sorted row of
// probabilities at one uniform number, where a little more of one token moves all behind it. Source: Gumbel 1954,
// Maddison et al. 2014 (the largest of perturbed logits is a draw); Efraimidis & Spirakis 2006 (exponential keys);
// Salmon et al. 2011 (Philox4x32-10); Steele et al. 2014 (SplitMix64); Holtzman et al. 2020 (top-p); Nguyen et al. 2024
// (min-p).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sedge::engine {

struct Candidate {
  float logit;
  std::int32_t id;
};

// Of equals the lower id.
inline bool better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// The `count` best whose logits are numbers and not minus infinity, best first.
std::vector<Candidate> best_candidates(std::span<const float> logits, std::size_t count);

// In this order; what each says, and when it is off: SamplingOptions.
struct Filters {
  std::uint32_t top_k = 0;
  float top_p = 1, min_p = 0;
};

// The token that is drawn at `position`. Probabilities are those of logits / temperature; filters see them at 1.
// Requires: a temperature over 0, and that `best` is the best logit and finite.
std::int32_t draw(std::span<const float> logits, float best, float temperature, const Filters& filters,
                  std::uint64_t seed, std::uint64_t position);

// Ten rounds of Philox 4x32.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

}  // namespace sedge::engine
