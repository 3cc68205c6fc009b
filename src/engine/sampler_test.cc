#include "engine/sampler.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace sedge::engine {
namespace {

std::int32_t best_of(std::vector<float> logits, std::vector<std::int32_t> history, std::size_t prompt,
                     const SamplingOptions& options) {
  return sample(logits, history, history.size(), options, nullptr, prompt).value();
}

TEST(Sampler, filters_keep_what_they_say) {
  const std::vector<float> logits = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f, std::nanf("")};
  const auto drawn = [&](const SamplingOptions& options) {
    std::vector<bool> seen(logits.size());
    for (std::size_t position = 0; position < 400; ++position) {
      std::vector<float> copy = logits;
      seen[static_cast<std::size_t>(sample(copy, {}, position, options).value())] = true;
    }
    return seen;
  };
  EXPECT_EQ(drawn({}), (std::vector<bool>{false, true, false, false, false, false}));  // of equals the lower id
  EXPECT_EQ(drawn({.temperature = 1.5f}), (std::vector<bool>{true, true, true, true, true, false}));
  EXPECT_EQ(drawn({.temperature = 5, .top_k = 3}), (std::vector<bool>{false, true, true, true, false, false}));
  EXPECT_EQ(drawn({.temperature = 5, .top_p = 0.5f}), (std::vector<bool>{false, true, false, true, false, false}));
  EXPECT_EQ(drawn({.temperature = 5, .min_p = 0.3f}), (std::vector<bool>{false, true, true, true, false, false}));
}

TEST(Sampler, a_penalty_turns_away_from_what_was_said_and_damaged_logits_are_an_error) {
  std::vector<float> logits = {1.0f, 3.0f, 2.9f};
  const std::int32_t history[] = {1, 1, 1};
  EXPECT_EQ(sample(logits, history, 3, {.repeat_penalty = 1.2f}).value(), 2);
  EXPECT_FLOAT_EQ(logits[1], 2.5f);  // once, however often it was said
  std::vector<float> nothing(4, std::nanf(""));
  EXPECT_EQ(sample(nothing, {}, 0, {}).error().code, Code::kDataLoss);
}

TEST(Sampler, draws_follow_the_softmax) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), std::log(5.0f)};
  std::vector<double> counts(3);
  constexpr int kDraws = 40000;
  for (std::size_t position = 0; position < kDraws; ++position) {
    std::vector<float> copy = logits;
    counts[static_cast<std::size_t>(sample(copy, {}, position, {.temperature = 1, .seed = 3}).value())] += 1.0 / kDraws;
  }
  EXPECT_NEAR(counts[0], 0.125, 0.01);
  EXPECT_NEAR(counts[1], 0.25, 0.01);
  EXPECT_NEAR(counts[2], 0.625, 0.01);
}

TEST(Sampler, frequency_counts_and_presence_asks_what_was_generated_and_nothing_of_the_prompt) {
  const std::vector<float> logits = {1.0f, 2.0f, 1.6f};
  EXPECT_EQ(best_of(logits, {1, 1, 1}, 3, {.frequency_penalty = 1}), 1) << "all of it is prompt";
  EXPECT_EQ(best_of(logits, {0, 1}, 1, {.frequency_penalty = 0.3f}), 1);
  EXPECT_EQ(best_of(logits, {0, 1, 1}, 1, {.frequency_penalty = 0.3f}), 2);
  EXPECT_EQ(best_of(logits, {0, 1}, 1, {.presence_penalty = 0.5f}), 2);
  EXPECT_EQ(best_of(logits, {1, 1, 1, 1}, 0, {.presence_penalty = 0.3f}), 1) << "once, however often it came";
  EXPECT_EQ(best_of(logits, {0, 2}, 0, {.presence_penalty = -1}), 2) << "below zero it asks for repetition";
}

TEST(Sampler, a_bias_is_added_before_all_else_and_names_tokens_of_the_vocabulary) {
  const std::vector<float> logits = {1, 2, 1.5f};
  EXPECT_EQ(best_of(logits, {}, 0, {.bias = {{1, -100.0f}}}), 2);
  EXPECT_EQ(best_of(logits, {}, 0, {.bias = {{0, 5.0f}, {77, 100.0f}, {-3, 100.0f}}}), 0);
  EXPECT_EQ(check_sampling({.bias = {{0, std::nanf("")}}}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(check_sampling({.frequency_penalty = 1e9f}).error().code, Code::kInvalidArgument);
}

TEST(Sampler, logprobs_are_of_the_models_own_distribution_best_first) {
  const std::vector<float> logits = {0, std::log(2.0f), -INFINITY, std::log(2.0f), std::log(3.0f)};
  const auto best = best_logprobs(logits, 3);
  ASSERT_EQ(best.size(), 3u);
  EXPECT_EQ(best[0].id, 4);
  EXPECT_EQ(best[1].id, 1) << "ties go to the lower id";
  EXPECT_EQ(best[2].id, 3);
  EXPECT_NEAR(best[0].logprob, std::log(3.0 / 8), 1e-5);
  EXPECT_NEAR(logits[0] - log_total(logits), std::log(1.0 / 8), 1e-5);
  EXPECT_EQ(best_logprobs(logits, 99).size(), 4u) << "what cannot come is not told";
}

}  // namespace
}  // namespace sedge::engine
