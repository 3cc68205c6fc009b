#include "mesh/pace.h"

#include <algorithm>
#include <array>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::mesh {
namespace {

constexpr std::size_t kMuch = 2u << 20;

NodeId node(std::uint8_t n) {
  NodeId id;
  id.bytes[0] = n;
  return id;
}

wire::BatchId batch(std::uint64_t n) { return {node(200), BootEpoch{1}, Sequence{n}}; }

bool always(const wire::BatchId&) { return true; }

// A node with links to 1, 2, ... that carry so many bytes a second each way.
struct Links {
  Pace pace;
  std::vector<double> sends, receives;  // bytes a second
  std::vector<env::LinkBytes> bytes;
  Instant now{};
  explicit Links(std::size_t count) : sends(count), receives(count) {
    for (std::size_t i = 0; i < count; ++i) {
      pace.on_link_up(id(i), now);
      bytes.push_back({id(i), 0, 0});
    }
  }
  static NodeId id(std::size_t i) { return node(static_cast<std::uint8_t>(i + 1)); }
  void wait(const std::vector<std::size_t>& waiting) {
    std::vector<env::LinkBacklog> backlogs;
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i] > 0) backlogs.push_back({id(i), waiting[i], waiting[i]});
    }
    pace.on_backlog(backlogs);
  }
  // Time passes, while so much waits.
  void pass(const std::vector<std::size_t>& waiting, Duration time = 1s) {
    for (const Instant end = now + time; now < end;) {
      now += 100ms;
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i].arrived += static_cast<std::uint64_t>(sends[i] / 10);
        bytes[i].received += static_cast<std::uint64_t>(receives[i] / 10);
      }
      wait(waiting);
      pace.on_link_bytes(bytes, now);
    }
  }
  bool behind(std::size_t i) const { return pace.behind(id(i)); }
};

TEST(Pace, what_waits_is_what_waits_on_the_fullest_link_that_a_batch_goes_on_to) {
  Links links(4);
  EXPECT_EQ(links.pace.waiting(false), 0u);
  links.wait({1, 9, 5, 2});
  EXPECT_EQ(links.pace.waiting(false), 9u);
  EXPECT_EQ(links.pace.waiting(false, Links::id(1)), 5u);
  links.pace.on_sent(Links::id(3), 10);
  EXPECT_EQ(links.pace.waiting(false), 12u) << "what was sent since waits too";
  links.wait({});
  EXPECT_EQ(links.pace.waiting(false), 0u);
}

TEST(Pace, a_link_that_carries_far_less_than_others_while_much_waits_is_left_behind_and_nobody_waits_for_it) {
  Links links(4);
  links.sends = {200e3, 20e3, 200e3, 0};
  links.pass({0, kMuch, 0, 0}, 200ms);
  EXPECT_FALSE(links.behind(1)) << "a moment says nothing";
  links.pass({0, kMuch, 0, 0});
  EXPECT_TRUE(links.behind(1));
  EXPECT_FALSE(links.behind(0));
  EXPECT_EQ(links.pace.waiting(false), 0u);
  EXPECT_EQ(links.pace.waiting(true), kMuch) << "for who waits for all";
  links.pass({0, 1000, 0, 0});
  EXPECT_FALSE(links.behind(1));
  EXPECT_EQ(links.pace.waiting(false), 1000u);
}

TEST(Pace, a_link_that_is_asked_for_more_than_others_and_carries_as_much_is_waited_for) {
  Links links(3);
  links.sends = {1e6, 1e6, 300e3};
  links.pass({0, kMuch, kMuch});
  for (std::size_t i = 0; i < 3; ++i) EXPECT_FALSE(links.behind(i)) << i;
  EXPECT_EQ(links.pace.waiting(false), kMuch);
}

TEST(Pace, most_are_never_slow_and_an_idle_link_says_nothing) {
  Links cable(4);
  cable.sends = {100e6, 1e6, 1e6, 1e6};  // one cable and three radios
  cable.pass({0, kMuch, kMuch, kMuch});
  for (std::size_t i = 0; i < 4; ++i) EXPECT_FALSE(cable.behind(i)) << i;
  Links alone(3);
  alone.sends = {20e3, 0, 0};
  alone.pass({kMuch, 0, 0});
  EXPECT_FALSE(alone.behind(0)) << "there is nobody to be slower than";
}

TEST(Pace, where_the_batches_come_from_shows_what_a_link_can_carry) {
  Links line(2);
  line.receives = {200e3, 0};
  line.sends = {0, 20e3};
  line.pass({0, kMuch});
  EXPECT_TRUE(line.behind(1));
}

// Slow, so that whatever is for it is noted.
struct Slow : Links {
  Slow() : Links(3) {
    sends = {20e3, 200e3, 200e3};
    pass({kMuch, 0, 0});
    EXPECT_TRUE(behind(0));
  }
  void note(std::uint64_t n, env::Priority priority = env::Priority::kNormal) {
    pace.note(id(0), priority, batch(n), 1024, now);
  }
  std::vector<std::pair<NodeId, wire::BatchId>> take(const Pace::Kept& kept = always) {
    return pace.take(std::max(now, pace.next_deadline()), kept);
  }
};

TEST(Pace, the_more_urgent_goes_first_then_the_older_as_far_as_there_is_room) {
  Slow slow;
  slow.note(1);
  slow.note(2, env::Priority::kLow);
  slow.note(3);
  slow.note(3);  // asked for as well
  EXPECT_EQ(slow.pace.noted(), 3u);
  EXPECT_TRUE(slow.take().empty()) << "no room yet";
  slow.wait({});
  EXPECT_TRUE(slow.behind(0)) << "what is new goes behind what waits";
  const auto taken = slow.take();
  ASSERT_EQ(taken.size(), 3u);
  EXPECT_EQ(taken[0].second, batch(1));
  EXPECT_EQ(taken[1].second, batch(3));
  EXPECT_EQ(taken[2].second, batch(2));
  EXPECT_EQ(slow.pace.noted(), 0u);
  EXPECT_EQ(slow.pace.waiting(true), 3 * 1024u) << "it is on its way now";
}

TEST(Pace, no_more_is_taken_than_there_is_room_for) {
  Slow slow;
  for (std::uint64_t n = 1; n <= 1000; ++n) slow.note(n);
  slow.wait({});
  EXPECT_LT(slow.take().size(), 140u);
  EXPECT_TRUE(slow.take().empty());
  EXPECT_GT(slow.pace.noted(), 800u);
}

TEST(Pace, what_is_no_longer_kept_is_lost_and_counted_and_what_came_another_way_is_neither) {
  Slow slow;
  for (std::uint64_t n = 1; n <= 4; ++n) slow.note(n);
  slow.pace.on_has(Links::id(0), batch(4));
  slow.pace.on_has(Links::id(1), batch(3));
  slow.wait({});
  const auto taken = slow.take([](const wire::BatchId& id) { return id != batch(1); });
  EXPECT_EQ(taken.size(), 2u);
  EXPECT_EQ(slow.pace.lost(), 1u);
}

TEST(Pace, a_fallen_link_has_nothing_to_wait_for) {
  Slow slow;
  slow.note(1);
  slow.pace.on_link_down(Links::id(0));
  EXPECT_EQ(slow.pace.noted(), 0u);
  slow.pace.on_link_up(Links::id(0), slow.now);
  EXPECT_FALSE(slow.behind(0));
}

TEST(Pace, no_more_is_noted_than_has_room_and_the_oldest_of_the_least_urgent_goes) {
  Slow slow;
  constexpr std::uint64_t kMost = 8192;
  slow.note(1);
  for (std::uint64_t n = 2; n <= kMost + 3; ++n) slow.note(n, env::Priority::kLow);
  EXPECT_EQ(slow.pace.noted(), kMost);
  EXPECT_EQ(slow.pace.lost(), 3u);
  slow.wait({});
  const auto taken = slow.take();
  ASSERT_GE(taken.size(), 2u);
  EXPECT_EQ(taken[0].second, batch(1));
  EXPECT_EQ(taken[1].second, batch(5));
}

// Whatever happens, what is noted is taken, struck off, lost or still noted: once.
TEST(Pace, nothing_that_is_noted_is_forgotten_or_taken_twice) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& steps) {
    Links links(5);
    std::set<std::pair<std::uint8_t, std::uint64_t>> waiting;
    std::uint64_t next = 0, lost = 0;
    Instant now{};
    for (const std::uint8_t step : steps) {
      const auto who = static_cast<std::uint8_t>(1 + (step >> 3) % 2);
      now += 7ms;
      switch (step % 8) {
        case 0:
        case 1:
        case 2:
          links.pace.note(node(who), static_cast<env::Priority>(3 + step % 4), batch(++next), 40'000, now);
          waiting.emplace(who, next);
          break;
        case 3:
          links.pace.on_has(node(who), batch(1 + step % (next + 1)));
          waiting.erase({who, 1 + step % (next + 1)});
          break;
        case 4:
        case 5:
          links.wait({step % 2 == 0 ? 0 : kMuch, 0, 0, 0, 0});
          break;
        case 6:
          if (step < 250) break;
          links.pace.on_link_down(node(who));
          links.pace.on_link_up(node(who), now);
          std::erase_if(waiting, [&](const auto& each) { return each.first == who; });
          break;
        default:
          for (const auto& [peer, id] : links.pace.take(now, [&](const wire::BatchId& id) {
                 const bool kept = id.sequence.value % 5 != 0;
                 lost += kept ? 0 : 1;
                 return kept;
               })) {
            RC_ASSERT(waiting.erase({peer.bytes[0], id.sequence.value}) == 1);
          }
          break;
      }
      RC_ASSERT(links.pace.lost() == lost);
      RC_ASSERT(links.pace.noted() <= waiting.size());
      RC_ASSERT(links.pace.noted() + lost >= waiting.size());
    }
  }));
}

}  // namespace
}  // namespace sedge::mesh
