// A mixture of experts (Shazeer et al. 2017; Jiang et al. 2024): a router chooses a few experts for each token, and
// only those are computed.
//
// The tokens of a chunk that chose one expert are gathered and pass it together, so that its weights are read once;
// what an expert gives a token depends on that token alone, and a token's sum runs in the order of its own choice: a
// batch changes no bit. Rejected: multiplying each token by itself (a prefill would read every expert once a token).
#include <algorithm>
#include <cmath>

#include "engine/pass.h"
#include "kernels/math.h"

namespace sedge::engine {

// The experts of one token with the largest logits, descending (ties: the lower number), and their shares: softmax over
// the chosen. Dividing by the sum over all experts first would cancel.
void Pass::choose(const float* logits, std::uint32_t* chosen, float* shares) const {
  const std::size_t used = config_.experts_used;
  for (std::size_t rank = 0; rank < used; ++rank) {
    std::size_t best = config_.experts;
    for (std::size_t e = 0; e < config_.experts; ++e) {
      const bool taken = std::find(chosen, chosen + rank, e) != chosen + rank;
      if (!taken && (best == config_.experts || logits[e] > logits[best])) best = e;
    }
    chosen[rank] = static_cast<std::uint32_t>(best);
  }
  float sum = 0;
  for (std::size_t rank = 0; rank < used; ++rank) {
    shares[rank] = kernels::exp_f32(logits[chosen[rank]] - logits[chosen[0]]);
    sum += shares[rank];
  }
  for (std::size_t rank = 0; rank < used; ++rank) shares[rank] /= sum;
}

// What expert `number` gives to the tokens that chose it, into their places of expert_sums_.
bool Pass::run_expert(const model::LlamaExpert& expert, std::uint32_t number, const float* x) {
  const std::size_t dim = config_.dim, used = config_.experts_used;
  const std::uint32_t* chosen = e_.chosen_.data();
  std::size_t count = 0;
  float* gathered = at_least(e_.gathered_, n_ * dim);
  for (std::size_t i = 0; i < n_ * used; ++i) {
    if (chosen[i] == number) std::copy_n(x + i / used * dim, dim, gathered + count++ * dim);
  }
  if (count == 0) return true;
  float* out = at_least(e_.expert_out_, n_ * dim);
  Pass part(e_, model_, count, control_);
  if (!part.run_network({.gate = &expert.gate, .up = &expert.up, .down = &expert.down, .width = config_.expert_ffn_dim},
                        gathered, out, nullptr))
    return false;
  for (std::size_t i = 0; i < n_ * used; ++i) {
    if (chosen[i] != number) continue;
    std::copy_n(out, dim, e_.expert_sums_.data() + i * dim);
    out += dim;
  }
  return true;
}

// y [tokens, dim] = the sum over the chosen experts, each times its share.
bool Pass::mixture(const model::LlamaLayer& w, const float* x, float* y) {
  const std::size_t dim = config_.dim, used = config_.experts_used;
  float* logits = at_least(e_.router_, n_ * config_.experts);
  const Product router{.weights = &w.router, .y = logits};
  if (!multiply(x, {&router, 1})) return false;
  std::uint32_t* chosen = at_least(e_.chosen_, n_ * used);
  float* shares = at_least(e_.shares_, n_ * used);
  for_each_token([&](std::size_t t) { choose(logits + t * config_.experts, chosen + t * used, shares + t * used); });
  const float* given = at_least(e_.expert_sums_, n_ * used * dim);
  for (std::size_t e = 0; e < w.experts.size(); ++e) {
    if (!run_expert(w.experts[e], static_cast<std::uint32_t>(e), x)) return false;
  }
  for_each_token([&](std::size_t t) {
    std::fill_n(y + t * dim, dim, 0.0f);
    for (std::size_t rank = 0; rank < used; ++rank) {
      const float share = shares[t * used + rank], *from = given + (t * used + rank) * dim;
      for (std::size_t d = 0; d < dim; ++d) y[t * dim + d] += share * from[d];
    }
  });
  return true;
}

}  // namespace sedge::engine
