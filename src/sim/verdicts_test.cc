#include "sim/verdicts.h"

#include <gtest/gtest.h>

namespace sedge::sim {
namespace {

using namespace std::chrono_literals;

class Judged : public testing::Test {
 protected:
  Judged() {
    for (std::size_t i = 0; i < world_.size(); ++i) {
      EXPECT_TRUE(world_.boot(i));
      verdicts_.booted(i, world_.now());
    }
    EXPECT_TRUE(world_.run_until([this] { return world_.one_view(); }, 10s));
    world_.run(15s);
  }

  void part(const std::set<std::size_t>& side) {
    world_.partition(side);
    verdicts_.parted(world_);
  }
  void heal() {
    world_.heal();
    verdicts_.parted(world_);
  }

  World world_{{.nodes = 5}};
  Verdicts verdicts_{5};
};

TEST_F(Judged, a_side_is_who_hears_each_other_by_whatever_way) {
  using Sides = std::vector<std::optional<std::size_t>>;
  EXPECT_EQ(sides(world_), Sides({0, 0, 0, 0, 0}));
  world_.cut(0, 1);
  EXPECT_EQ(sides(world_), Sides({0, 0, 0, 0, 0})) << "by way of the others";
  world_.partition({0, 3});
  EXPECT_EQ(sides(world_), Sides({0, 1, 1, 0, 1}));
  world_.cut(3, 0);
  EXPECT_EQ(sides(world_), Sides({0, 1, 1, 3, 1})) << "one deaf ear parts two";
  world_.heal();
  world_.cut(0, 1);
  world_.cut(0, 3);
  world_.cut(0, 4);
  EXPECT_EQ(sides(world_), Sides({0, 0, 0, 0, 0}));
  world_.kill(2);
  EXPECT_EQ(sides(world_), Sides({0, 1, std::nullopt, 1, 1})) << "the dead pass nothing on";
}

TEST_F(Judged, who_is_cut_off_may_be_called_dead_and_its_verdicts_may_travel_after) {
  part({0});
  world_.run(10s);
  EXPECT_GE(world_.deaths().size(), 8U);
  heal();
  world_.run(10s);
  EXPECT_EQ(verdicts_.judge(world_).mistaken, 0U);
}

// Not told to the judge, the stall is a fault of whoever calls the stalled one dead.
TEST_F(Judged, who_runs_on_ones_own_side_may_not_whatever_is_cut_elsewhere) {
  part({0});
  world_.run(10s);
  world_.stall(3, 5s);
  world_.run(10s);
  const Judgement judgement = verdicts_.judge(world_);
  EXPECT_GE(judgement.mistaken, 2U);
  ASSERT_FALSE(judgement.examples.empty());
  EXPECT_NE(judgement.examples.front().find("called node-3 dead"), std::string::npos) << judgement.examples.front();
}

TEST_F(Judged, a_crash_is_noticed_by_all_who_ran_and_heard_the_dead) {
  world_.kill(4);
  verdicts_.ended(4, world_.now());
  world_.run(15s);
  Judgement judgement = verdicts_.judge(world_);
  EXPECT_EQ(judgement.unnoticed, 0U);
  EXPECT_TRUE(judgement.detection.ms(1).has_value());
  verdicts_.ended(3, world_.now());  // and goes on, so that nobody sees a crash
  world_.run(15s);
  judgement = verdicts_.judge(world_);
  EXPECT_EQ(judgement.unnoticed, 3U);
  EXPECT_EQ(judgement.mistaken, 0U);
}

TEST_F(Judged, a_crash_on_the_other_side_need_not_be_noticed) {
  part({0, 1});
  world_.run(5s);
  world_.kill(4);
  verdicts_.ended(4, world_.now());
  world_.run(15s);
  EXPECT_EQ(verdicts_.judge(world_).unnoticed, 0U);
}

TEST_F(Judged, where_radios_say_who_hears_whom_nobody_is_judged) {
  verdicts_.look_away(world_.now());
  world_.stall(3, 5s);
  world_.run(10s);
  EXPECT_GE(world_.deaths().size(), 4U);
  EXPECT_EQ(verdicts_.judge(world_).mistaken, 0U);
}

}  // namespace
}  // namespace sedge::sim
