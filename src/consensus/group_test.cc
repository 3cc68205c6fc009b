// The group as clients see it: every history of reads and writes, from any node and under any faults, is linearizable.
#include "consensus/group.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "consensus/linearizability.h"
#include "consensus/testing/network.h"

namespace sedge::consensus {
namespace {

using testing::node_id;
using testing::Weather;
using Net = testing::Network<Group>;

TaskId request_id(std::uint64_t number) {
  TaskId id;
  for (std::size_t i = 0; i < 8; ++i) id.bytes[i] = static_cast<std::uint8_t>(number >> (8 * i));
  id.bytes[15] = 1;
  return id;
}

wire::AgreedRequest set_request(std::uint64_t number, std::string path, std::string_view value) {
  return {.id = request_id(number),
          .op = wire::AgreedOp::kSet,
          .path = std::move(path),
          .value = to_buffer(as_bytes(value))};
}
wire::AgreedRequest get_request(std::uint64_t number, std::string path) {
  return {.id = request_id(number), .op = wire::AgreedOp::kGet, .path = std::move(path)};
}

// Nodes whose membership is simply who runs; node 0 founds; leaders' hints reach everybody.
class Fleet {
 public:
  Fleet(std::size_t nodes, std::uint64_t seed, Weather weather = {})
      : since_(nodes), net(nodes, seed, weather, [this, nodes](std::size_t i, std::uint64_t drawn) {
          GroupOptions options;
          options.self = node_id(i);
          options.seed = drawn;
          options.may_found = i == 0;
          options.raft.snapshot_every = 50;
          options.raft.trailing = 10;
          options.roster.settled = 200ms;
          options.members = [this, nodes](Instant now) {
            std::vector<Candidate> all;
            for (std::size_t k = 0; k < nodes; ++k) {
              all.push_back({.id = node_id(k), .alive = net.up(k), .in_state = now - since_[k]});
            }
            return all;
          };
          options.alive = [this](NodeId id) { return net.up(id.bytes[0] - std::size_t{1}); };
          return std::make_unique<Group>(std::move(options));
        }) {
    net.watch([this](std::size_t i) {
      if (!net.up(i)) return;
      if (const auto hint = net.core(i).take_hint()) hints_.push_back(*hint);
    });
  }

  void tell_hints() {
    for (const wire::GroupHint& hint : std::exchange(hints_, {})) {
      for (std::size_t i = 0; i < net.size(); ++i) {
        net.act(i, [&](Group& group, Instant now) { group.on_hint(hint, now); });
      }
    }
  }
  bool run_until(const std::function<bool()>& reached, Duration limit) {
    for (const Instant until = net.now() + limit; net.now() < until; net.run(20ms)) {
      tell_hints();
      if (reached()) return true;
    }
    return reached();
  }
  std::size_t voters(std::size_t i = 0) { return net.core(i).lead().voters.size(); }
  std::optional<std::size_t> leader() {
    for (std::size_t i = 0; i < net.size(); ++i) {
      if (net.up(i) && net.core(i).raft().leads_settled()) return i;
    }
    return std::nullopt;
  }
  Result<Agreed> ask(std::size_t i, wire::AgreedRequest request, Duration patience = 5s) {
    std::optional<Result<Agreed>> given;
    net.act(i, [&](Group& group, Instant now) {
      group.submit(std::move(request), patience, [&](const Result<Agreed>& answer) { given = answer; }, now);
    });
    run_until([&] { return given.has_value(); }, patience + 1s);
    return given.value_or(fail(Code::kInternal, "no answer"));
  }

 private:
  std::vector<Instant> since_;
  std::vector<wire::GroupHint> hints_;

 public:
  Net net;
};

TEST(Group, a_fleet_of_one_reads_what_it_wrote) {
  Fleet fleet(1, 1);
  const auto written = fleet.ask(0, set_request(1, "mission/leader", "rover-1"));
  ASSERT_TRUE(written) << written.error().message;
  const auto read = fleet.ask(0, get_request(2, "mission/leader"));
  ASSERT_TRUE(read);
  EXPECT_EQ(as_text(read->value), "rover-1");
  EXPECT_EQ(read->version, written->version);
  EXPECT_EQ(fleet.ask(0, get_request(3, "nothing"))->version, 0u);
}

TEST(Group, voters_are_one_three_or_five_and_all_nodes_may_ask) {
  for (const auto& [nodes, voters] : std::vector<std::pair<std::size_t, std::size_t>>{{2, 1}, {3, 3}, {4, 3}, {8, 5}}) {
    Fleet fleet(nodes, nodes);
    EXPECT_TRUE(fleet.run_until([&, want = voters] { return fleet.voters() == want; }, 30s)) << nodes;
    fleet.run_until([] { return false; }, 5s);
    EXPECT_EQ(fleet.voters(), voters) << nodes;
    for (std::size_t i = 0; i < nodes; ++i) {
      EXPECT_TRUE(fleet.ask(i, set_request(i + 1, "x", std::to_string(i)))) << i;
      EXPECT_EQ(as_text(fleet.ask((i + 1) % nodes, get_request(100 + i, "x"))->value), std::to_string(i));
    }
  }
}

TEST(Group, a_value_is_replaced_only_where_its_version_is_the_one_named) {
  Fleet fleet(3, 5);
  auto claim = set_request(1, "charger", "rover-1");
  claim.if_version = 0;
  const auto first = fleet.ask(1, claim);
  ASSERT_TRUE(first) << first.error().message;
  claim.id = request_id(2);
  const auto second = fleet.ask(2, claim);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kFailedPrecondition);
  auto free = get_request(3, "charger");
  free.op = wire::AgreedOp::kErase;
  free.if_version = first->version;
  EXPECT_TRUE(fleet.ask(0, free));
  claim.id = request_id(4);
  EXPECT_TRUE(fleet.ask(2, claim));
}

TEST(Group, a_request_that_comes_again_is_carried_out_once) {
  Fleet fleet(3, 6);
  const auto first = fleet.ask(0, set_request(1, "x", "a"));
  ASSERT_TRUE(first);
  ASSERT_TRUE(fleet.ask(1, set_request(2, "x", "b")));
  const auto again = fleet.ask(2, set_request(1, "x", "a"));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->version, first->version);
  EXPECT_EQ(as_text(fleet.ask(0, get_request(3, "x"))->value), "b");
}

TEST(Group, without_a_majority_the_error_says_what_is_missing) {
  Fleet fleet(3, 7);
  ASSERT_TRUE(fleet.run_until([&] { return fleet.voters() == 3; }, 20s));
  fleet.net.crash(1);
  fleet.net.crash(2);
  fleet.run_until([] { return false; }, 3s);
  for (const auto& request : {set_request(1, "x", "a"), get_request(2, "x")}) {
    const auto answer = fleet.ask(0, request, 3s);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::kUnavailable);
    EXPECT_NE(answer.error().message.find("1 of 3 voters are alive"), std::string::npos) << answer.error().message;
    EXPECT_NE(answer.error().message.find("Retry in"), std::string::npos);
  }
}

TEST(Group, who_may_not_write_is_told) {
  Registry registry;
  auto large = set_request(1, "x", std::string(kAgreedValueMax + 1, 'x'));
  EXPECT_EQ(check_request(large).error().code, Code::kInvalidArgument);
  EXPECT_EQ(check_request(set_request(1, "a/#", "x")).error().code, Code::kInvalidArgument);
  EXPECT_EQ(check_request(set_request(1, "", "x")).error().code, Code::kInvalidArgument);
}

TEST(Group, two_groups_are_reported_and_never_merged) {
  GroupOptions options;
  options.self = node_id(0);
  options.may_found = true;
  std::size_t reports = 0;
  options.report = [&](const std::string&) { ++reports; };
  Group group(std::move(options));
  group.start(Instant{});
  group.on_timer(group.next_deadline());
  ASSERT_GT(group.raft().group().value, 0u);
  for (int i = 0; i < 3; ++i) group.on_hint({GroupId{42}, Term{9}, {9}, node_id(1), {node_id(1)}}, Instant{});
  EXPECT_EQ(reports, 1u);
  EXPECT_TRUE(group.lead().leader.is_zero() || group.lead().leader == node_id(0));
}

TEST(Group, a_founder_that_hears_of_a_group_founds_none) {
  GroupOptions options;
  options.self = node_id(0);
  options.may_found = true;
  Group group(std::move(options));
  group.start(Instant{});
  group.on_hint({GroupId{42}, Term{9}, {9}, node_id(1), {node_id(1)}}, Instant{});
  group.on_timer(Instant{} + 1min);
  EXPECT_EQ(group.raft().group(), GroupId{});
  EXPECT_EQ(group.lead().leader, node_id(1));
}

TEST(Registry, remembers_requests_and_stays_within_its_bounds) {
  Registry registry;
  for (std::uint64_t i = 1; i <= kRecentMax + 10; ++i) {
    ASSERT_TRUE(registry.apply(i, set_request(i, "p" + std::to_string(i % 10), "v")));
  }
  EXPECT_EQ(registry.apply(99999, set_request(kRecentMax, "p0", "w"))->version, kRecentMax) << "remembered";
  EXPECT_EQ(registry.apply(99999, set_request(3, "p3", "w"))->version, 99999u) << "too long ago: counts as new";
  std::uint64_t number = 1'000'000, taken = 0;
  for (; registry.apply(number, set_request(number, std::to_string(number), std::string(kAgreedValueMax, 'x')));
       ++number) {
    ++taken;
  }
  EXPECT_LE(taken * kAgreedValueMax, kAgreedStateMax);
  Registry copy;
  ASSERT_TRUE(copy.restore(registry.snapshot()));
  EXPECT_EQ(copy.snapshot(), registry.snapshot());
  EXPECT_EQ(copy.apply(number + 1, set_request(number, "full", std::string(kAgreedValueMax, 'x'))).error().code,
            Code::kResourceExhausted);
  EXPECT_FALSE(copy.restore(Buffer{1, 2, 3}));
}

TEST(Roster, replaces_the_long_dead_and_only_where_somebody_stands_ready) {
  const std::vector<NodeId> five{node_id(0), node_id(1), node_id(2), node_id(3), node_id(4)};
  Configuration now{five, {}};
  std::vector<Candidate> members;
  for (std::size_t i = 0; i < 6; ++i) members.push_back({.id = node_id(i), .alive = true, .in_state = 1h});
  const auto next = [&] {
    return next_configuration(now, node_id(0), members, [](NodeId) { return true; }, RosterOptions{});
  };
  EXPECT_EQ(next(), std::nullopt);
  members[2].alive = false;
  members[2].in_state = 1min;
  EXPECT_EQ(next(), std::nullopt) << "it may come back";
  members[2].in_state = 6min;
  ASSERT_EQ(next(), (Configuration{five, {node_id(5)}}));
  now = *next();
  ASSERT_EQ(next()->voters, (std::vector{node_id(0), node_id(1), node_id(3), node_id(4)}));
  now = *next();
  ASSERT_EQ(next()->voters.size(), 5u);
  now = *next();
  EXPECT_EQ(next(), std::nullopt);
  members[1].revoked = true;
  EXPECT_FALSE(is_part(*next(), node_id(1)));
}

// Clients at every node, faults all the time, and the judge at the end.
void torment(std::uint64_t seed) {
  Prng chance(seed * 31 + 5);
  const std::size_t nodes = 3 + chance.below(4);
  Fleet fleet(nodes, seed, {.latency = 2ms, .jitter = 30ms, .loss = 0.03, .duplicate = 0.05, .sync = 8ms});
  ASSERT_TRUE(fleet.run_until([&] { return fleet.voters() >= 3; }, 60s)) << "seed " << seed;
  std::vector<Operation> history;
  history.reserve(2000);
  std::uint64_t number = 0;
  std::vector<std::size_t> busy(nodes, 0);
  const auto begin = [&](std::size_t i) {
    if (!fleet.net.up(i) || busy[i] >= 2) return;
    ++busy[i];
    const std::size_t at = history.size();
    const bool write = chance.chance(0.5);
    Operation operation{.path = chance.chance(0.5) ? "a" : "b", .write = write, .called = fleet.net.now()};
    const std::uint64_t id = ++number;
    if (write) operation.value = std::to_string(id);
    history.push_back(operation);
    fleet.net.act(i, [&](Group& group, Instant now) {
      group.submit(
          write ? set_request(id, operation.path, operation.value) : get_request(id, operation.path), 3s,
          [&, at, i, write](const Result<Agreed>& answer) {
            --busy[i];
            if (!answer) return;  // unknown: it may have happened, or may yet
            history[at].returned = fleet.net.now();
            if (!write) history[at].value = std::string(as_text(answer->value));
          },
          now);
    });
  };
  for (int step = 0; step < 200; ++step) {
    const std::size_t who = chance.below(nodes);
    switch (chance.below(14)) {
      case 0:
        if (fleet.net.up(who)) {
          busy[who] = 0;
          fleet.net.crash(who);
        }
        break;
      case 1:
      case 2:
        for (std::size_t i = 0; i < nodes; ++i) {
          if (!fleet.net.up(i)) fleet.net.boot(i);
        }
        break;
      case 3:
        fleet.net.part({who, chance.below(nodes)});
        break;
      case 4:
        if (const auto leader = fleet.leader()) fleet.net.part({*leader});
        break;
      case 5:
      case 6:
      case 7:
        fleet.net.heal();
        break;
      default:
        break;
    }
    for (std::size_t i = 0; i < nodes; ++i) {
      if (chance.chance(0.5)) begin(i);
    }
    fleet.tell_hints();
    fleet.net.run(Duration(static_cast<std::int64_t>(chance.below(300'000'000))));
  }
  const auto bad = not_linearizable(history);
  EXPECT_FALSE(bad.has_value()) << "seed " << seed << " path " << *bad;
  const auto answered = std::ranges::count_if(history, [](const Operation& each) { return each.returned != kNever; });
  EXPECT_GT(answered, 30) << "seed " << seed << " of " << history.size();
}

TEST(Group, every_history_is_linearizable) {
  for (std::uint64_t seed = 1; seed <= 60 && !HasFailure(); ++seed) torment(seed);
}

TEST(Linearizability, tells_good_histories_from_bad_ones) {
  const auto at = [](int ms) { return Instant{} + Duration(ms * 1'000'000); };
  const Operation one{.path = "x", .write = true, .value = "1", .called = at(0), .returned = at(10)};
  const Operation two{.path = "x", .write = true, .value = "2", .called = at(5), .returned = at(15)};
  const auto read = [&](const char* value, int from, int to) {
    return Operation{.path = "x", .write = false, .value = value, .called = at(from), .returned = at(to)};
  };
  EXPECT_FALSE(not_linearizable({one, two, read("1", 20, 30)}));
  EXPECT_FALSE(not_linearizable({one, two, read("2", 20, 30), read("2", 31, 40)}));
  EXPECT_TRUE(not_linearizable({one, two, read("2", 20, 30), read("1", 31, 40)})) << "back in time";
  EXPECT_TRUE(not_linearizable({one, read("", 11, 20)})) << "a stale read";
  EXPECT_TRUE(not_linearizable({one, read("3", 11, 20)})) << "nobody wrote it";
  Operation lost = two;
  lost.returned = kNever;
  EXPECT_FALSE(not_linearizable({one, lost, read("1", 20, 30), read("2", 40, 50)})) << "it may happen late";
  EXPECT_FALSE(not_linearizable({one, lost, read("1", 20, 30)})) << "or never";
  EXPECT_TRUE(not_linearizable({one, lost, read("2", 20, 30), read("1", 40, 50)}));
}

// Every order of the operations, with what never returned or without it.
bool some_order_explains(const std::vector<Operation>& history) {
  std::vector<std::size_t> order(history.size());
  std::iota(order.begin(), order.end(), 0);
  const auto explains = [&](std::uint64_t left_out) {
    std::string value;
    Instant latest_call = Instant::min();
    for (const std::size_t i : order) {
      const Operation& each = history[i];
      if ((left_out >> i & 1) != 0) continue;
      if (each.returned < latest_call || (!each.write && each.value != value)) return false;
      latest_call = std::max(latest_call, each.called);
      if (each.write) value = each.value;
    }
    return true;
  };
  std::uint64_t may_be_left_out = 0;
  for (std::size_t i = 0; i < history.size(); ++i) {
    if (history[i].returned == kNever) may_be_left_out |= std::uint64_t{1} << i;
  }
  do {
    for (std::uint64_t left_out = may_be_left_out;; left_out = (left_out - 1) & may_be_left_out) {
      if (explains(left_out)) return true;
      if (left_out == 0) break;
    }
  } while (std::ranges::next_permutation(order).found);
  return false;
}

TEST(Linearizability, says_what_trying_every_order_says) {
  Prng chance(1);
  int good = 0, bad = 0;
  for (int round = 0; round < 4000; ++round) {
    std::vector<Operation> history;
    const std::size_t count = 1 + chance.below(6);
    const std::size_t writes = 1 + chance.below(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t from = chance.below(12), value = i < writes ? i + 1 : chance.below(writes + 1);
      Operation each{.path = "x", .write = i < writes, .value = value == 0 ? "" : std::to_string(value)};
      each.called = Instant{} + static_cast<std::int64_t>(from) * 1ms;
      each.returned = each.called + static_cast<std::int64_t>(chance.below(8)) * 1ms;
      if (chance.chance(0.2)) each.returned = kNever;
      history.push_back(each);
    }
    const bool explained = some_order_explains(history);
    ASSERT_EQ(!not_linearizable(history).has_value(), explained) << "round " << round;
    (explained ? good : bad) += 1;
  }
  EXPECT_GT(good, 400);
  EXPECT_GT(bad, 400);
}

}  // namespace
}  // namespace sedge::consensus
