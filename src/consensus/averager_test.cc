// Averaging in rounds over links that lose, with members that die, come late, or only pass on.
#include "consensus/averager.h"

#include <cmath>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "consensus/testing/network.h"

namespace sedge::consensus {
namespace {

using testing::node_id;

// Averagers at the nodes of a ring with chords; datagrams take 2 to 6 ms and are lost by chance.
struct Fleet {
  explicit Fleet(std::size_t count, double loss_, std::uint64_t seed) : prng(seed), loss(loss_), nodes(count) {
    for (std::size_t i = 0; i < count; ++i) boot(i, 1);
    for (std::size_t i = 0; i < count; ++i) {
      for (const std::size_t step : {std::size_t{1}, std::size_t{3}}) link(i, (i + step) % count);
    }
  }
  void boot(std::size_t i, std::uint64_t epoch) {
    AveragerOptions options;
    options.self = node_id(i);
    options.epoch = {epoch};
    options.seed = prng.next();
    options.fleet_ms = [](Instant at) { return static_cast<std::uint64_t>(at.time_since_epoch() / 1ms); };
    options.allows = [this](NodeId who, std::string_view) { return who != stranger; };
    nodes[i] = std::make_unique<Averager>(std::move(options));
  }
  void link(std::size_t a, std::size_t b) {
    if (a == b || !links.insert(std::minmax(a, b)).second) return;
    nodes[a]->on_link_up(node_id(b), now);
    nodes[b]->on_link_up(node_id(a), now);
  }
  void unlink(std::size_t a, std::size_t b) {
    if (links.erase(std::minmax(a, b)) == 0) return;
    if (nodes[a]) nodes[a]->on_link_down(node_id(b));
    if (nodes[b]) nodes[b]->on_link_down(node_id(a));
  }
  void kill(std::size_t i) {
    nodes[i].reset();
    for (std::size_t j = 0; j < nodes.size(); ++j) unlink(i, j);
  }
  void average(std::size_t i, double value, Duration window = 4s) {
    nodes[i]->average("x", value, window, [this, i](const Result<Average>& result) { results[i] = result; }, now);
  }
  void run(Duration time) {
    for (const Instant end = now + time; now < end; now += 1ms) {
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (nodes[i] && nodes[i]->next_deadline() <= now) nodes[i]->on_timer(now);
        for (env::Send& send : nodes[i] ? nodes[i]->take_sends() : std::vector<env::Send>()) {
          const std::size_t to = send.to.bytes[0] - std::size_t{1};
          bytes = std::max(bytes, send.frame.size());
          ++sent;
          if (prng.chance(loss)) continue;
          for (int copies = prng.chance(0.05) ? 2 : 1; copies > 0; --copies) {
            air.emplace(now + 2ms + Duration(1ms) * prng.below(5), Flight{i, to, send.frame});
          }
        }
      }
      while (!air.empty() && air.begin()->first <= now) {
        const Flight flight = std::move(air.extract(air.begin()).mapped());
        if (!nodes[flight.to] || !links.contains(std::minmax(flight.from, flight.to))) continue;
        const auto frame = wire::open_frame(flight.frame).value();
        const Status taken = nodes[flight.to]->on_message(node_id(flight.from), frame.body, now);
        if (!taken && node_id(flight.from) != stranger) ADD_FAILURE() << taken.error().message;
      }
    }
  }
  void expect(std::size_t i, double mean, std::uint64_t count) {
    ASSERT_TRUE(results[i].has_value()) << "node " << i << " was never told";
    ASSERT_TRUE(results[i]->has_value()) << i << ": " << results[i]->error().message;
    EXPECT_NEAR((**results[i]).mean, mean, 1e-3 * (1 + std::abs(mean))) << i;
    EXPECT_EQ((**results[i]).count, count) << i;
    EXPECT_NEAR((**results[i]).sum, mean * static_cast<double>(count), 1e-2 * (1 + std::abs(mean))) << i;
  }

  struct Flight {
    std::size_t from, to;
    Buffer frame;
  };
  Prng prng;
  double loss;
  Instant now = Instant{} + 100s;
  std::vector<std::unique_ptr<Averager>> nodes;
  std::set<std::pair<std::size_t, std::size_t>> links;
  std::multimap<Instant, Flight> air;
  std::map<std::size_t, std::optional<Result<Average>>> results;
  NodeId stranger;
  std::size_t bytes = 0, sent = 0;
};

TEST(Averager, all_who_take_part_get_one_mean_count_and_sum_though_messages_are_lost) {
  for (const double loss : {0.0, 0.3}) {
    Fleet fleet(12, loss, 1);
    for (std::size_t i = 0; i < 12; ++i) fleet.average(i, static_cast<double>(i));
    fleet.run(5s);
    for (std::size_t i = 0; i < 12; ++i) {
      fleet.expect(i, 5.5, 12);
      EXPECT_EQ((**fleet.results[i]).rounds, 1u);
    }
    EXPECT_LE(fleet.bytes, 100u);
    EXPECT_LE(fleet.sent, 12u * 256u + 24u * 2u * 12u) << "turns, and one a link for each round that began";
    fleet.run(20s);
    for (const auto& node : fleet.nodes) EXPECT_EQ(node->rounds(), 0u);
  }
}

TEST(Averager, who_does_not_take_part_passes_on_and_adds_nothing) {
  Fleet fleet(12, 0.1, 2);
  for (const std::size_t i : {0u, 6u}) fleet.average(i, 10.0 + static_cast<double>(i));
  fleet.run(5s);
  for (const std::size_t i : {0u, 6u}) fleet.expect(i, 13, 2);
}

TEST(Averager, whoever_comes_in_the_first_half_is_in_and_later_ones_begin_the_next_round) {
  Fleet fleet(8, 0.1, 3);
  fleet.average(0, 4);
  fleet.run(1500ms);
  fleet.average(3, 8);
  fleet.run(1s);
  fleet.average(5, 100);
  fleet.run(2s);
  for (const std::size_t i : {0u, 3u}) fleet.expect(i, 6, 2);
  EXPECT_FALSE(fleet.results[5].has_value());
  fleet.run(3s);
  fleet.expect(5, 100, 1);
}

TEST(Averager, the_dead_do_not_count_and_the_living_lose_nothing) {
  Fleet fleet(10, 0.1, 4);
  for (std::size_t i = 0; i < 10; ++i) fleet.average(i, i == 7 ? 1000 : static_cast<double>(i));
  fleet.run(2s);
  fleet.kill(7);
  fleet.kill(2);
  fleet.run(3s);
  for (const std::size_t i : {0u, 1u, 3u, 4u, 5u, 6u, 8u, 9u}) fleet.expect(i, 36.0 / 8, 8);
}

TEST(Averager, the_death_of_who_began_costs_another_round) {
  Fleet fleet(10, 0.1, 5);
  fleet.average(4, 1000);
  fleet.run(500ms);
  for (const std::size_t i : {0u, 1u, 8u}) fleet.average(i, static_cast<double>(i));
  fleet.run(1500ms);
  fleet.kill(4);
  fleet.run(7s);
  for (const std::size_t i : {0u, 1u, 8u}) {
    fleet.expect(i, 3, 3);
    EXPECT_EQ((**fleet.results[i]).rounds, 2u);
  }
}

TEST(Averager, links_that_come_and_go_change_nothing) {
  Fleet fleet(10, 0.1, 6);
  for (std::size_t i = 0; i < 10; ++i) fleet.average(i, static_cast<double>(i));
  for (int k = 0; k < 20; ++k) {
    fleet.run(100ms);
    const std::size_t a = fleet.prng.below(10), b = fleet.prng.below(10);
    if (fleet.links.contains(std::minmax(a, b)) && fleet.links.size() > 15)
      fleet.unlink(a, b);
    else
      fleet.link(a, b);
  }
  fleet.run(3s);
  for (std::size_t i = 0; i < 10; ++i) fleet.expect(i, 4.5, 10);
}

TEST(Averager, where_it_cannot_settle_it_says_so_in_bounded_time) {
  Fleet fleet(12, 0.0, 7);
  for (std::size_t i = 0; i < 12; ++i) fleet.average(i, static_cast<double>(i), 1s);
  for (int k = 0; k < 40; ++k) {  // who begins never lives on, and others lose and find their links
    fleet.run(100ms);
    const std::size_t at = fleet.prng.below(12);
    for (std::size_t j = 0; j < 12; ++j) fleet.unlink(at, j);
    for (const std::size_t step : {1u, 3u, 9u, 11u}) fleet.link(at, (at + step) % 12);
  }
  for (std::size_t i = 0; i < 12; ++i) {
    ASSERT_TRUE(fleet.results[i].has_value()) << i;
    if (*fleet.results[i]) continue;  // some luck
    EXPECT_EQ(fleet.results[i]->error().code, Code::kUnavailable);
  }
}

TEST(Averager, alone_it_is_ones_own_value) {
  Fleet fleet(1, 0, 8);
  fleet.average(0, -2.5);
  fleet.run(5s);
  fleet.expect(0, -2.5, 1);
}

TEST(Averager, what_is_no_number_or_not_granted_is_refused) {
  Fleet fleet(3, 0, 9);
  for (const double value : {std::nan(""), HUGE_VAL}) {
    fleet.average(0, value);
    ASSERT_TRUE(fleet.results[0].has_value());
    EXPECT_EQ(fleet.results[0]->error().code, Code::kInvalidArgument);
  }
  fleet.average(1, 1);
  fleet.nodes[1]->average("x", 2, 4s, [&](const auto& result) { fleet.results[0] = result; }, fleet.now);
  EXPECT_EQ(fleet.results[0]->error().code, Code::kAlreadyExists);
  fleet.average(2, 3, 10ms);
  EXPECT_EQ(fleet.results[2]->error().code, Code::kInvalidArgument);
  const auto refused = [&](const wire::AverageShare& share, NodeId from) -> std::optional<Code> {
    const Status taken = fleet.nodes[0]->on_message(from, wire::encode(share), fleet.now);
    return taken ? std::nullopt : std::optional(taken.error().code);
  };
  wire::AverageShare share{.name = "y", .round = {1, node_id(1)}, .window = 4s, .left = 1s, .session = 1, .number = 1};
  EXPECT_EQ(refused(share, node_id(1)), std::nullopt);
  share.value = std::nan("");
  share.number = 2;
  EXPECT_EQ(refused(share, node_id(1)), Code::kDataLoss);
  share.left = 5s;
  EXPECT_EQ(refused(share, node_id(1)), Code::kDataLoss);
  fleet.stranger = node_id(2);
  EXPECT_EQ(refused(share = {.name = "y", .window = 4s, .left = 1s}, node_id(2)), Code::kPermissionDenied);
}

TEST(Averager, a_newer_round_of_the_same_time_ends_where_the_older_is_known) {
  Fleet fleet(3, 0, 11);
  const auto tell = [&](std::uint64_t begun_ms) {
    const wire::AverageShare share{
        .name = "y", .round = {begun_ms, node_id(1)}, .window = 10s, .left = 10s, .session = 1, .number = 1};
    ASSERT_TRUE(fleet.nodes[0]->on_message(node_id(1), wire::encode(share), fleet.now));
  };
  for (const std::uint64_t begun_ms : {4000u, 3000u, 2000u, 2500u, 6999u}) tell(begun_ms);
  EXPECT_EQ(fleet.nodes[0]->rounds(), 1u);
  tell(7000);
  EXPECT_EQ(fleet.nodes[0]->rounds(), 2u) << "half a window later is another time";
}

wire::AverageShare share_of(std::string name, std::uint64_t begun_ms, Duration window, Duration left) {
  return {.name = std::move(name),
          .round = {begun_ms, node_id(1)},
          .window = window,
          .left = left,
          .session = 1,
          .number = 1};
}

TEST(Averager, a_round_of_a_far_future_moves_nobody_there) {
  Fleet fleet(3, 0, 11);
  const auto far = share_of("x", std::uint64_t{1} << 62, 10min, 4min);
  for (auto& node : fleet.nodes) {
    ASSERT_TRUE(node->on_message(node_id(1), wire::encode(far), fleet.now) || node == fleet.nodes[1]);
  }
  for (std::size_t i = 0; i < 3; ++i) fleet.average(i, static_cast<double>(i));
  fleet.run(5s);
  for (std::size_t i = 0; i < 3; ++i) fleet.expect(i, 1, 3);
}

TEST(Averager, a_round_that_is_nearly_over_is_not_begun_anew) {
  Fleet fleet(3, 0, 12);
  for (std::uint64_t k = 0; k < 1000; ++k) {
    const auto late = share_of("y" + std::to_string(k), k * 1000, 1s, 1ms);
    ASSERT_TRUE(fleet.nodes[0]->on_message(node_id(1), wire::encode(late), fleet.now));
  }
  EXPECT_EQ(fleet.nodes[0]->rounds(), 0u);
  EXPECT_TRUE(fleet.nodes[0]->take_sends().empty());
}

TEST(Averager, rounds_of_one_name_leave_room_for_others) {
  Fleet fleet(3, 0, 13);
  for (std::uint64_t k = 0; k < 1000; ++k) {
    const auto one = share_of("y", k * 1'000'000, 10min, 10min);
    ASSERT_TRUE(fleet.nodes[0]->on_message(node_id(1), wire::encode(one), fleet.now));
  }
  EXPECT_EQ(fleet.nodes[0]->rounds(), 4u);
}

TEST(Averager, who_hears_nothing_of_its_neighbours_has_no_average) {
  Fleet fleet(4, 1.0, 14);
  fleet.average(0, 5);
  fleet.run(60s);
  ASSERT_TRUE(fleet.results[0].has_value());
  EXPECT_EQ(fleet.results[0]->error().code, Code::kUnavailable);
}

TEST(Averager, one_neighbour_fills_a_part_of_the_room_and_no_more) {
  Fleet fleet(3, 0, 10);
  for (std::uint64_t k = 0; k < 1000; ++k) {
    const auto one = share_of("y" + std::to_string(k), k, 10s, 10s);
    ASSERT_TRUE(fleet.nodes[0]->on_message(node_id(1), wire::encode(one), fleet.now));
  }
  EXPECT_EQ(fleet.nodes[0]->rounds(), 16u);
  EXPECT_EQ(fleet.nodes[0]->stats().dropped, 984u);
  fleet.average(0, 1);
  EXPECT_FALSE(fleet.results[0].has_value()) << "it is under way";
}

}  // namespace
}  // namespace sedge::consensus
