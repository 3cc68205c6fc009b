#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/draw.h"
#include "kernels/kernels.h"
#include "kernels/math.h"

namespace sedge::engine {
namespace {

void add_bias(std::span<float> logits, const SamplingOptions& options) {
  for (const auto& [id, bias] : options.bias) {
    if (id >= 0 && static_cast<std::size_t>(id) < logits.size()) logits[static_cast<std::size_t>(id)] += bias;
  }
}

void penalise_generated(std::span<float> logits, std::span<const std::int32_t> generated,
                        const SamplingOptions& options) {
  if (options.frequency_penalty == 0.0f && options.presence_penalty == 0.0f) return;
  std::vector<std::int32_t> ids(generated.begin(), generated.end());
  std::ranges::sort(ids);
  for (std::size_t i = 0, same = 0; i < ids.size(); i += same) {
    for (same = 1; i + same < ids.size() && ids[i + same] == ids[i];) ++same;
    if (ids[i] < 0 || static_cast<std::size_t>(ids[i]) >= logits.size()) continue;
    logits[static_cast<std::size_t>(ids[i])] -=
        static_cast<float>(same) * options.frequency_penalty + options.presence_penalty;
  }
}

void penalise(std::span<float> logits, std::span<const std::int32_t> history, const SamplingOptions& options) {
  if (options.repeat_penalty == 1.0f) return;
  const auto recent = history.last(std::min<std::size_t>(history.size(), options.repeat_last));
  for (auto at = recent.begin(); at != recent.end(); ++at) {
    const std::int32_t id = *at;
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
    if (std::find(recent.begin(), at, id) != at) continue;  // each once, however often it came
    float& logit = logits[static_cast<std::size_t>(id)];
    logit = logit > 0 ? logit / options.repeat_penalty : logit * options.repeat_penalty;
  }
}

// The token; negative: there is none.
std::int32_t choose(std::span<const float> logits, std::size_t position, const SamplingOptions& options) {
  Candidate best{-std::numeric_limits<float>::infinity(), -1};
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > best.logit) best = {logits[i], static_cast<std::int32_t>(i)};
  }
  if (best.id < 0 || options.temperature == 0.0f || best.logit == std::numeric_limits<float>::infinity())
    return best.id;
  const Filters filters{.top_k = options.top_k, .top_p = options.top_p, .min_p = options.min_p};
  return draw(logits, best.logit, options.temperature, filters, options.seed, position);
}

// A model may have more logits than its vocabulary has tokens: those are no tokens.
void forbid_others(std::span<float> logits, std::span<const std::uint64_t> mask) {
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (i / 64 >= mask.size() || (mask[i / 64] >> (i % 64) & 1) == 0)
      logits[i] = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace

Status check_sampling(const SamplingOptions& options) {
  struct Range {
    std::string_view name;
    float value, low, high;
  };
  const Range ranges[] = {{"temperature", options.temperature, 0, 100},
                          {"top_p", options.top_p, 0, 1},
                          {"min_p", options.min_p, 0, 1},
                          {"repeat_penalty", options.repeat_penalty, 0.01f, 100},
                          {"frequency_penalty", options.frequency_penalty, -100, 100},
                          {"presence_penalty", options.presence_penalty, -100, 100}};
  for (const Range& range : ranges) {
    if (range.value >= range.low && range.value <= range.high) continue;
    return fail(Code::kInvalidArgument, "{} is {}, it must be from {} to {}", range.name, range.value, range.low,
                range.high);
  }
  if (options.bias.size() > kBiasMax) {
    return fail(Code::kInvalidArgument, "logit_bias names {} tokens, at most {} are taken", options.bias.size(),
                kBiasMax);
  }
  for (const auto& [id, bias] : options.bias) {
    if (std::abs(bias) <= 1000.0f) continue;
    return fail(Code::kInvalidArgument, "logit_bias of token {} is {}, it must be from -1000 to 1000", id, bias);
  }
  return {};
}

Result<std::int32_t> sample(std::span<float> logits, std::span<const std::int32_t> history, std::size_t position,
                            const SamplingOptions& options, AllowedTokens* allowed, std::size_t prompt) {
  add_bias(logits, options);
  penalise_generated(logits, history.subspan(std::min(prompt, history.size())), options);
  penalise(logits, history, options);
  const std::int32_t chosen = choose(logits, position, options);
  if (chosen < 0)
    return fail(Code::kDataLoss, "no logit at position {} is a number: the model's weights are damaged", position);
  if (allowed == nullptr || allowed->allows(chosen)) return chosen;
  SEDGE_TRY(const auto mask, allowed->mask());
  forbid_others(logits, mask);
  const std::int32_t again = choose(logits, position, options);
  if (again < 0) {
    return fail(Code::kInvalidArgument, "no token of the vocabulary goes on as the grammar asks, at position {}",
                position);
  }
  return again;
}

float log_total(std::span<const float> logits) {
  float best = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) best = std::max(best, logit);
  if (best == -std::numeric_limits<float>::infinity()) return best;
  std::vector<float> exponentials(logits.size());
  kernels::active_kernels().exponential({logits.data(), logits.size(), best, exponentials.data()});
  double total = 0;
  for (const float each : exponentials) total += static_cast<double>(each);
  return best + static_cast<float>(kernels::log_f64(total));
}

std::vector<Logprob> best_logprobs(std::span<const float> logits, std::size_t count) {
  const float total = log_total(logits);
  std::vector<Logprob> best;
  for (const Candidate& each : best_candidates(logits, count)) best.push_back({each.id, each.logit - total});
  return best;
}

}  // namespace sedge::engine
