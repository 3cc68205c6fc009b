// Which token comes next. Drawn by a counter-based generator (draw.h): the draw at a position is a function of (seed,
// position) alone, so that a text resumed on another node goes on with the very draws it would have had.
// Rejected: a generator with state, which would have to travel with the task and be advanced in step.
// Source: Keskar et al. 2019 (repetition penalty).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

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
  float frequency_penalty = 0;                       // taken off a token's logit for each time it was generated; 0: off
  float presence_penalty = 0;                        // and once if it was; 0: off
  std::vector<std::pair<std::int32_t, float>> bias;  // added to these tokens' logits, before all else; of kBiasMax
};

inline constexpr std::size_t kBiasMax = 1024;

// The natural logarithm of a probability, in the model's own distribution.
struct Logprob {
  std::int32_t id = 0;
  float logprob = 0;
};

// Of the `count` best tokens that can come, best first; ties go to the lower id. `logits` as the model gave them.
std::vector<Logprob> best_logprobs(std::span<const float> logits, std::size_t count);
// log(sum(exp(logits))): a token's logprob is its logit less this.
float log_total(std::span<const float> logits);

// Which tokens may come next, where not all may (grammar/constraint.h). Asked lazily: most of the time about one.
class AllowedTokens {
 public:
  virtual ~AllowedTokens() = default;
  virtual bool allows(std::int32_t id) = 0;
  // A bit a token, lowest first; valid until the next call. Errors: what allows them cannot be asked about them all.
  virtual Result<std::span<const std::uint64_t>> mask() = 0;
};

// Errors: InvalidArgument naming the field and its range.
Status check_sampling(const SamplingOptions& options);

// Chooses the token that stands at `position`, after `history` (its end is what is recent; its first `prompt` tokens
// were given, the others generated). In this order: bias, penalties, top-k, top-p, min-p; then temperature.
// Ties go to the lower id. `logits` [vocab] is changed.
// Where `allowed` forbids what came out, it is chosen again of those that are allowed, by the same draw: that is the
// model's distribution over them.
// Requires: options that check_sampling accepts.
// Errors: DataLoss when no logit is a number (damaged weights); InvalidArgument when no token is allowed; those of
// mask().
Result<std::int32_t> sample(std::span<float> logits, std::span<const std::int32_t> history, std::size_t position,
                            const SamplingOptions& options, AllowedTokens* allowed = nullptr, std::size_t prompt = 0);

}  // namespace sedge::engine
