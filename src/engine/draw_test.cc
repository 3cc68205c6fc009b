#include "engine/draw.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/prng.h"
#include "kernels/math.h"

namespace sedge::engine {
namespace {

// Few different values, so that many are equal; some are no numbers, some forbidden, one at least is a number.
std::vector<float> some_logits(Prng& prng, std::size_t count) {
  std::vector<float> logits(count);
  for (float& logit : logits) {
    logit = static_cast<float>(prng.below(40)) * 0.5f - 10;
    if (prng.below(10) == 0) logit = -std::numeric_limits<float>::infinity();
    if (prng.below(20) == 0) logit = std::nanf("");
  }
  logits[prng.below(count)] = 3;
  return logits;
}

std::vector<Candidate> sorted(std::span<const float> logits) {
  std::vector<Candidate> all;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > -std::numeric_limits<float>::infinity()) all.push_back({logits[i], static_cast<std::int32_t>(i)});
  }
  std::ranges::sort(all, better);
  return all;
}

// As numeric_class.md §7 says it, with everything sorted and every time computed.
std::int32_t draw_by_definition(std::span<const float> logits, float temperature, const Filters& filters,
                                std::uint64_t seed, std::uint64_t position) {
  std::vector<Candidate> kept = sorted(logits);
  const float best = kept[0].logit;
  if (filters.top_k > 0 && filters.top_k < kept.size()) kept.resize(filters.top_k);
  const auto weight = [&](const Candidate& c) {
    return static_cast<std::uint64_t>(kernels::exp_f32(c.logit - best) * 0x1p40f);
  };
  if (filters.top_p < 1) {
    std::uint64_t total = 0, sum = 0;
    for (const Candidate& each : kept) total += weight(each);
    const auto wanted = static_cast<std::uint64_t>(static_cast<double>(filters.top_p) * static_cast<double>(total));
    std::size_t count = 0;
    while (count < kept.size() && (count == 0 || sum < wanted)) sum += weight(kept[count++]);
    kept.resize(count);
  }
  const auto words = philox({static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32), 0, 0},
                            {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  double fastest = 0;
  std::int32_t first = -1;
  std::ranges::sort(kept, {}, &Candidate::id);
  for (const Candidate& each : kept) {
    if (kernels::exp_f32(each.logit - best) < filters.min_p) continue;
    std::uint64_t state =
        (std::uint64_t{words[0]} << 32 | words[1]) + static_cast<std::uint64_t>(each.id) * 0x9E3779B97F4A7C15ULL;
    const double u = (static_cast<double>(splitmix64(state) >> 12) + 0.5) * 0x1p-52;
    const double rate = static_cast<double>(kernels::exp_f32((each.logit - best) / temperature)) / -kernels::log_f64(u);
    if (rate > fastest) fastest = rate, first = each.id;
  }
  return first;
}

TEST(Draw, philox_gives_the_published_vectors) {  // Random123's kat_vectors
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// With the best of them looked for.
std::int32_t drawn(std::span<const float> logits, float temperature, const Filters& filters, std::uint64_t seed,
                   std::uint64_t position) {
  return draw(logits, best_candidates(logits, 1)[0].logit, temperature, filters, seed, position);
}

TEST(Draw, is_what_it_is_defined_to_be_without_looking_at_everything) {
  EXPECT_TRUE(rc::check([] {
    Prng prng(*rc::gen::arbitrary<std::uint64_t>());
    const auto logits = some_logits(prng, 1 + prng.below(300));
    const Filters filters{.top_k = static_cast<std::uint32_t>(prng.below(2) == 0 ? 0 : prng.below(50)),
                          .top_p = prng.below(2) == 0 ? 1.0f : static_cast<float>(prng.uniform()),
                          .min_p = prng.below(2) == 0 ? 0.0f : static_cast<float>(prng.uniform())};
    const std::array<float, 5> temperatures = {0.1f, 0.7f, 1, 3, 100};
    const float temperature = temperatures[prng.below(temperatures.size())];
    const std::uint64_t seed = prng.next();
    for (std::uint64_t position = 0; position < 20; ++position) {
      RC_ASSERT(drawn(logits, temperature, filters, seed, position) ==
                draw_by_definition(logits, temperature, filters, seed, position));
    }
  }));
}

TEST(Draw, the_best_are_those_of_a_sorted_row) {
  EXPECT_TRUE(rc::check([] {
    Prng prng(*rc::gen::arbitrary<std::uint64_t>());
    const auto logits = some_logits(prng, 1 + prng.below(100));
    const std::size_t count = prng.below(120);
    auto expected = sorted(logits);
    expected.resize(std::min(count, expected.size()));
    const auto best = best_candidates(logits, count);
    RC_ASSERT(best.size() == expected.size());
    for (std::size_t i = 0; i < best.size(); ++i) RC_ASSERT(best[i].id == expected[i].id);
  }));
}

// Who wins among some is the first of them among all: what is forbidden takes nothing from the others' odds.
TEST(Draw, without_the_winner_the_next_is_drawn_in_the_distribution_of_the_others) {
  const std::vector<float> logits = {0, std::log(2.0f), std::log(5.0f)};
  std::vector<float> others = logits;
  others[2] = -std::numeric_limits<float>::infinity();
  double first = 0, refused = 0, first_of_refused = 0;
  constexpr int kDraws = 40000;
  for (std::uint64_t position = 0; position < kDraws; ++position) {
    const bool mine = drawn(others, 1, {}, 7, position) == 0;
    first += mine;
    if (drawn(logits, 1, {}, 7, position) != 2) {
      EXPECT_EQ(drawn(logits, 1, {}, 7, position), mine ? 0 : 1);
    } else {
      refused += 1, first_of_refused += mine;
    }
  }
  EXPECT_NEAR(first / kDraws, 1.0 / 3, 0.01);
  EXPECT_NEAR(first_of_refused / refused, 1.0 / 3, 0.015);
}

// By one uniform number and a sorted row these two would differ wherever what is before a token has another sum.
TEST(Draw, of_two_distributions_much_alike_is_mostly_the_same) {
  Prng prng(5);
  std::vector<float> one(2000), other(2000);
  double total_one = 0, total_other = 0, apart = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    one[i] = static_cast<float>(4 * (prng.uniform() + prng.uniform()));
    other[i] = one[i] + 0.1f * static_cast<float>(prng.uniform() - 0.5);
    total_one += std::exp(one[i]), total_other += std::exp(other[i]);
  }
  for (std::size_t i = 0; i < one.size(); ++i) {
    apart += std::abs(std::exp(one[i]) / total_one - std::exp(other[i]) / total_other) / 2;
  }
  double same = 0;
  constexpr int kDraws = 4000;
  for (std::uint64_t position = 0; position < kDraws; ++position) {
    same += drawn(one, 1, {}, 1, position) == drawn(other, 1, {}, 1, position);
  }
  EXPECT_GT(same / kDraws, (1 - apart) / (1 + apart) - 0.01) << "what a race promises; they are " << apart << " apart";
}

// The same bits on every machine.
TEST(Draw, gives_these_tokens) {
  std::vector<float> logits(1000);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 7919 % 1000) * 0.01f;
  std::vector<std::int32_t> plain, filtered;
  for (std::uint64_t position = 0; position < 8; ++position) {
    plain.push_back(drawn(logits, 1, {}, 42, position));
    filtered.push_back(drawn(logits, 0.8f, {.top_k = 40, .top_p = 0.9f, .min_p = 0.05f}, 42, position));
  }
  EXPECT_EQ(plain, (std::vector<std::int32_t>{124, 371, 297, 939, 89, 817, 581, 89}));
  EXPECT_EQ(filtered, (std::vector<std::int32_t>{25, 309, 494, 951, 494, 889, 531, 926}));
}

}  // namespace
}  // namespace sedge::engine
