#include "mesh/allowance.h"

#include <array>

#include <gtest/gtest.h>

namespace sedge::mesh {
namespace {

constexpr std::size_t kMessage = 1000;

// Publishes as much as it may from `from` to `to`, looking every millisecond. Returns the bytes.
double publish(Allowance& allowance, Instant from, Instant to, double most_per_s = 1e9) {
  double bytes = 0;
  for (Instant now = from; now < to; now += 1ms) {
    for (double left = most_per_s / 1000; left > 0 && allowance.wait(now) == Duration::zero();) {
      allowance.spend(kMessage, now);
      bytes += kMessage;
      left -= kMessage;
    }
  }
  return bytes;
}

TEST(Allowance, nobody_waits_who_was_not_asked_to) {
  Allowance allowance;
  EXPECT_EQ(publish(allowance, Instant{}, Instant{} + 1s, 5e6), 5e6);
  EXPECT_EQ(allowance.wait(Instant{} + 1s), Duration::zero());
}

TEST(Allowance, who_was_asked_to_wait_waits_and_goes_on_at_half_the_pace) {
  Allowance allowance;
  Instant now = Instant{} + 1s;
  publish(allowance, Instant{}, now, 4e6);
  allowance.on_slowdown(now + 50ms, now);
  EXPECT_EQ(allowance.wait(now), Duration(50ms));
  allowance.on_slowdown(now + 90ms, now + 40ms);  // still the same wish
  EXPECT_EQ(allowance.wait(now + 60ms), Duration(30ms));
  now += 90ms;
  EXPECT_NEAR(publish(allowance, now, now + 1s, 100e6), 2e6, 0.4e6);
}

TEST(Allowance, asked_again_it_halves_again_and_never_to_nothing) {
  Allowance allowance;
  Instant now = Instant{} + 1s;
  publish(allowance, Instant{}, now, 4e6);
  for (int time = 0; time < 40; ++time) {
    allowance.on_slowdown(now + 50ms, now);
    publish(allowance, now, now + 100ms);
    now += 100ms;
  }
  EXPECT_LT(allowance.rate(), 50e3);
  EXPECT_GT(publish(allowance, now, now + 1s), 5e3);
}

TEST(Allowance, the_pace_rises_while_nobody_asks_and_is_free_after_a_while) {
  Allowance allowance;
  const Instant asked = Instant{} + 1s;
  publish(allowance, Instant{}, asked, 1e6);
  allowance.on_slowdown(asked + 50ms, asked);
  const double first = publish(allowance, asked, asked + 1s);
  const double later = publish(allowance, asked + 1s, asked + 2s);
  EXPECT_GT(later, 1.1 * first);
  EXPECT_LT(later, 1.5 * first);
  EXPECT_EQ(allowance.wait(asked + 20s), Duration::zero());
  EXPECT_GT(allowance.rate(), 1e12);
}

// Twelve of them on a link of 1 MB/s that asks all to wait when it falls behind, whatever each began with.
TEST(Allowance, publishers_of_a_full_link_come_to_equal_parts_and_use_most_of_it) {
  std::array<Allowance, 12> fleet;
  std::array<double, 12> sent{};
  double queue = 0, carried = 0;
  for (Instant now{}; now < Instant{} + 60s; now += 1ms) {
    const bool settled = now > Instant{} + 30s;
    for (std::size_t i = 0; i < fleet.size(); ++i) {
      if (now < Instant{} + static_cast<std::int64_t>(i) * 500ms || queue > 4e6) continue;
      for (int left = 10; left > 0 && fleet[i].wait(now) == Duration::zero(); --left) {
        fleet[i].spend(kMessage, now);
        queue += kMessage;
        if (settled) sent[i] += kMessage;
      }
    }
    const double out = std::min(queue, 1000.0);
    queue -= out;
    if (settled) carried += out;
    if (queue > 1e6) {
      for (Allowance& each : fleet) each.on_slowdown(now + 50ms, now);
    }
  }
  EXPECT_GT(carried, 0.8 * 30e6);
  for (const double each : sent) EXPECT_NEAR(each, 2.5e6, 1.25e6);
}

}  // namespace
}  // namespace sedge::mesh
