#include "mesh/tree.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <vector>

#include <gtest/gtest.h>

#include "base/prng.h"

namespace sedge::mesh {
namespace {

NodeId id_of(std::size_t i) {
  NodeId id;
  id.bytes[0] = static_cast<std::uint8_t>(i >> 8);
  id.bytes[1] = static_cast<std::uint8_t>(i);
  return id;
}
std::size_t index_of(NodeId id) { return std::size_t{id.bytes[0]} << 8 | id.bytes[1]; }

// Trees over a random graph: a message takes the link's time, and nothing else happens.
struct Graph {
  struct InFlight {
    Instant when{};
    std::size_t from = 0, to = 0;
    wire::TreePosition position;
  };
  std::vector<std::unique_ptr<Tree>> nodes;
  std::vector<bool> up;
  std::map<std::pair<std::size_t, std::size_t>, Duration> links;  // both directions
  std::deque<InFlight> flights;
  Instant now{};
  std::uint64_t messages = 0;

  Graph(std::size_t n, std::size_t degree, std::uint64_t seed) : up(n, true) {
    Prng prng(seed);
    for (std::size_t i = 0; i < n; ++i) {
      nodes.push_back(std::make_unique<Tree>(
          Tree::Options{.self = id_of(i),
                        .state_of = [this](NodeId id) -> std::optional<wire::MemberState> {
                          return up[index_of(id)] ? wire::MemberState::kAlive : wire::MemberState::kDead;
                        },
                        .round_trip = [this, i](NodeId peer) { return 2 * links.at({i, index_of(peer)}); }}));
    }
    const auto link = [&](std::size_t a, std::size_t b) {
      if (a == b || links.contains({a, b})) return;
      links[{a, b}] = links[{b, a}] = Duration(static_cast<std::int64_t>(10'000'000 + prng.below(40'000'000)));
      nodes[a]->on_link_up(id_of(b), now);
      nodes[b]->on_link_up(id_of(a), now);
    };
    for (std::size_t i = 1; i < n; ++i) link(i, prng.below(i));  // connected
    for (std::size_t i = 0; i < n * (degree - 2) / 2; ++i) link(prng.below(n), prng.below(n));
  }

  void run(Duration time) {
    for (const Instant end = now + time; now < end; now += 1ms) {
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (!up[i]) continue;
        nodes[i]->on_timer(now);
        for (auto& [peer, position] : nodes[i]->take_positions()) {
          ++messages;
          flights.push_back({now + links.at({i, index_of(peer)}), i, index_of(peer), position});
        }
      }
      std::ranges::stable_sort(flights, {}, &InFlight::when);
      for (; !flights.empty() && flights.front().when <= now; flights.pop_front()) {
        const InFlight& one = flights.front();
        if (up[one.to] && up[one.from]) nodes[one.to]->on_position(id_of(one.from), one.position, now);
      }
    }
  }

  void kill(std::size_t dead) {
    up[dead] = false;
    for (const auto& [ends, time] : links) {
      if (ends.first == dead) nodes[ends.second]->on_link_down(id_of(dead), now);
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (up[i]) nodes[i]->on_member_changed(id_of(dead), now);
    }
  }

  // Whom a batch of `origin` reaches along the links that hold, and how often each gets it.
  std::vector<std::size_t> copies(std::size_t origin) const {
    std::vector<std::size_t> got(nodes.size());
    std::deque<std::pair<std::size_t, std::size_t>> ways{{origin, origin}};
    got[origin] = 1;
    for (; !ways.empty(); ways.pop_front()) {
      const auto [from, at] = ways.front();
      for (const auto& [ends, time] : links) {
        const std::size_t to = ends.second;
        if (ends.first != at || to == from || !up[to] || !nodes[at]->holds(id_of(to))) continue;
        if (++got[to] == 1) ways.emplace_back(at, to);
      }
    }
    return got;
  }

  std::vector<Duration> shortest(std::size_t root) const {
    std::vector<Duration> way(nodes.size(), Duration::max() / 2);
    way[root] = {};
    for (std::size_t round = 0; round < nodes.size(); ++round) {
      for (const auto& [ends, time] : links) {
        if (up[ends.first] && up[ends.second])
          way[ends.second] = std::min(way[ends.second], way[ends.first] + time + 500us);
      }
    }
    return way;
  }
};

void expect_one_copy_each(const Graph& graph) {
  for (const std::size_t origin : {std::size_t{5}, graph.nodes.size() / 2, graph.nodes.size() - 1}) {
    const std::vector<std::size_t> got = graph.copies(origin);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i], graph.up[i] ? 1u : 0u) << "node " << i << ", from " << origin;
    }
  }
}

TEST(Tree, all_find_one_root_and_a_batch_reaches_each_once) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Graph graph(60, 5, seed);
    graph.run(6s);
    for (const auto& node : graph.nodes) EXPECT_EQ(node->root(), id_of(0)) << "seed " << seed;
    expect_one_copy_each(graph);
  }
}

TEST(Tree, ways_to_the_root_are_nearly_the_shortest) {
  Graph graph(60, 5, 3);
  graph.run(10s);
  const std::vector<Duration> shortest = graph.shortest(0);
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    EXPECT_LE(graph.nodes[i]->distance(), shortest[i] * 14 / 10 + 4ms) << "node " << i;
  }
}

TEST(Tree, nothing_is_said_when_nothing_changes) {
  Graph graph(60, 5, 4);
  graph.run(10s);
  const std::uint64_t before = graph.messages;
  graph.run(20s);
  EXPECT_EQ(graph.messages, before);
}

TEST(Tree, it_grows_around_the_dead_the_root_among_them) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Graph graph(60, 6, seed);
    graph.run(6s);
    Prng prng(seed);
    for (const std::size_t dead : {std::size_t{0}, 1 + prng.below(20), 21 + prng.below(20)}) {
      graph.kill(dead);
      graph.run(5s);
    }
    const std::vector<Duration> reachable = graph.shortest(59);
    if (std::ranges::any_of(std::views::iota(std::size_t{0}, graph.nodes.size()),
                            [&](std::size_t i) { return graph.up[i] && reachable[i] > 100s; })) {
      continue;  // the graph itself has fallen apart
    }
    const NodeId root = graph.nodes[59]->root();
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      if (!graph.up[i]) continue;
      EXPECT_EQ(graph.nodes[i]->root(), root) << "node " << i << ", seed " << seed;
    }
    expect_one_copy_each(graph);
  }
}

TEST(Tree, until_neighbours_agree_on_the_root_their_link_holds) {
  Tree tree({.self = id_of(7)});
  tree.on_link_up(id_of(9), {});
  EXPECT_TRUE(tree.holds(id_of(9)));
  tree.on_position(id_of(9), {id_of(3), 1000, {1}}, {});
  EXPECT_EQ(tree.parent(), id_of(9));
  tree.on_link_up(id_of(8), {});
  tree.on_position(id_of(8), {id_of(3), 90'000, {2}}, {});
  EXPECT_FALSE(tree.holds(id_of(8)));  // neither its parent nor its child
  tree.on_position(id_of(8), {id_of(4), 90'000, {2}}, {});
  EXPECT_TRUE(tree.holds(id_of(8)));
}

TEST(Tree, nobody_follows_who_follows_it) {
  Tree tree({.self = id_of(7)});
  tree.on_link_up(id_of(9), {});
  const NodeId self = id_of(7);
  const std::uint64_t own_name = std::uint64_t{self.bytes[0]} | std::uint64_t{self.bytes[1]} << 8;
  tree.on_position(id_of(9), {id_of(3), 1000, {1, own_name, 2}}, {});
  EXPECT_EQ(tree.parent(), std::nullopt);
  EXPECT_EQ(tree.root(), self);
}

TEST(Tree, a_root_that_nobody_knows_or_that_is_dead_is_not_followed) {
  for (const std::optional<wire::MemberState> state :
       {std::optional<wire::MemberState>(), std::optional(wire::MemberState::kDead),
        std::optional(wire::MemberState::kLeft)}) {
    Tree tree({.self = id_of(7), .state_of = [state](NodeId) { return state; }});
    tree.on_link_up(id_of(9), {});
    tree.on_position(id_of(9), {id_of(3), 1000, {1}}, {});
    EXPECT_EQ(tree.parent(), std::nullopt);
    EXPECT_TRUE(tree.holds(id_of(9)));
  }
}

}  // namespace
}  // namespace sedge::mesh
