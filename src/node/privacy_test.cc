#include "node/privacy.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include <gtest/gtest.h>

#include "base/prng.h"

namespace sedge::node {
namespace {

double number(const std::string& text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::size_t spend(PrivacyLedger& ledger, std::string_view topic, double epsilon, std::size_t tries) {
  std::size_t taken = 0;
  for (std::size_t i = 0; i < tries; ++i) taken += ledger.spend(topic, epsilon, [] {}) ? 1 : 0;
  return taken;
}

TEST(Privacy, what_is_heard_is_the_number_on_average_and_as_wide_as_its_epsilon_says) {
  Prng prng(1);
  const PrivateOptions options{.epsilon = 2, .low = 0, .high = 100};
  double sum = 0, size = 0;
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) {
    const auto heard = with_noise("30", options, [&] { return prng.next(); });
    ASSERT_TRUE(heard);
    sum += number(*heard) - 30;
    size += std::abs(number(*heard) - 30);
  }
  EXPECT_NEAR(sum / kDraws, 0, 2.5);
  EXPECT_NEAR(size / kDraws, 50, 2.5) << "the range over epsilon";
}

TEST(Privacy, two_numbers_far_apart_are_heard_alike_by_the_factor_that_epsilon_allows) {
  Prng prng(2);
  const PrivateOptions options{.epsilon = 1, .low = 0, .high = 1};
  const auto histogram = [&](const char* value) {
    std::map<int, double> cells;
    for (int i = 0; i < 100'000; ++i) {
      const double heard = number(*with_noise(value, options, [&] { return prng.next(); }));
      ++cells[static_cast<int>(std::floor(std::clamp(heard, -3.0, 4.0)))];
    }
    return cells;
  };
  auto at_low = histogram("0");
  auto at_high = histogram("1");
  for (int cell = -3; cell <= 3; ++cell) {
    const double ratio = std::abs(std::log(at_low[cell] / at_high[cell]));
    EXPECT_LT(ratio, 1.0 + 0.08) << cell << ": and what chance adds";
  }
}

TEST(Privacy, whatever_the_number_only_the_grid_within_the_bounds_is_hidden_and_heard) {
  const PrivateOptions options{.epsilon = 1, .low = -1, .high = 1};
  for (const char* value : {"-1e308", "1e308", "0.1", "1e-320"}) {
    Prng prng(3);
    for (int i = 0; i < 100; ++i) {
      const double steps = (number(*with_noise(value, options, [&] { return prng.next(); })) + 1) / 2 * kGridSteps;
      EXPECT_EQ(steps, std::round(steps)) << "no bit of the number beside its place on the grid";
    }
  }
}

TEST(Privacy, what_is_no_number_or_has_no_bounds_is_refused) {
  const PrivateOptions good{.epsilon = 1, .low = 0, .high = 1};
  const auto word = [] { return std::uint64_t{7}; };
  for (const char* text : {"", "dry", "1 2", "nan", "inf", "0x1"}) EXPECT_FALSE(with_noise(text, good, word)) << text;
  EXPECT_TRUE(check_private(good));
  for (const PrivateOptions& bad : {PrivateOptions{0, 0, 1}, PrivateOptions{-1, 0, 1}, PrivateOptions{NAN, 0, 1},
                                    PrivateOptions{101, 0, 1}, PrivateOptions{1, 1, 1}, PrivateOptions{1, 2, 1},
                                    PrivateOptions{1, 0, INFINITY}, PrivateOptions{1, -1e308, 1e308}}) {
    EXPECT_FALSE(check_private(bad));
  }
}

TEST(Privacy, a_budget_that_is_no_number_or_less_than_nothing_is_refused) {
  for (const double budget : {-1.0, 1e10, std::nan(""), -std::numeric_limits<double>::infinity()}) {
    EXPECT_FALSE(check_budget(budget)) << budget;
  }
  EXPECT_TRUE(check_budget(0));
}

TEST(Privacy, a_topic_is_told_until_its_budget_is_spent_and_never_again_after_a_restart) {
  PrivacyLedger ledger({.budget = 1});
  EXPECT_EQ(spend(ledger, "soil", 0.1, 20), 10u) << "ten tenths, whatever doubles make of them";
  EXPECT_EQ(spend(ledger, "soil", 0.001, 1), 0u);
  EXPECT_EQ(spend(ledger, "air", 0.5, 1), 1u);
  const Status refused = ledger.spend("soil", 0.25, [] {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
  for (const char* word : {"'soil'", "1 of 1", "0.25", "--privacy-budget"}) {
    EXPECT_NE(refused.error().message.find(word), std::string::npos) << refused.error().message;
  }
  env::Outbox out;
  ledger.drain(out);
  PrivacyLedger next({.budget = 1});
  for (const env::Record& record : out.records) ASSERT_TRUE(next.load(record.key, record.value));
  EXPECT_EQ(spend(next, "soil", 0.001, 1), 0u);
  EXPECT_EQ(spend(next, "air", 0.5, 2), 1u);
  ASSERT_EQ(next.rows().size(), 2u);
  EXPECT_EQ(next.rows()[0].topic, "air");
  EXPECT_EQ(next.rows()[0].left, 0);
  EXPECT_FALSE(next.load(as_bytes("x"), {}));
}

TEST(Privacy, nothing_is_told_before_it_is_on_disk_what_it_spends) {
  PrivacyLedger ledger({.budget = 10});
  int told = 0;
  ASSERT_TRUE(ledger.spend("soil", 1, [&] { ++told; }));
  ledger.on_durable({5});
  EXPECT_EQ(told, 0) << "an earlier commit";
  ledger.on_persisting({6});
  ASSERT_TRUE(ledger.spend("soil", 1, [&] { ++told; }));
  ledger.on_durable({6});
  EXPECT_EQ(told, 1);
  ledger.on_persisting({7});
  ledger.on_durable({7});
  EXPECT_EQ(told, 2);
}

TEST(Privacy, budgets_of_too_many_topics_are_refused) {
  PrivacyLedger ledger({.budget = 10, .topics_max = 3});
  for (const char* topic : {"a", "b", "c"}) EXPECT_EQ(spend(ledger, topic, 1, 1), 1u);
  EXPECT_EQ(spend(ledger, "d", 1, 1), 0u);
  EXPECT_EQ(spend(ledger, "a", 1, 1), 1u);
}

}  // namespace
}  // namespace sedge::node
