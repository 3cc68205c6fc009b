// A Kalman filter in information form, for measurements that many robots make of one target.
//
// Problem: a filter that is to use the measurements of all robots would have to be told each of them, with how it was
// made and how exact it is; and be told by robots that come and go.
//
// Idea: what a measurement z = h·x + noise of variance r tells of the state x is a matrix h h'/r and a vector h z/r,
// its information. Information of independent measurements adds up, in any order and whoever made them, and a filter
// corrected by the sum is the filter corrected by each. So robots share two sums, which are a mean times a count: what
// averaging by gossip gives, with nobody who collects anything.
//
// Sources: the information filter is Kalman's (1960) written for inverse covariances; that averages of information are
// enough for a filter at each node: Olfati-Saber 2005, "Distributed Kalman Filter with Embedded Consensus Filters", and
// Spanos, Olfati-Saber, Murray 2005. Rejected: that robots pull each other's estimates together (Olfati-Saber 2007, the
// Kalman-consensus filter): it needs no count, but comes near the central filter only by many small steps.
//
// Shapes: a state is [x y vx vy], in m and m/s; matrices are 4 by 4, row by row.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <optional>

namespace kalman {

constexpr std::size_t kStates = 4;
using Vector = std::array<double, kStates>;
using Matrix = std::array<Vector, kStates>;

struct Estimate {
  Vector mean{};
  Matrix covariance{};
};

struct Information {
  Matrix matrix{};
  Vector vector{};
};

// How the state goes on: x' = step x + noise of that covariance.
struct Motion {
  Matrix step{};
  Matrix noise{};
};

inline Vector operator+(Vector a, const Vector& b) {
  for (std::size_t i = 0; i < kStates; ++i) a[i] += b[i];
  return a;
}

inline Matrix operator+(Matrix a, const Matrix& b) {
  for (std::size_t i = 0; i < kStates; ++i) a[i] = a[i] + b[i];
  return a;
}

inline Information operator+(const Information& a, const Information& b) {
  return {a.matrix + b.matrix, a.vector + b.vector};
}

inline double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < kStates; ++i) sum += a[i] * b[i];
  return sum;
}

inline Vector operator*(const Matrix& a, const Vector& b) {
  Vector out{};
  for (std::size_t i = 0; i < kStates; ++i) out[i] = dot(a[i], b);
  return out;
}

inline Matrix transposed(const Matrix& a) {
  Matrix out{};
  for (std::size_t i = 0; i < kStates; ++i) {
    for (std::size_t j = 0; j < kStates; ++j) out[i][j] = a[j][i];
  }
  return out;
}

inline Matrix operator*(const Matrix& a, const Matrix& b) {
  const Matrix columns = transposed(b);
  Matrix out{};
  for (std::size_t i = 0; i < kStates; ++i) out[i] = columns * a[i];
  return out;
}

// Of a symmetric matrix; none: it is not positive definite, or holds what is no number. Gauss-Jordan: the pivots of a
// positive definite matrix are positive, so rows need not change places.
inline std::optional<Matrix> inverse(Matrix a) {
  for (std::size_t k = 0; k < kStates; ++k) {
    const double pivot = a[k][k];
    if (!(pivot > 0) || !std::isfinite(pivot)) return std::nullopt;
    a[k][k] = 1;
    for (double& each : a[k]) each /= pivot;
    for (std::size_t i = 0; i < kStates; ++i) {
      if (i == k) continue;
      const double factor = a[i][k];
      a[i][k] = 0;
      for (std::size_t j = 0; j < kStates; ++j) a[i][j] -= factor * a[k][j];
    }
  }
  return a;
}

// Constant velocity but for a white acceleration of intensity q, in m²/s³, over dt seconds.
inline Motion motion(double dt, double q) {
  Motion out;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::size_t place = axis, speed = axis + 2;
    out.step[place][place] = out.step[speed][speed] = 1;
    out.step[place][speed] = dt;
    out.noise[place][place] = q * dt * dt * dt / 3;
    out.noise[place][speed] = out.noise[speed][place] = q * dt * dt / 2;
    out.noise[speed][speed] = q * dt;
  }
  return out;
}

inline Estimate predict(const Estimate& before, const Motion& by) {
  return {by.step * before.mean, by.step * before.covariance * transposed(by.step) + by.noise};
}

// Of one measurement z = h·x, whose noise has the variance r.
inline Information information_of(const Vector& h, double z, double r) {
  Information out;
  for (std::size_t i = 0; i < kStates; ++i) {
    for (std::size_t j = 0; j < kStates; ++j) out.matrix[i][j] = h[i] * h[j] / r;
    out.vector[i] = h[i] * z / r;
  }
  return out;
}

// None: the information is none that measurements could give, such as a negative one; keep the estimate.
inline std::optional<Estimate> correct(const Estimate& before, const Information& by) {
  const std::optional<Matrix> known = inverse(before.covariance);
  if (!known) return std::nullopt;
  const std::optional<Matrix> covariance = inverse(*known + by.matrix);
  if (!covariance) return std::nullopt;
  const Vector mean = *covariance * (*known * before.mean + by.vector);
  for (const double each : mean) {
    if (!std::isfinite(each)) return std::nullopt;
  }
  return Estimate{mean, *covariance};
}

}  // namespace kalman
