// The filter's arithmetic against the form that everybody knows, with a gain and a covariance.
#include "kalman.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace kalman {
namespace {

struct Measurement {
  Vector h{};
  double z = 0;
  double r = 1;
};

double number(int low, int high) { return *rc::gen::inRange(low * 100, high * 100) / 100.0; }

Measurement any_measurement() {
  Measurement out{.z = number(-50, 50), .r = number(1, 20)};
  for (double& each : out.h) each = number(-2, 2);
  return out;
}

// A covariance is L L' of a lower triangle; with this diagonal it is far from singular.
Estimate any_estimate() {
  Matrix triangle{};
  Estimate out;
  for (std::size_t i = 0; i < kStates; ++i) {
    for (std::size_t j = 0; j < i; ++j) triangle[i][j] = number(-2, 2);
    triangle[i][i] = number(1, 5);
    out.mean[i] = number(-50, 50);
  }
  out.covariance = triangle * transposed(triangle);
  return out;
}

// Kalman's own: the gain is how far the state follows what was measured.
Estimate by_gain(const Estimate& before, const Measurement& by) {
  const Vector ph = before.covariance * by.h;
  const double variance = dot(by.h, ph) + by.r;
  Estimate out = before;
  for (std::size_t i = 0; i < kStates; ++i) {
    out.mean[i] += ph[i] / variance * (by.z - dot(by.h, before.mean));
    for (std::size_t j = 0; j < kStates; ++j) out.covariance[i][j] -= ph[i] * ph[j] / variance;
  }
  return out;
}

Information told_by(const Measurement& by) { return information_of(by.h, by.z, by.r); }

bool near(const Matrix& a, const Matrix& b, double tolerance) {
  for (std::size_t i = 0; i < kStates; ++i) {
    for (std::size_t j = 0; j < kStates; ++j) {
      if (!(std::abs(a[i][j] - b[i][j]) <= tolerance)) return false;
    }
  }
  return true;
}

bool near(const Estimate& a, const Estimate& b, double tolerance) {
  for (std::size_t i = 0; i < kStates; ++i) {
    if (!(std::abs(a.mean[i] - b.mean[i]) <= tolerance)) return false;
  }
  return near(a.covariance, b.covariance, tolerance);
}

RC_GTEST_PROP(Kalman, information_says_what_a_gain_says, ()) {
  const Estimate before = any_estimate();
  const Measurement by = any_measurement();
  const auto corrected = correct(before, told_by(by));
  RC_ASSERT(corrected.has_value());
  RC_ASSERT(near(*corrected, by_gain(before, by), 1e-6));
}

RC_GTEST_PROP(Kalman, robots_that_share_a_mean_know_what_one_robot_with_all_measurements_knows, ()) {
  const Estimate before = any_estimate();
  const auto robots = *rc::gen::inRange<std::size_t>(1, 9);
  Estimate one = before;
  Information mean;
  for (std::size_t i = 0; i < robots; ++i) {
    const Measurement by = any_measurement();
    one = by_gain(one, by);
    const auto n = static_cast<double>(robots);
    mean = mean + information_of(by.h, by.z, by.r * n);  // an n-th of it
  }
  Information sum;
  for (std::size_t i = 0; i < robots; ++i) sum = sum + mean;
  const auto together = correct(before, sum);
  RC_ASSERT(together.has_value());
  RC_ASSERT(near(*together, one, 1e-6));
}

RC_GTEST_PROP(Kalman, two_short_predictions_are_one_long_one, ()) {
  const Estimate before = any_estimate();
  const double first = number(1, 4), second = number(1, 4), q = number(0, 3);
  const Estimate twice = predict(predict(before, motion(first, q)), motion(second, q));
  RC_ASSERT(near(twice, predict(before, motion(first + second, q)), 1e-6));
}

TEST(Kalman, a_covariance_stays_symmetric_and_settles) {
  Estimate estimate{.mean = {}, .covariance = {{{900, 0, 0, 0}, {0, 900, 0, 0}, {0, 0, 4, 0}, {0, 0, 0, 4}}}};
  const Information seen = information_of({1, 0, 0, 0}, 3, 4) + information_of({0.6, 0.8, 0, 0}, 5, 9);
  Estimate last;
  for (int step = 0; step < 1000; ++step) {
    last = estimate;
    const auto corrected = correct(predict(estimate, motion(2, 0.05)), seen);
    ASSERT_TRUE(corrected.has_value());
    estimate = *corrected;
    ASSERT_TRUE(near(estimate.covariance, transposed(estimate.covariance), 1e-9)) << step;
  }
  EXPECT_TRUE(near(last, estimate, 1e-9));
  EXPECT_NEAR(estimate.mean[0], 3, 1e-6) << "the target stands at 3, 4, and both measurements say so";
  EXPECT_NEAR(estimate.mean[1], 4, 1e-6);
}

TEST(Kalman, information_that_no_measurement_could_give_corrects_nothing) {
  const Estimate before{.mean = {}, .covariance = {{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}}};
  Information negative;
  negative.matrix[1][1] = -2;
  EXPECT_FALSE(correct(before, negative));
  Information no_number = information_of({1, 0, 0, 0}, 1, 1);
  no_number.vector[0] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(correct(before, no_number));
  no_number.vector[0] = 1;
  no_number.matrix[0][1] = no_number.matrix[1][0] = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(correct(before, no_number));
  Information endless;
  endless.matrix[3][3] = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(correct(before, endless));
  EXPECT_FALSE(correct(Estimate{}, information_of({1, 0, 0, 0}, 1, 1))) << "a covariance of nothing";
}

}  // namespace
}  // namespace kalman
