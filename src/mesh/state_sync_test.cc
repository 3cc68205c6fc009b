#include "mesh/state_sync.h"

#include <algorithm>
#include <memory>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "mesh/manifest.h"
#include "mesh/state_rows.h"
#include "mesh/test_state_world.h"
#include "trust/revocation.h"
#include "wire/codec.h"

namespace sedge::mesh {
namespace {

using namespace state_test;

// ---- one node -------------------------------------------------------------------------------------------------------

TEST(StateSync, a_write_is_seen_acknowledged_and_sent_only_when_durable_and_once) {
  World world(1);
  StateSync& sync = world.at(0);
  Node& node = world.node(0);
  const Ticket ticket = sync.set("a", text("1"), world.now).value();
  env::Outbox out;
  sync.drain(out);
  ASSERT_FALSE(out.records.empty());
  sync.on_persisting({7});
  sync.on_durable({6}, world.now);
  EXPECT_TRUE(node.done.empty());
  EXPECT_TRUE(sync.take_outgoing().empty());
  EXPECT_FALSE(sync.replica().read("a"));
  EXPECT_TRUE(sync.vector().rows().empty());

  sync.on_durable({7}, world.now);
  sync.on_durable({7}, world.now);
  sync.on_durable({9}, world.now);
  EXPECT_EQ(node.done, (std::map<std::uint64_t, std::vector<bool>>{{ticket.value, {true}}}));
  EXPECT_EQ(sync.take_outgoing().size(), 1u);
  EXPECT_TRUE(sync.take_outgoing().empty());
  EXPECT_EQ(values(sync, "a"), Values(1, text("1")));
  EXPECT_EQ(node.changed, std::vector<std::string>{"a"});
}

TEST(StateSync, writes_of_one_moment_see_each_other_before_the_disk_has_them) {
  World world(1);
  StateSync& sync = world.at(0);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(sync.add("count", i % 3 ? 5 : -1, world.now));
    ASSERT_TRUE(sync.set_multi("order", text(std::to_string(i)), world.now));
    ASSERT_TRUE(sync.insert("open", text("e"), world.now));
    ASSERT_TRUE(sync.remove("open", text("e"), world.now));
  }
  world.run(20ms);
  EXPECT_EQ(sync.replica().read("count")->total, 6 * 5 - 4);
  EXPECT_EQ(values(sync, "order"), Values(1, text("9")));
  EXPECT_TRUE(values(sync, "open").empty());
  EXPECT_EQ(sync.replica().living().size(), 3u);
  EXPECT_EQ(world.node(0).done.size(), 40u);
}

TEST(StateSync, a_write_that_cannot_be_is_refused_with_the_reason) {
  World world(1);
  world.base.unacknowledged_max = 3;
  world.base.limits.writes_max = 4;
  world.base.limits.origin_part = 1;
  world.boot(world.node(0));
  StateSync& sync = world.at(0);
  const auto code = [](const Result<Ticket>& result) { return result ? Code{} : result.error().code; };
  EXPECT_EQ(code(sync.set("", text("x"), world.now)), Code::kInvalidArgument);
  EXPECT_EQ(code(sync.set("a/+", text("x"), world.now)), Code::kInvalidArgument);
  EXPECT_EQ(code(sync.set("a", Buffer(crdt::kValueBytesMax + 1), world.now)), Code::kInvalidArgument);
  EXPECT_EQ(code(sync.set("sys/x", text("x"), world.now)), Code::kPermissionDenied);
  EXPECT_EQ(code(sync.set("sys/node/" + NodeId{}.hex() + "/x", text("x"), world.now)), Code::kPermissionDenied);
  EXPECT_EQ(code(sync.set("sys/node/" + world.node(0).identity.id.hex() + "/x", text("x"), world.now)), Code{});
  EXPECT_EQ(code(sync.add("n", std::numeric_limits<std::int64_t>::max(), world.now)), Code{});
  EXPECT_EQ(code(sync.add("n", 1, world.now)), Code::kOutOfRange);
  EXPECT_EQ(code(sync.set("b", text("x"), world.now)), Code{});
  EXPECT_EQ(code(sync.set("c", text("x"), world.now)), Code::kResourceExhausted);  // three wait for the disk
  world.run(10ms);
  EXPECT_EQ(code(sync.set("n", text("x"), world.now)), Code::kFailedPrecondition);  // a counter lives there
  EXPECT_EQ(code(sync.set("c", text("x"), world.now)), Code{});
  world.run(10ms);
  EXPECT_EQ(code(sync.set("d", text("x"), world.now)), Code::kResourceExhausted);  // four living writes
  EXPECT_EQ(code(sync.set("c", text("y"), world.now)), Code{});
}

TEST(StateSync, a_disk_that_fails_answers_every_write_once_with_the_error) {
  World world(1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(world.at(0).set("a", text("x"), world.now));
  world.run(2ms);
  world.at(0).abandon({Code::kUnavailable, "the disk is gone"});
  world.run(10ms);
  ASSERT_EQ(world.node(0).done.size(), 3u);
  for (const auto& [ticket, outcomes] : world.node(0).done) EXPECT_EQ(outcomes, std::vector<bool>{false});
  EXPECT_FALSE(world.at(0).replica().read("a"));
}

TEST(StateSync, replaced_writes_leave_the_disk_without_a_commit_of_their_own) {
  World world(1);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(world.at(0).set("a", text(std::to_string(i)), world.now));
    world.run(10ms);
  }
  EXPECT_LE(world.node(0).lsn.value, 51u);
  world.run(1s);
  EXPECT_LE(world.node(0).disk.size(), 2u);  // the write and the row of the vector
}

// ---- disk and restarts ----------------------------------------------------------------------------------------------

TEST(StateSync, a_restarted_node_has_all_it_acknowledged_and_never_uses_a_dot_again) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    World world(1, seed);
    std::set<Dot> used;
    std::int64_t counted_least = 0, counted_most = 0;
    for (int life = 0; life < 4; ++life) {
      for (int i = 0; i < 20; ++i) {
        RC_ASSERT(world.at(0).add("count", 1, world.now).has_value());
        RC_ASSERT(world.at(0).insert("set", text(fmt::format("{}/{}", life, i)), world.now).has_value());
        world.run(1ms * static_cast<std::int64_t>(world.prng.below(4)));
        for (const auto& [dot, op] : world.at(0).replica().living()) used.insert(dot);
      }
      const auto value = world.at(0).replica().read("count");
      counted_least = value ? value->total : 0;
      counted_most += 20;
      const Values members = values(world.at(0), "set");
      world.kill(0);
      world.revive(0);
      const auto again = world.at(0).replica().read("count");
      RC_ASSERT((again ? again->total : 0) >= counted_least);
      RC_ASSERT((again ? again->total : 0) <= counted_most);
      counted_most = again ? again->total : 0;
      const Values found = values(world.at(0), "set");
      RC_ASSERT(std::ranges::includes(found, members));
      for (const auto& [dot, op] : world.at(0).replica().living()) used.insert(dot);
      // Every dot of this life is new: its epoch is.
      RC_ASSERT(world.at(0).set("probe", text("x"), world.now).has_value());
      world.run(10ms);
      for (const auto& [dot, op] : world.at(0).replica().living()) {
        if (op.path == "probe") RC_ASSERT(used.insert(dot).second);
      }
    }
  }));
}

TEST(StateSync, a_boot_epoch_that_was_used_before_is_refused_at_load) {
  World world(1);
  ASSERT_TRUE(world.at(0).set("a", text("x"), world.now));
  world.run(100ms);
  StateSync::Options options;
  options.self = world.node(0).identity.id;
  options.epoch = {1};
  StateSync again(options, world.node(0).identity.key.secret, world.node(0).directory);
  int refused = 0;
  for (const auto& [key, value] : world.node(0).disk) {
    const Status loaded = again.load(key.first, key.second, value);
    refused += !loaded && loaded.error().code == Code::kFailedPrecondition;
  }
  EXPECT_EQ(refused, static_cast<int>(world.node(0).disk.size()));
}

TEST(StateSync, a_damaged_record_is_named) {
  World world(1);
  const Status damaged = world.at(0).load(kStateOpBucket, text("k"), text("noise"));
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Code::kDataLoss);
  EXPECT_NE(damaged.error().message.find("state.op 6b"), std::string::npos) << damaged.error().message;
  EXPECT_FALSE(world.at(0).load("other", {}, {}));
}

TEST(StateSync, high_water_marks_survive_a_restart_though_the_writes_below_them_are_gone) {
  World world(2);
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(world.at(0).set("a", text(std::to_string(i)), world.now));
    world.run(5ms);
  }
  world.run(200ms);
  const auto before = world.at(1).vector().minus({}, 100);
  world.kill(1);
  world.revive(1);
  EXPECT_EQ(world.at(1).vector().minus({}, 100), before);
  EXPECT_EQ(before.size(), 1u);
}

// ---- several nodes --------------------------------------------------------------------------------------------------

void write_something(World& world, std::size_t i) {
  StateSync& sync = world.at(i);
  const Buffer value = text(std::to_string(world.prng.below(5)));
  const std::string number = std::to_string(world.prng.below(3));
  switch (world.prng.below(5)) {
    case 0:
      static_cast<void>(sync.set("register/" + number, value, world.now));
      break;
    case 1:
      static_cast<void>(sync.set_multi("multi/" + number, value, world.now));
      break;
    case 2:
      static_cast<void>(sync.add("counter/" + number, static_cast<std::int64_t>(world.prng.below(9)) - 4, world.now));
      break;
    case 3:
      static_cast<void>(sync.insert("set/" + number, value, world.now));
      break;
    default:
      static_cast<void>(sync.remove("set/" + number, value, world.now));
      break;
  }
}

TEST(StateSync, nodes_converge_though_messages_are_lost_nodes_die_and_links_break) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(3 + seed % 3, seed);
    world.loss = 0.2;
    const std::size_t count = world.nodes.size();
    for (int i = 0; i < 150; ++i) {
      write_something(world, world.prng.below(count));
      world.run(1ms * static_cast<std::int64_t>(world.prng.below(20)));
      const std::size_t victim = world.prng.below(count);
      if (world.prng.chance(0.03)) {
        world.kill(victim);
        world.revive(victim);
      }
      if (world.prng.chance(0.03)) world.unlink(victim, (victim + 1) % count);
      if (world.prng.chance(0.03)) world.cut.clear();
    }
    world.cut.clear();
    for (std::size_t i = 0; i < count; ++i) world.link_all(i);
    world.run(20s);
    ASSERT_TRUE(world.converged()) << "seed " << seed;
    for (const auto& node : world.nodes) {
      for (const auto& [ticket, outcomes] : node->done) ASSERT_EQ(outcomes.size(), 1u);
      EXPECT_EQ(node->sync->unacknowledged(), 0u);
    }
    ASSERT_GT(world.at(0).replica().living().size(), 10u);
    // And the disks agree with the memories.
    world.run(1s);
    const crdt::Digest digest = world.at(0).digest();
    for (std::size_t i = 0; i < count; ++i) {
      const auto is_op = [](const auto& record) { return record.first.first == kStateOpBucket; };
      EXPECT_EQ(static_cast<std::size_t>(std::ranges::count_if(world.node(i).disk, is_op)),
                world.at(i).replica().living().size());
      world.kill(i);
      world.boot(world.node(i));
      EXPECT_EQ(world.at(i).digest(), digest) << "seed " << seed << " node " << i;
    }
  }
}

TEST(StateSync, a_write_whose_broadcast_is_lost_is_found_by_anti_entropy) {
  World world(4);
  world.run(3s);
  world.broadcast_loss = 1;
  ASSERT_TRUE(world.at(2).set("a", text("x"), world.now));
  world.run(20ms);
  EXPECT_FALSE(world.converged());
  world.run(6s);
  EXPECT_TRUE(world.converged());
}

TEST(StateSync, a_returning_node_is_equal_within_a_second_and_is_not_sent_everything_by_everyone) {
  World world(5);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(world.at(0).set(fmt::format("entry/{}", i), Buffer(100), world.now));
  world.run(3s);
  world.kill(4);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(world.at(1).set(fmt::format("later/{}", i), Buffer(100), world.now));
  world.run(3s);
  std::uint64_t sent = 0;
  for (std::size_t i = 0; i < 4; ++i) sent += world.at(i).stats().ops_sent;
  world.revive(4);
  world.run(500ms);
  EXPECT_TRUE(world.converged());
  for (std::size_t i = 0; i < 4; ++i) sent -= world.at(i).stats().ops_sent;
  EXPECT_LE(0 - sent, 250u);
}

TEST(StateSync, much_state_arrives_in_bounded_chunks) {
  World world(1);
  world.base.chunk_bytes = 4096;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(world.at(0).insert(fmt::format("set/{}", i % 7), text(std::to_string(i)), world.now));
  }
  world.run(1s);
  world.boot(world.node(0));  // with the small chunks
  world.boot(world.add(world.authority.enrol(1)));
  world.link_all(1);
  world.run(1s);
  EXPECT_TRUE(world.converged());
  EXPECT_GT(world.at(1).stats().pulls, 20u);
  EXPECT_EQ(world.at(1).replica().living().size(), 1000u);
}

TEST(StateSync, what_is_out_of_a_2p_set_is_refused_at_once_though_the_removal_is_not_on_disk_yet) {
  World world(1);
  ASSERT_TRUE(world.at(0).insert_2p("s", text("a"), world.now));
  ASSERT_TRUE(world.at(0).remove_2p("s", text("a"), world.now));
  EXPECT_EQ(world.at(0).insert_2p("s", text("a"), world.now).error().code, Code::kFailedPrecondition);
  world.run(100ms);
  EXPECT_EQ(world.at(0).insert_2p("s", text("a"), world.now).error().code, Code::kFailedPrecondition);
  ASSERT_TRUE(world.at(0).remove_2p("s", text("never there"), world.now));
  ASSERT_TRUE(world.at(0).insert_2p("s", text("b"), world.now));
  world.run(100ms);
  EXPECT_EQ(values(world.at(0), "s"), Values{text("b")});
  ASSERT_TRUE(world.at(0).erase("s", world.now));
  world.run(100ms);
  EXPECT_TRUE(values(world.at(0), "s").empty());
  EXPECT_FALSE(world.at(0).insert_2p("s", text("b"), world.now)) << "erased is out for good";
}

TEST(StateSync, a_subtree_is_erased_as_it_is_seen_and_what_others_add_meanwhile_lives) {
  World world(2);
  const auto put = [&](std::size_t i, const char* path) { ASSERT_TRUE(world.at(i).set(path, text("x"), world.now)); };
  put(0, "robot/7/pose");
  put(0, "robot/7/arm/left");
  put(0, "robot/70/pose");
  ASSERT_TRUE(world.at(0).set_multi("robot/7/plan", text("a"), world.now));
  ASSERT_TRUE(world.at(0).insert("robot/7/tasks", text("dig"), world.now));
  ASSERT_TRUE(world.at(0).insert("robot/7/tasks", text("haul"), world.now));
  ASSERT_TRUE(world.at(0).append("robot/7/log", text("hello"), 5, world.now));
  ASSERT_TRUE(world.at(0).add("robot/7/km", 12, world.now));
  world.run(2s);
  ASSERT_TRUE(world.converged());
  world.unlink(0, 1);
  put(1, "robot/7/arm/right");
  ASSERT_TRUE(world.at(1).insert("robot/7/tasks", text("dig"), world.now));  // again, without having seen the erasing
  world.run(100ms);
  const auto last = world.at(0).erase("robot/7/#", world.now);
  ASSERT_TRUE(last) << last.error().message;
  world.run(100ms);
  EXPECT_EQ(world.node(0).done.at(last->value), std::vector<bool>{true});
  world.cut.clear();
  world.link_all(0);
  world.run(3s);
  EXPECT_TRUE(world.converged());
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& replica = world.at(i).replica();
    for (const char* gone : {"robot/7/pose", "robot/7/arm/left", "robot/7/plan", "robot/7/log"}) {
      EXPECT_FALSE(replica.read(gone)) << gone;
    }
    EXPECT_EQ(values(world.at(i), "robot/7/tasks"), Values{text("dig")});
    EXPECT_TRUE(replica.read("robot/7/arm/right"));
    EXPECT_TRUE(replica.read("robot/70/pose"));
    EXPECT_EQ(replica.read("robot/7/km")->total, 12);
  }
}

TEST(StateSync, an_erasing_that_cannot_be_is_refused_whole_with_the_reason) {
  World world(1);
  EXPECT_EQ(world.at(0).erase("robot/#", world.now).error().code, Code::kNotFound);
  EXPECT_EQ(world.at(0).erase("robot/#/x", world.now).error().code, Code::kInvalidArgument);
  ASSERT_TRUE(world.at(0).add("robot/km", 1, world.now));
  world.run(100ms);
  EXPECT_EQ(world.at(0).erase("robot/#", world.now).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(world.at(0).erase("robot/km", world.now).error().code, Code::kFailedPrecondition);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(world.at(0).insert("many", text(std::to_string(i)), world.now));
    if (i % 100 == 0) world.run(10ms);
  }
  world.run(100ms);
  EXPECT_EQ(world.at(0).erase("many", world.now).error().code, Code::kResourceExhausted);
  EXPECT_EQ(values(world.at(0), "many").size(), 5000u);
  EXPECT_EQ(world.at(0).erase("#", world.now).error().code, Code::kResourceExhausted);
  EXPECT_EQ(world.at(0).unacknowledged(), 0u);
}

TEST(StateSync, what_anti_entropy_sends_is_packed_for_those_it_pays_for) {
  World world(2);
  world.unlink(0, 1);
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(world.at(0).set(fmt::format("robot/rover-7/sensor/{}", i), text(std::string(300, 'x')), world.now));
    world.run(1ms);
  }
  world.run(100ms);
  world.at(0).hooks.packs = [&](NodeId peer) { return peer == world.node(1).identity.id; };
  world.cut.clear();
  world.link_all(0);
  world.run(3s);
  EXPECT_TRUE(world.converged());
  EXPECT_EQ(world.at(1).replica().living().size(), world.at(0).replica().living().size());
  EXPECT_GT(world.at(0).pack_stats().packed, 0u);
  EXPECT_LT(world.at(0).pack_stats().bytes_packed, world.at(0).pack_stats().bytes_plain / 2);
  EXPECT_EQ(world.at(1).pack_stats().packed, 0u);
}

TEST(StateSync, a_value_too_large_for_a_broadcast_is_pulled_at_once) {
  World world(3);
  world.run(3s);
  ASSERT_TRUE(world.at(0).set("map", Buffer(crdt::kValueBytesMax, 7), world.now));
  world.run(40ms);
  EXPECT_TRUE(world.converged());
}

TEST(StateSync, holes_of_replaced_writes_do_not_stop_vectors) {
  World world(1);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(world.at(0).set(i % 10 ? "a" : "b", text(std::to_string(i)), world.now));
    world.run(5ms);
  }
  world.boot(world.add(world.authority.enrol(1)));
  world.link_all(1);
  world.run(100ms);
  EXPECT_TRUE(world.converged());
  EXPECT_EQ(world.at(0).stats().ops_sent, 2u);
  EXPECT_TRUE(world.at(1).vector().minus(world.at(0).vector(), 10).empty());
  EXPECT_TRUE(world.at(0).vector().minus(world.at(1).vector(), 10).empty());
}

TEST(StateSync, an_idle_fleet_says_little) {
  World world(5);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(world.at(0).set(fmt::format("entry/{}", i), Buffer(100), world.now));
  world.run(5s);
  world.frames = world.frame_bytes = 0;
  world.run(10s);
  EXPECT_LE(world.frames, 75u);  // a brief a node and second
  EXPECT_LE(world.frame_bytes / world.frames, 40u);
}

void newcomer_meets_the_first(World& world) {
  Node& late = world.add(world.authority.enrol(2));
  late.directory = trust::Directory(world.authority.root.public_key);
  ASSERT_TRUE(late.directory.add(late.identity.chain));
  ASSERT_TRUE(late.directory.add(world.node(0).identity.chain));
  world.boot(late);
  world.link_all(2);
  world.run(200ms);
  EXPECT_EQ(values(world.at(2), "legacy"), Values(1, text("x")));
}

TEST(StateSync, a_newcomer_learns_the_certificates_of_those_who_left) {
  World world(2);
  ASSERT_TRUE(world.at(1).set("legacy", text("x"), world.now));
  world.run(100ms);
  world.kill(1);
  newcomer_meets_the_first(world);
}

TEST(StateSync, who_restarts_can_still_show_the_certificates_of_those_who_left) {
  World world(2);
  ASSERT_TRUE(world.at(1).set("legacy", text("x"), world.now));
  world.run(1s);
  world.kill(1);
  world.kill(0);
  Node& relay = world.node(0);
  relay.directory = trust::Directory(world.authority.root.public_key);
  ASSERT_TRUE(relay.directory.add(relay.identity.chain));
  world.boot(relay);
  EXPECT_NE(relay.directory.find(world.node(1).identity.id), nullptr);

  newcomer_meets_the_first(world);
}

TEST(StateSync, a_certificate_leaves_the_disk_with_the_last_write_of_its_owner) {
  World world(2);
  const auto chains = [&] {
    return std::ranges::count_if(world.node(0).disk,
                                 [](const auto& record) { return record.first.first == kStateChainBucket; });
  };
  ASSERT_TRUE(world.at(1).set("a", text("x"), world.now));
  ASSERT_TRUE(world.at(1).set("b", text("x"), world.now));
  world.run(1s);
  EXPECT_EQ(chains(), 1);
  ASSERT_TRUE(world.at(0).set("a", text("y"), world.now));
  world.run(1s);
  EXPECT_EQ(chains(), 1);
  ASSERT_TRUE(world.at(0).set("b", text("y"), world.now));
  world.run(1s);
  EXPECT_EQ(chains(), 0);
}

// ---- time -----------------------------------------------------------------------------------------------------------

TEST(StateSync, a_newcomer_to_an_old_fleet_follows_its_clock_and_merges_at_once) {
  World world(3);
  world.now += 10h;
  ASSERT_TRUE(world.at(0).set("a", text("x"), world.now));
  world.run(3s);
  world.boot(world.add(world.authority.enrol(3)));
  EXPECT_LT(world.at(3).fleet_ms(world.now), 100u);
  world.link_all(3);
  world.run(100ms);
  EXPECT_EQ(values(world.at(3), "a"), Values(1, text("x")));
  EXPECT_NEAR(static_cast<double>(world.at(3).fleet_ms(world.now)),
              static_cast<double>(world.at(0).fleet_ms(world.now)), 20);
  EXPECT_EQ(world.at(3).stats().in_quarantine, 0u);
}

// A fleet of hours, and a newcomer that writes before it hears anybody: "p" older than what the fleet has by its stamp.
struct Early : World {
  Early() : World(3) {
    now += 10h;
    SEDGE_ASSERT(at(0).set("p", text("of yesterday"), now));
    run(3s);
    boot(add(authority.enrol(3)));
  }
  void expect_all(std::string_view value) {
    run(3s);
    EXPECT_TRUE(converged());
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(values(at(i), "p"), Values(1, text(value))) << i;
  }
};

TEST(StateSync, what_a_newcomer_wrote_before_it_had_a_clock_beats_what_is_older) {
  Early world;
  ASSERT_TRUE(world.at(3).set("p", text("of now"), world.now));
  world.run(1s);
  world.link_all(3);
  world.expect_all("of now");
  EXPECT_EQ(world.at(3).stats().written_again, 1u);
}

TEST(StateSync, what_a_newcomer_wrote_alone_beats_what_is_older_though_it_trusted_itself_by_then) {
  Early world;
  ASSERT_TRUE(world.at(3).set("p", std::nullopt, world.now));
  world.run(10min);
  ASSERT_TRUE(world.at(3).set("p", text("of now"), world.now));
  world.run(1s);
  world.link_all(3);
  world.expect_all("of now");
}

TEST(StateSync, what_the_fleet_wrote_after_a_newcomer_without_a_clock_stays) {
  Early world;
  ASSERT_TRUE(world.at(3).set("p", text("of now"), world.now));
  world.run(1s);
  ASSERT_TRUE(world.at(1).set("p", text("later"), world.now));
  world.run(1s);
  world.link_all(3);
  world.expect_all("later");
  EXPECT_EQ(world.at(3).stats().written_again, 0u);
}

TEST(StateSync, what_is_still_on_its_way_to_the_disk_when_the_clock_comes_is_written_again_too) {
  Early world;
  world.link_all(3);
  ASSERT_TRUE(world.at(3).set("p", text("of now"), world.now));
  world.expect_all("of now");
  EXPECT_EQ(world.at(3).stats().written_again, 1u);
}

TEST(StateSync, two_newcomers_without_clocks_do_not_write_again_for_ever) {
  Early world;
  world.boot(world.add(world.authority.enrol(4)));
  ASSERT_TRUE(world.at(3).set("p", text("of 3"), world.now));
  world.run(1s);
  ASSERT_TRUE(world.at(4).set("p", text("of 4"), world.now));
  world.run(1s);
  world.link_all(3);
  world.run(3s);
  world.link_all(4);
  world.run(5s);
  EXPECT_TRUE(world.converged());
  EXPECT_NE(values(world.at(0), "p"), Values(1, text("of yesterday")));
  EXPECT_LE(world.at(3).stats().written_again + world.at(4).stats().written_again, 2u);
}

TEST(StateSync, a_write_from_the_future_waits_and_is_reported_and_merges_when_the_clock_is_there) {
  World world(2);
  world.run(3s);
  const std::uint64_t ms = world.at(0).fleet_ms(world.now);
  const Identity& other = world.node(1).identity;
  ASSERT_TRUE(world.at(0).on_broadcast(other.id, batch_of({signed_op(other, 1, "near", ms + 400)}), world.now));
  ASSERT_TRUE(world.at(0).on_broadcast(other.id, batch_of({signed_op(other, 2, "far", ms + 5000)}), world.now));
  EXPECT_TRUE(world.at(0).replica().read("near"));
  EXPECT_FALSE(world.at(0).replica().read("far"));
  EXPECT_EQ(world.at(0).stats().in_quarantine, 1u);
  ASSERT_EQ(world.node(0).reports.size(), 1u);
  EXPECT_NE(world.node(0).reports[0].find("ahead of the fleet's clock"), std::string::npos);
  ASSERT_TRUE(world.at(0).set("mine", text("x"), world.now));
  world.run(100ms);
  EXPECT_LT(world.at(0).replica().read("mine")->stamp.ms(), ms + 1000);  // it did not pull our stamps along
  world.run(3500ms);
  EXPECT_FALSE(world.at(0).replica().read("far"));
  world.run(3s);
  EXPECT_TRUE(world.at(0).replica().read("far"));
  EXPECT_EQ(world.at(0).stats().in_quarantine, 0u);
}

TEST(StateSync, quarantine_is_bounded) {
  World world(2);
  world.base.quarantine_max = 5;
  world.boot(world.node(0));
  const Identity& other = world.node(1).identity;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    static_cast<void>(
        world.at(0).on_broadcast(other.id, batch_of({signed_op(other, i, "far", ~std::uint64_t{0} >> 16)}), world.now));
  }
  EXPECT_EQ(world.at(0).stats().in_quarantine, 5u);
  EXPECT_EQ(world.at(0).stats().of(StateVerdict::kFull), 15u);
  EXPECT_EQ(world.node(0).reports.size(), 2u);
}

// ---- trust ----------------------------------------------------------------------------------------------------------

struct Judged {
  StateVerdict verdict;
  bool error;
};

Judged judge(World& world, const Op& op) {
  StateSync& sync = world.at(0);
  const auto before = sync.stats().verdicts;
  const Status status = sync.on_broadcast(op.dot.origin, batch_of({op}), world.now);
  for (std::size_t i = 0; i < kStateVerdicts; ++i) {
    if (sync.stats().verdicts[i] != before[i]) return {static_cast<StateVerdict>(i), !status};
  }
  return {StateVerdict::kMalformed, true};
}

// A sensor's board may write where the fleet's models are, and cannot put another in their place.
TEST(StateSync, a_model_is_moved_only_by_whoever_was_granted_that_too) {
  World world(2);
  const trust::Grant write{trust::Verb::kWrite, "models/#"};
  const Identity sensor = world.authority.enrol(50, {write});
  const Identity depot = world.authority.enrol(51, {write, {trust::Verb::kModel, "models/nav/+"}});
  for (const Identity* one : {&sensor, &depot}) ASSERT_TRUE(world.node(0).directory.add(one->chain));
  const Buffer tensor = encode_manifest(make_manifest(text("weights")).value());
  const auto written = [&](const Identity& by, std::uint64_t sequence, const std::string& path, const Buffer& value) {
    Op op = signed_op(by, sequence, path, 1);
    op.value = value;
    crdt::sign_op(op, by.key.secret);
    return judge(world, op).verdict;
  };
  EXPECT_EQ(written(sensor, 1, "models/nav/7", tensor), StateVerdict::kForbidden);
  EXPECT_EQ(written(sensor, 1, "models/nav/about", text("a note")), StateVerdict::kMerged);
  EXPECT_EQ(written(depot, 1, "models/arm/7", tensor), StateVerdict::kForbidden);
  EXPECT_EQ(written(depot, 1, "models/nav/7", tensor), StateVerdict::kMerged);
  EXPECT_TRUE(is_manifest(world.at(0).replica().read("models/nav/7")->values.front()));
}

TEST(StateSync, what_is_not_rightly_signed_granted_and_placed_never_merges) {
  World world(2);
  const Identity& good = world.node(1).identity;
  const Identity stranger = world.authority.enrol(50);
  const Identity limited = world.authority.enrol(51, {{trust::Verb::kWrite, "sensors/#"}});
  ASSERT_TRUE(world.node(0).directory.add(limited.chain));

  Op forged = signed_op(good, 1, "a", 1);
  forged.value = text("other");
  EXPECT_EQ(judge(world, forged).verdict, StateVerdict::kForged);
  EXPECT_TRUE(judge(world, forged).error);
  Op borrowed = signed_op(limited, 1, "a", 1);
  borrowed.dot.origin = good.id;
  crdt::sign_op(borrowed, limited.key.secret);
  EXPECT_EQ(judge(world, borrowed).verdict, StateVerdict::kForged);
  EXPECT_EQ(judge(world, signed_op(stranger, 1, "a", 1)).verdict, StateVerdict::kUnknownOrigin);
  EXPECT_EQ(judge(world, signed_op(limited, 1, "a", 1)).verdict, StateVerdict::kForbidden);
  EXPECT_FALSE(judge(world, signed_op(limited, 1, "a", 1)).error);
  EXPECT_EQ(judge(world, signed_op(good, 1, "sys/node/" + limited.id.hex() + "/x", 1)).verdict,
            StateVerdict::kForbidden);
  EXPECT_EQ(judge(world, signed_op(good, 1, "sys/node/" + good.id.hex(), 1)).verdict, StateVerdict::kForbidden);
  EXPECT_EQ(judge(world, signed_op(good, 1, "sys/other", 1)).verdict, StateVerdict::kForbidden);
  EXPECT_EQ(judge(world, signed_op(good, 1, "sys/revoked/" + limited.id.hex(), 1)).verdict, StateVerdict::kForbidden);
  EXPECT_EQ(judge(world, signed_op(world.node(0).identity, 9, "a", 1)).verdict, StateVerdict::kOwn);
  EXPECT_TRUE(world.at(0).replica().living().empty());
  EXPECT_TRUE(world.at(0).vector().rows().empty());

  EXPECT_EQ(judge(world, signed_op(limited, 1, "sensors/a", 1)).verdict, StateVerdict::kMerged);
  EXPECT_EQ(judge(world, signed_op(good, 1, "sys/node/" + good.id.hex() + "/x", 1)).verdict, StateVerdict::kMerged);
  EXPECT_EQ(judge(world, signed_op(good, 1, "sys/node/" + good.id.hex() + "/x", 1)).verdict, StateVerdict::kDuplicate);
  EXPECT_EQ(judge(world, signed_op(good, 1, "equivocated", 1)).verdict, StateVerdict::kConflict);
}

TEST(StateSync, a_refused_write_does_not_keep_the_ones_behind_it_from_coming) {
  World world(2);
  world.base.chunk_bytes = 1024;
  world.boot(world.node(1));
  world.unlink(0, 1);
  std::size_t number = 50;
  while (world.node(1).identity.id < world.authority.enrol(number).id) ++number;
  const Identity stranger = world.authority.enrol(number);  // its writes are sent first: dots are in order of origins
  ASSERT_TRUE(world.node(1).directory.add(stranger.chain));
  for (std::uint64_t i = 1; i <= 50; ++i) {
    ASSERT_TRUE(world.at(1).on_broadcast(stranger.id, batch_of({signed_op(stranger, i, fmt::format("s/{}", i), 1)}),
                                         world.now));
    ASSERT_TRUE(world.at(1).set(fmt::format("n/{}", i), text("x"), world.now));
  }
  world.run(100ms);
  world.node(0).sync->hooks.learn_chain = nullptr;
  world.cut.clear();
  world.link_all(0);
  world.run(300ms);
  EXPECT_EQ(world.at(0).replica().living().size(), 50u);
  EXPECT_FALSE(world.at(0).vector().row(stranger.id));  // refused, so not covered
  ASSERT_TRUE(world.node(0).directory.add(stranger.chain));
  world.at(0).on_directory_changed(world.now);
  world.run(5s);
  EXPECT_TRUE(world.converged());
}

TEST(StateSync, a_cover_leaves_out_what_was_refused) {
  World world(2);
  world.unlink(0, 1);
  const Identity writer = world.authority.enrol(51);
  const Identity limited = world.authority.enrol(51, {{trust::Verb::kWrite, "sensors/#"}});  // as node 0 knows it
  ASSERT_TRUE(world.node(1).directory.add(writer.chain));
  ASSERT_TRUE(world.node(0).directory.add(limited.chain));
  const std::vector<Op> ops = {signed_op(writer, 2, "sensors/a", 1), signed_op(writer, 4, "a", 1),
                               signed_op(writer, 6, "sensors/b", 1)};
  ASSERT_TRUE(world.at(1).on_broadcast(writer.id, batch_of(ops), world.now));
  ASSERT_TRUE(world.at(1).on_broadcast(writer.id, batch_of({signed_op(writer, 1, "sensors/b", 0)}), world.now));
  world.cut.clear();
  world.link_all(0);
  world.run(100ms);
  const auto holds = [&](std::uint64_t sequence) {
    return world.at(0).vector().contains({writer.id, {1}, {sequence}});
  };
  EXPECT_EQ(world.at(0).replica().living().size(), 2u);
  EXPECT_TRUE(holds(1) && holds(2) && holds(6));  // the first was replaced before it could be sent
  EXPECT_FALSE(holds(4));
}

TEST(StateSync, writes_past_a_revocations_cut_are_taken_back_and_what_they_replaced_returns) {
  World world(4);
  const Identity& bad = world.node(3).identity;
  ASSERT_TRUE(world.at(3).set("kept", text("x"), world.now));  // 3/1/1
  ASSERT_TRUE(world.at(0).set("value", text("good"), world.now));
  world.run(3s);
  world.unlink(0, 2);
  world.unlink(1, 2);
  world.unlink(3, 2);
  ASSERT_TRUE(world.at(3).set("value", text("bad"), world.now));  // 3/1/2, which node 2 never sees
  ASSERT_TRUE(world.at(3).set("other", text("bad"), world.now));  // 3/1/3
  world.run(3s);
  EXPECT_EQ(values(world.at(0), "value"), Values(1, text("bad")));
  world.kill(3);

  const trust::Revocation revocation = world.authority.revoke(bad.id, {{1}, {1}});
  const std::string path = std::string(trust::kRevocationPath) + bad.id.hex();
  ASSERT_TRUE(world.at(1).insert(path, trust::encode_revocation(revocation), world.now));
  world.cut.clear();
  for (std::size_t i = 0; i < 3; ++i) world.link_all(i);
  world.run(2s);
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(values(world.at(i), path).size(), 1u);
    ASSERT_TRUE(world.node(i).directory.revoke(trust::decode_revocation(values(world.at(i), path)[0]).value()));
    world.at(i).on_directory_changed(world.now);
  }
  world.run(15s);
  EXPECT_TRUE(world.converged());
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(values(world.at(i), "kept"), Values(1, text("x"))) << i;
    EXPECT_EQ(values(world.at(i), "other"), Values{}) << i;
  }
  EXPECT_EQ(judge(world, signed_op(bad, 4, "late", 1)).verdict, StateVerdict::kPastCut);
  EXPECT_FALSE(world.at(1).remove(path, trust::encode_revocation(revocation), world.now));  // only grows
}

TEST(StateSync, a_write_that_a_peer_covered_falsely_is_still_found) {
  World world(3);
  const Identity& writer = world.node(1).identity;
  // Node 0 is told by node 1 that writes 1..9 are void, while node 2 has number 5 alive.
  ASSERT_TRUE(world.at(2).on_broadcast(
      writer.id, batch_of({signed_op(writer, 5, "five", 1), signed_op(writer, 9, "nine", 1)}), world.now));
  ASSERT_TRUE(world.at(0).on_broadcast(writer.id, batch_of({signed_op(writer, 9, "nine", 1)}), world.now));
  const wire::StateVector brief{{1, 1}, 0, false, false, {}};
  ASSERT_TRUE(world.at(0).on_message(writer.id, wire::MessageType::kStateVector, wire::encode(brief), world.now));
  wire::StateOps lie;
  lie.covers.push_back({writer.id, {1}, {{1}, {1'000'000}}});
  ASSERT_TRUE(world.at(0).on_message(writer.id, wire::MessageType::kStateOps, wire::encode(lie), world.now));
  EXPECT_TRUE(world.at(0).vector().contains({writer.id, {1}, {5}}));
  EXPECT_FALSE(world.at(0).vector().contains({writer.id, {1}, {10}}));
  world.unlink(0, 1);
  world.run(10s);
  EXPECT_TRUE(world.at(0).replica().read("five"));
  EXPECT_GT(world.at(0).stats().sessions + world.at(2).stats().sessions, 0u);
}

TEST(StateSync, covers_that_nobody_asked_for_teach_nothing) {
  World world(2);
  world.unlink(0, 1);
  const Identity& writer = world.node(1).identity;
  ASSERT_TRUE(world.at(0).on_broadcast(writer.id, batch_of({signed_op(writer, 9, "nine", 1)}), world.now));
  wire::StateOps lie;
  lie.covers.push_back({writer.id, {1}, {{1}, {8}}});
  ASSERT_TRUE(world.at(0).on_message(writer.id, wire::MessageType::kStateOps, wire::encode(lie), world.now));
  ASSERT_TRUE(world.at(0).on_broadcast(writer.id, wire::encode(lie), world.now));
  EXPECT_FALSE(world.at(0).vector().contains({writer.id, {1}, {5}}));
}

TEST(StateSync, a_session_that_the_peer_opened_does_not_end_our_pull) {
  World world(2);
  world.unlink(0, 1);
  world.at(0).on_link_up(world.node(1).identity.id, world.now);
  const Identity& writer = world.node(1).identity;
  ASSERT_TRUE(world.at(0).on_broadcast(writer.id, batch_of({signed_op(writer, 9, "nine", 1)}), world.now));
  const wire::StateVector brief{{1, 1}, 0, false, false, {}};
  ASSERT_TRUE(world.at(0).on_message(writer.id, wire::MessageType::kStateVector, wire::encode(brief), world.now));
  wire::StateOps of_session;
  of_session.part = wire::OpsPart::kSessionLast;
  ASSERT_TRUE(world.at(0).on_message(writer.id, wire::MessageType::kStateOps, wire::encode(of_session), world.now));
  wire::StateOps answer;
  answer.covers.push_back({writer.id, {1}, {{1}, {8}}});
  ASSERT_TRUE(world.at(0).on_message(writer.id, wire::MessageType::kStateOps, wire::encode(answer), world.now));
  EXPECT_TRUE(world.at(0).vector().contains({writer.id, {1}, {5}}));
}

TEST(StateSync, any_bytes_from_a_peer_are_an_error_or_an_answer) {
  EXPECT_TRUE(rc::check([](const Buffer& bytes) {
    static World world(2);
    const NodeId peer = world.node(1).identity.id;
    for (const auto type :
         {wire::MessageType::kStateVector, wire::MessageType::kStateOps, wire::MessageType::kStateSketch,
          wire::MessageType::kStateRanges, wire::MessageType::kStateWant, wire::MessageType::kStateStale,
          wire::MessageType::kStateGone, static_cast<wire::MessageType>(34)}) {
      static_cast<void>(world.at(0).on_message(peer, type, bytes, world.now));
    }
    static_cast<void>(world.at(0).on_broadcast(peer, bytes, world.now));
  }));
  World world(2);
  const NodeId peer = world.node(1).identity.id;
  EXPECT_FALSE(world.at(0).on_message(peer, wire::MessageType::kProbe, {}, world.now));
  wire::StateVector crooked{{}, 0, false, true, {{peer, {}, {{{1}, {{{5}, {9}}, {{7}, {8}}}}}}}};
  EXPECT_FALSE(world.at(0).on_message(peer, wire::MessageType::kStateVector, wire::encode(crooked), world.now));
  crooked.rows[0].epochs[0].spans = {{{0}, {9}}};
  EXPECT_FALSE(world.at(0).on_message(peer, wire::MessageType::kStateVector, wire::encode(crooked), world.now));
}

TEST(StateRows, come_back_from_the_wire) {
  EXPECT_TRUE(rc::check([](const std::vector<std::tuple<std::uint8_t, std::uint8_t, std::uint8_t>>& dots) {
    crdt::VersionVector vector;
    for (const auto& [origin, epoch, sequence] : dots) {
      Dot dot{{}, {epoch}, {sequence + std::uint64_t{1}}};
      dot.origin.bytes[3] = origin;
      vector.add(dot);
    }
    std::vector<wire::StateRow> rows;
    for (const auto& [origin, row] : vector.rows()) rows.push_back(to_wire(origin, row));
    const auto again = vector_from_wire(rows).value();
    RC_ASSERT(vector.minus(again, 10).empty() && again.minus(vector, 10).empty());
  }));
}

// ---- what vectors cannot tell apart ---------------------------------------------------------------------------------

// Two nodes of which one holds `count` writes of its own that the other counts as dealt with.
void hide(World& world, std::size_t count) {
  world.unlink(0, 1);
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_TRUE(world.at(1).set(fmt::format("entry/{}", i), text("x"), world.now));
    if (i % 1000 == 999) world.run(20ms);
  }
  world.run(100ms);
  for (const auto& [key, value] : world.node(1).disk) {
    if (key.first == kStateVectorBucket) world.node(0).disk[key] = value;
  }
  world.kill(0);
  world.boot(world.node(0));
  ASSERT_TRUE(world.at(0).replica().living().empty());
  world.cut.clear();
  world.link_all(0);
}

TEST(StateSync, sessions_find_what_vectors_hide_be_it_little_or_much) {
  for (const std::size_t count : {1u, 30u, 400u, 5000u}) {
    World world(2);
    hide(world, count);
    world.run(8s);
    EXPECT_TRUE(world.converged()) << count;
    EXPECT_EQ(world.at(0).replica().living().size(), count);
    EXPECT_LE(world.at(0).stats().sessions + world.at(1).stats().sessions, 4 + count / 400) << count;
  }
}

TEST(StateSync, a_lasting_difference_is_not_compared_all_the_time) {
  World world(2);
  world.unlink(0, 1);
  const Identity stranger = world.authority.enrol(50);  // whom node 0 never gets to know
  ASSERT_TRUE(world.node(1).directory.add(stranger.chain));
  ASSERT_TRUE(world.at(1).on_broadcast(stranger.id, batch_of({signed_op(stranger, 1, "a", 1)}), world.now));
  world.node(0).sync->hooks.learn_chain = nullptr;
  world.cut.clear();
  world.link_all(0);
  world.run(60s);
  EXPECT_FALSE(world.converged());
  EXPECT_GT(world.at(0).stats().sessions, 1u);
  EXPECT_LE(world.at(0).stats().sessions + world.at(1).stats().sessions, 14u);  // after 2, 4, 8, 16, 16 ... seconds
  ASSERT_TRUE(world.node(0).directory.add(stranger.chain));
  world.at(0).on_directory_changed(world.now);
  world.run(3s);
  EXPECT_TRUE(world.converged());
}

TEST(StateSync, what_a_forged_digest_hides_is_found_by_a_spot_check) {
  World world(2);
  world.unlink(0, 1);
  const Identity liar = world.authority.enrol(50);
  for (std::size_t i = 0; i < 2; ++i) ASSERT_TRUE(world.node(i).directory.add(liar.chain));
  const Op shown = signed_op(liar, 1, "a", 1);
  ASSERT_TRUE(world.at(0).on_broadcast(liar.id, batch_of({shown}), world.now));
  // As after a lucky forgery: another write, and the digest does not tell. A disk is not asked for signatures.
  Op hidden = shown;
  hidden.value = text("lie");
  hidden.signature.bytes.fill(0);
  std::copy_n(shown.signature.bytes.begin() + 32, 16, hidden.signature.bytes.begin() + 32);
  Buffer key = to_buffer(liar.id.view());
  key.insert(key.end(), {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1});
  world.node(1).disk[{std::string(kStateOpBucket), key}] = crdt::encode_op(hidden);
  world.kill(1);
  world.boot(world.node(1));
  world.cut.clear();
  world.link_all(0);
  world.run(2s);
  ASSERT_TRUE(world.converged());
  ASSERT_EQ(values(world.at(1), "a"), Values(1, text("lie")));
  world.run(90s);
  EXPECT_EQ(values(world.at(1), "a"), Values(1, text("x")));
  EXPECT_GT(world.at(0).stats().spot_checks + world.at(1).stats().spot_checks, 0u);
}

TEST(StateSync, who_has_nothing_new_tells_of_itself_every_fourth_round) {
  World world(2);
  for (auto& node : world.nodes) {
    ASSERT_TRUE(node->sync->set("a", text("1"), world.now));
  }
  world.run(20s);
  const auto frames_of = [&world](Duration time) {
    const std::uint64_t before = world.frames;
    world.run(time);
    return world.frames - before;
  };
  EXPECT_NEAR(static_cast<double>(frames_of(40s)), 2 * 40 / 4, 8) << "briefs, and a spot check's messages";
  ASSERT_TRUE(world.at(0).set("a", text("2"), world.now));
  EXPECT_GE(frames_of(5s), 6u);
}

}  // namespace
}  // namespace sedge::mesh
