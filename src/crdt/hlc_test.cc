#include "crdt/hlc.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::crdt {
namespace {

Instant at(Duration since) { return Instant(since); }
NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}
// Of a neighbour whose monotonic clock began with the fleet's time.
FleetClock::Exact exact(std::uint64_t ms) { return {ms * 1000, 0, {}}; }

TEST(Hlc, stamps_grow_past_all_issued_and_all_seen_whatever_the_clock_does) {
  EXPECT_TRUE(rc::check([](const std::vector<std::pair<std::uint32_t, std::uint32_t>>& steps) {
    HybridClock clock;
    Hlc last;
    for (const auto& [ms, seen] : steps) {
      clock.observe(Hlc{seen});
      const Hlc stamp = clock.next(ms);
      RC_ASSERT(stamp > last && stamp > Hlc{seen} && stamp.ms() >= ms);
      last = stamp;
    }
  }));
}

TEST(FleetClock, a_newcomer_follows_its_neighbours_and_a_restarted_node_never_runs_ahead_of_its_disk) {
  FleetClock clock;
  clock.start(0, at(5h));
  EXPECT_EQ(clock.ms(at(5h + 3ms)), 3u);
  clock.sample(node(1), exact(70'000), at(5h));
  EXPECT_EQ(clock.ms(at(5h + 1s)), 71'000u);

  FleetClock restarted;
  restarted.start(60'000, at(1s));
  EXPECT_EQ(restarted.ms(at(2s)), 61'000u);
}

TEST(FleetClock, one_lying_neighbour_among_three_moves_nothing) {
  FleetClock clock;
  clock.start(1'000, at(0s));
  EXPECT_TRUE(clock.settled(at(2s)));
  clock.sample(node(1), exact(3'000), at(2s));
  clock.sample(node(2), exact(3'005), at(2s));
  clock.sample(node(3), exact(9'999'999), at(2s));
  EXPECT_GE(clock.ms(at(2s)), 3'000u);  // between the honest two
  EXPECT_LE(clock.ms(at(2s)), 3'005u);
}

TEST(FleetClock, a_newcomer_that_hears_a_liar_first_follows_the_honest_two_once_it_hears_them) {
  FleetClock clock;
  clock.start(0, at(0s));
  clock.sample(node(3), exact(9'999'999), at(1s));
  EXPECT_EQ(clock.ms(at(1s)), 9'999'999u) << "it knows no better";
  clock.sample(node(1), exact(3'000), at(1s));
  clock.sample(node(2), exact(3'000), at(1s));
  EXPECT_EQ(clock.ms(at(1s)), 3'000u);
  clock.sample(node(3), exact(9'999'999), at(1s));
  EXPECT_EQ(clock.ms(at(1s)), 3'000u);
}

TEST(FleetClock, noise_does_not_ratchet_it) {
  FleetClock clock;
  clock.start(0, at(0s));
  for (int i = 2; i < 1000; ++i) {
    const auto ms = static_cast<std::uint64_t>(i) * 1000;
    clock.sample(node(1), exact(ms + (i % 2 ? 15 : 0)), at(i * 1s));
  }
  EXPECT_GE(clock.ms(at(1000s)), 1'000'000u);
  EXPECT_LE(clock.ms(at(1000s)), 1'000'015u);
}

TEST(FleetClock, of_a_neighbours_readings_the_quickest_counts) {
  FleetClock clock;
  clock.start(0, at(0s));
  for (int i = 2; i < 100; ++i) {  // one answer in four is quick and right, the others were held up on their way here
    const auto ms = static_cast<std::uint64_t>(i) * 1000;
    const std::uint64_t steady_ms = i % 4 ? ms - 45 : ms - 2;  // of when it answered
    clock.sample(node(1), {(steady_ms + 10) * 1000, steady_ms * 1000, i % 4 ? 50ms : 4ms}, at(i * 1s));
  }
  EXPECT_NEAR(static_cast<double>(clock.ms(at(100s))), 100'010, 1);
  EXPECT_NEAR(to_ms(*clock.offset(node(1))), 0, 1);
  EXPECT_FALSE(clock.offset(node(2)));
}

TEST(FleetClock, a_neighbour_whose_clock_was_set_is_believed_at_once) {
  FleetClock clock;
  clock.start(0, at(0s));
  clock.sample(node(1), {3'000'000, 2'999'000, 2ms}, at(3s));
  clock.sample(node(1), {60'000'000, 3'996'000, 9ms}, at(4s));
  EXPECT_EQ(clock.ms(at(4s)), 60'004u) << "by the quicker of the two: its monotonic clock is 0 apart";
}

TEST(FleetClock, what_a_neighbour_corrects_is_followed_though_a_quicker_answer_is_older) {
  FleetClock clock;
  clock.start(0, at(0s));
  clock.sample(node(1), {2'001'000, 2'000'000, 0ms}, at(2s));
  for (int i = 3; i < 12; ++i) {
    const auto us = static_cast<std::uint64_t>(i) * 1'000'000;
    clock.sample(node(1), {us + 21'000, us - 5'000, 30ms}, at(i * 1s));  // 26 ms ahead now, held up on its way here
  }
  EXPECT_NEAR(to_ms(*clock.offset(node(1))), 0, 3);
  EXPECT_NEAR(static_cast<double>(clock.ms(at(12s))), 12'026, 3);
}

TEST(FleetClock, where_power_came_back_for_all_the_latest_disk_is_followed) {
  FleetClock clock;
  clock.start(10'000, at(0s));
  clock.hear(node(1), 5'000, false, at(1ms));
  EXPECT_EQ(clock.ms(at(1ms)), 10'001u);
  clock.hear(node(2), 900'000, false, at(1ms));
  EXPECT_EQ(clock.ms(at(1ms)), 900'000u);
  EXPECT_FALSE(clock.settled(at(1ms)));
  EXPECT_TRUE(clock.settled(at(2s)));
}

TEST(FleetClock, an_unsettled_neighbour_has_no_vote_once_we_are_settled) {
  FleetClock clock;
  clock.start(10'000, at(0s));
  clock.hear(node(1), 900'000, false, at(3s));
  EXPECT_EQ(clock.ms(at(3s)), 13'000u);
}

TEST(FleetClock, any_reading_is_harmless) {
  EXPECT_TRUE(rc::check([](std::uint64_t us, std::uint64_t steady_us, bool settled, std::uint8_t readings) {
    FleetClock clock;
    clock.start(us, at(1s));
    clock.hear(node(0), us, settled, at(2s));
    for (std::uint8_t i = 0; i < readings % 20; ++i) {
      clock.sample(node(i % 5u), {i % 3 ? ~us : us, i % 2 ? ~steady_us : steady_us, Duration(us >> 34)}, at(2s));
    }
    RC_ASSERT(clock.ms(at(3s)) <= std::uint64_t{1} << 48);
  }));
}

}  // namespace
}  // namespace sedge::crdt
