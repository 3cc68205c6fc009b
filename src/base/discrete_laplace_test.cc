#include "base/discrete_laplace.h"

#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "base/prng.h"

namespace sedge {
namespace {

// Pearson's statistic of what was drawn against exp(-|y| s / t), over the values that are expected 20 times or more and
// the two tails; and how many cells that are.
std::pair<double, int> chi_square(std::uint64_t t, std::uint64_t s, std::uint64_t seed, int draws) {
  Prng prng(seed);
  std::map<std::int64_t, int> seen;
  for (int i = 0; i < draws; ++i) ++seen[discrete_laplace(t, s, [&] { return prng.next(); })];
  const double ratio = std::exp(-static_cast<double>(s) / static_cast<double>(t));
  const auto expected = [&](std::int64_t y) {
    return draws * (1 - ratio) / (1 + ratio) * std::pow(ratio, static_cast<double>(std::abs(y)));
  };
  std::int64_t reach = 0;
  while (expected(reach + 1) >= 20) ++reach;
  double sum = 0, inside = 0, low = 0, high = 0;
  for (const auto& [y, count] : seen) {
    if (y < -reach) low += count;
    if (y > reach) high += count;
  }
  const auto cell = [&](double count, double wanted) { sum += (count - wanted) * (count - wanted) / wanted; };
  for (std::int64_t y = -reach; y <= reach; ++y) {
    cell(seen[y], expected(y));
    inside += expected(y);
  }
  cell(low, (draws - inside) / 2);
  cell(high, (draws - inside) / 2);
  return {sum, static_cast<int>(2 * reach + 3)};
}

TEST(DiscreteLaplace, is_drawn_as_its_law_says) {
  const std::pair<std::uint64_t, std::uint64_t> laws[] = {{1, 1}, {5, 2}, {40, 3}, {1, 2}, {1000000, 200000}};
  std::uint64_t seed = 1;
  for (const auto& [t, s] : laws) {
    const auto [sum, cells] = chi_square(t, s, seed++, 100'000);
    const double free = cells - 1;
    EXPECT_LT(sum, free + 5 * std::sqrt(2 * free)) << t << "/" << s << ": five standard deviations";
    EXPECT_GT(sum, free - 5 * std::sqrt(2 * free)) << t << "/" << s;
  }
}

TEST(DiscreteLaplace, another_law_is_told_from_it) {
  // That the test above sees a scale that is wrong by a twentieth.
  Prng prng(9);
  double size = 0;
  for (int i = 0; i < 100'000; ++i) {
    size += static_cast<double>(std::abs(discrete_laplace(100, 5, [&] { return prng.next(); })));
  }
  const double ratio = std::exp(-0.05);
  EXPECT_NEAR(size / 100'000, 2 * ratio / (1 - ratio * ratio), 0.3);
}

TEST(DiscreteLaplace, large_and_small_scales_stay_in_bounds) {
  Prng prng(3);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LT(std::abs(discrete_laplace(1, kLaplaceMax, [&] { return prng.next(); })), 1);
    EXPECT_LT(static_cast<double>(std::abs(discrete_laplace(kLaplaceMax, 1, [&] { return prng.next(); }))),
              64.0 * static_cast<double>(kLaplaceMax));
  }
}

}  // namespace
}  // namespace sedge
