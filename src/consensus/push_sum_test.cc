// Averaging keeps its mass whatever is lost; and what it is for: one estimate shared by all, a distributed Kalman
// filter.
#include "consensus/push_sum.h"

#include <cmath>
#include <deque>
#include <limits>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/prng.h"
#include "consensus/testing/network.h"

namespace sedge::consensus {
namespace {

using testing::node_id;

// Nodes that give to one of their neighbours on a ring with a few chords, over a network that loses, doubles and
// reorders.
struct Swarm {
  std::vector<PushSum> nodes;
  Prng prng;
  double loss;
  struct Message {
    std::size_t from, to;
    PushSum::Share share;
  };
  std::deque<Message> air;

  Swarm(const std::vector<std::vector<double>>& values, double loss_, std::uint64_t seed) : prng(seed), loss(loss_) {
    for (const auto& each : values) nodes.emplace_back(each, 1.0);
  }
  void turn() {
    const std::size_t count = nodes.size();
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t steps[] = {1, count - 1, count / 2};
      const std::size_t to = (i + steps[prng.below(3)]) % count;
      if (to == i) continue;
      Message message{i, to, nodes[i].give(node_id(to))};
      if (prng.chance(loss)) continue;
      if (prng.chance(0.1)) air.push_back(message);
      air.push_back(std::move(message));
    }
    while (air.size() > count / 2) {
      const std::size_t which = prng.below(air.size());
      const Message message = air[which];
      air.erase(air.begin() + static_cast<std::ptrdiff_t>(which));
      EXPECT_TRUE(nodes[message.to].take(node_id(message.from), message.share));
    }
  }
  // What all hold, and what is given and not yet taken.
  double mass(std::size_t of) const {
    double sum = 0;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      sum += nodes[i].sums()[of];
      for (const auto& [to, total] : nodes[i].given()) {
        const auto& there = nodes[to.bytes[0] - std::size_t{1}].taken();
        const auto taken = there.find(node_id(i));
        sum += total.sums[of] - (taken == there.end() ? 0.0 : taken->second.sums[of]);
      }
    }
    return sum;
  }
};

RC_GTEST_PROP(PushSum, keeps_its_mass_whatever_is_lost, ()) {
  const auto count = *rc::gen::inRange<std::size_t>(2, 12);
  const auto loss = *rc::gen::inRange(0, 95) / 100.0;
  std::vector<std::vector<double>> values;
  double whole = 0;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back({static_cast<double>(*rc::gen::inRange(-1000, 1000))});
    whole += values.back()[0];
  }
  Swarm swarm(values, loss, *rc::gen::arbitrary<std::uint64_t>());
  for (int turn = 0; turn < 60; ++turn) {
    swarm.turn();
    RC_ASSERT(std::abs(swarm.mass(0) - whole) < 1e-6);
  }
}

TEST(PushSum, finds_the_average_with_a_third_of_all_messages_lost) {
  std::vector<std::vector<double>> values;
  for (int i = 0; i < 20; ++i) values.push_back({static_cast<double>(i), 100.0 - i});
  Swarm swarm(values, 0.33, 1);
  for (int turn = 0; turn < 400; ++turn) swarm.turn();
  for (const PushSum& node : swarm.nodes) {
    EXPECT_NEAR(node.estimate()[0], 9.5, 1e-3);
    EXPECT_NEAR(node.estimate()[1], 90.5, 1e-3);
  }
}

RC_GTEST_PROP(PushSum, the_dead_take_nothing_with_them_and_who_is_wrongly_forgotten_loses_nothing, ()) {
  const auto count = *rc::gen::inRange<std::size_t>(3, 10);
  std::vector<std::vector<double>> values;
  double whole = 0;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back({static_cast<double>(*rc::gen::inRange(-1000, 1000))});
    whole += values.back()[0];
  }
  Swarm swarm(values, 0.2, *rc::gen::arbitrary<std::uint64_t>());
  const std::size_t dead = *rc::gen::inRange<std::size_t>(0, count);
  for (int turn = 0; turn < 40; ++turn) {
    swarm.turn();
    if (swarm.prng.chance(0.2)) {  // one side alone takes the other for dead, while messages are on their way
      swarm.nodes[swarm.prng.below(count)].forget(node_id(swarm.prng.below(count)));
    }
  }
  std::erase_if(swarm.air, [&](const auto& each) { return each.from == dead || each.to == dead; });
  for (PushSum& node : swarm.nodes) node.forget(node_id(dead));
  // What every pair has given and not yet seen taken arrives.
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < count; ++j) {
      if (i == j || i == dead || j == dead) continue;
      RC_ASSERT(bool(swarm.nodes[j].take(node_id(i), swarm.nodes[i].give(node_id(j)))));
    }
  }
  double left = 0;
  for (std::size_t i = 0; i < count; ++i) left += i == dead ? 0 : swarm.nodes[i].sums()[0];
  RC_ASSERT(std::abs(left - (whole - values[dead][0])) < 1e-6);
}

TEST(PushSum, shares_of_a_former_session_are_not_taken) {
  PushSum giver({8}, 1, 5), taker({0}, 1);
  const PushSum::Share old = giver.give(node_id(1));
  ASSERT_TRUE(taker.take(node_id(0), old));
  giver.forget(node_id(1));
  EXPECT_EQ(giver.sums()[0], 8);
  const PushSum::Share next = giver.give(node_id(1));
  EXPECT_GT(next.session, old.session);
  ASSERT_TRUE(taker.take(node_id(0), next));
  ASSERT_TRUE(taker.take(node_id(0), old));
  EXPECT_EQ(taker.sums()[0] + giver.sums()[0], 8);
}

TEST(PushSum, takes_no_share_that_does_not_fit) {
  PushSum node({1, 2}, 1);
  EXPECT_FALSE(node.take(node_id(1), {1, {1}, 1}));
  EXPECT_FALSE(node.take(node_id(1), {1, {1, std::numeric_limits<double>::infinity()}, 1}));
  EXPECT_FALSE(node.take(node_id(1), {1, {1, 2}, std::nan("")}));
  PushSum full({1e308, 2}, 1);
  EXPECT_TRUE(full.take(node_id(1), {1, {1e308, 2}, 1})) << "each is a number, and their sum is none: nobody lied";
  EXPECT_EQ(full.sums(), (std::vector<double>{1e308, 2}));
  EXPECT_EQ(node.estimate(), (std::vector<double>{1, 2}));
}

// A Kalman filter in information form of one coordinate of a moving thing (position, velocity): a sensor adds H'z/r to
// the information vector and H'H/r to the matrix, so that of many sensors only two sums are needed. Each node has those
// two averaged by push-sum, times how many they are (Olfati-Saber 2007).
struct Filter {
  double x = 0, v = 0;             // the estimate
  double a = 1e4, b = 0, c = 1e4;  // its covariance [a b; b c]

  void predict(double dt, double q) {
    x += v * dt;
    a += 2 * dt * b + dt * dt * c + q * dt * dt * dt / 3;
    b += dt * c + q * dt * dt / 2;
    c += q * dt;
  }
  // The position was measured: `zr` is the sum of z/r over the sensors, `ir` of 1/r.
  void correct(double zr, double ir) {
    if (!(ir > 0)) return;
    const double gain = 1 / (a + 1 / ir);
    const double miss = zr / ir - x;
    x += a * gain * miss;
    v += b * gain * miss;
    const double a0 = a, b0 = b;
    a -= a0 * a0 * gain;
    b -= a0 * b0 * gain;
    c -= b0 * b0 * gain;
  }
};

TEST(Kalman, twelve_robots_track_together_nearly_as_well_as_one_that_sees_all) {
  constexpr std::size_t kRobots = 12;
  constexpr int kSteps = 200, kTurns = 25;  // turns of averaging between two measurements
  constexpr double kDt = 0.1, kQ = 0.05;
  Prng prng(3);
  const auto normal = [&] {  // Irwin-Hall: near enough for noise
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += prng.uniform();
    return sum;
  };
  Filter central;
  std::vector<Filter> robots(kRobots), alone(kRobots);
  double truth = 0, speed = 1;
  double central_error = 0, shared_error = 0, alone_error = 0;
  for (int step = 0; step < kSteps; ++step) {
    speed += normal() * std::sqrt(kQ * kDt);
    truth += speed * kDt;
    std::vector<std::vector<double>> information;
    double zr = 0, ir = 0;
    for (std::size_t i = 0; i < kRobots; ++i) {
      const double r = 0.5 + 0.5 * static_cast<double>(i);  // the first see well, the last hardly
      const double z = truth + normal() * std::sqrt(r);
      information.push_back({z / r, 1 / r});
      zr += z / r;
      ir += 1 / r;
    }
    Swarm swarm(information, 0.2, prng.next());
    for (int turn = 0; turn < kTurns; ++turn) swarm.turn();
    central.predict(kDt, kQ);
    central.correct(zr, ir);
    for (std::size_t i = 0; i < kRobots; ++i) {
      const std::vector<double> average = swarm.nodes[i].estimate();
      robots[i].predict(kDt, kQ);
      robots[i].correct(average[0] * kRobots, average[1] * kRobots);
      alone[i].predict(kDt, kQ);
      alone[i].correct(information[i][0], information[i][1]);
      if (step < 20) continue;  // while they find it
      shared_error += (robots[i].x - truth) * (robots[i].x - truth);
      alone_error += (alone[i].x - truth) * (alone[i].x - truth);
    }
    if (step >= 20) central_error += (central.x - truth) * (central.x - truth);
  }
  const double central_rms = std::sqrt(central_error / (kSteps - 20));
  const double shared_rms = std::sqrt(shared_error / (kSteps - 20) / kRobots);
  const double alone_rms = std::sqrt(alone_error / (kSteps - 20) / kRobots);
  fmt::print("error of the position: one that sees all {:.4f}, together {:.4f}, each alone {:.4f}\n", central_rms,
             shared_rms, alone_rms);
  EXPECT_LT(shared_rms, 1.1 * central_rms);
  EXPECT_LT(shared_rms, 0.7 * alone_rms);
}

}  // namespace
}  // namespace sedge::consensus
