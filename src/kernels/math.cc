#include "kernels/math.h"

#include <bit>
#include <cmath>

namespace sedge::kernels {
namespace {

constexpr double kLn2 = 0x1.62e42fefa39efp-1;
constexpr double kLn2Hi = 0x1.62e42fee00000p-1, kLn2Lo = 0x1.a39ef35793c76p-33;
constexpr double kHalfPiHi = 0x1.921fb54400000p+0, kHalfPiMid = 0x1.0b4611a600000p-34,
                 kHalfPiLo = 0x1.3198a2e037073p-69;

double exp_f64(double x) {
  const double n = std::nearbyint(x / kLn2);
  const double r = std::fma(-n, kLn2Lo, std::fma(-n, kLn2Hi, x));
  double sum = 1.0;
  for (int k = 16; k > 0; --k) sum = std::fma(sum, r / k, 1.0);
  return std::ldexp(sum, static_cast<int>(n));
}

// Taylor series in r², |r| <= pi/4: the ninth term is below 1e-17.
double sin_series(double r) {
  const double square = r * r;
  double sum = 1.0;
  for (int k = 18; k > 0; k -= 2) sum = std::fma(-sum, square / (k * (k + 1)), 1.0);
  return r * sum;
}
double cos_series(double r) {
  const double square = r * r;
  double sum = 1.0;
  for (int k = 17; k > 0; k -= 2) sum = std::fma(-sum, square / (k * (k + 1)), 1.0);
  return sum;
}

}  // namespace

float exp_f32(float x) {
  x = x > kExpMin ? x : kExpMin;
  x = x < kExpMax ? x : kExpMax;
  const float shifted = std::fma(x, kLog2E, kRoundMagic);
  const float n = shifted - kRoundMagic;
  const float r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, x));
  float p = kExpPolynomial[0];
  for (int i = 1; i < 8; ++i) p = std::fma(p, r, kExpPolynomial[i]);
  return p * std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) << 23) + 0x3f800000u);
}

// x = m · 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh((m - 1) / (m + 1)).
double log_f64(double x) {
  int e = 0;
  double m = std::frexp(x, &e);
  if (m < 0x1.6a09e667f3bcdp-1) {
    m *= 2;
    --e;
  }
  const double z = (m - 1) / (m + 1), square = z * z;
  double sum = 0.0;
  for (int k = 25; k > 0; k -= 2) sum = std::fma(sum, square, 1.0 / k);
  return std::fma(static_cast<double>(e), kLn2, 2 * z * sum);
}

double pow_f64(double base, double exponent) { return exp_f64(exponent * log_f64(base)); }

SinCos sin_cos(double x) {
  if (!(std::fabs(x) < 1e12)) return {0.0, 1.0};  // no position of ours; keeps the cast below defined
  const double n = std::nearbyint(x / (kHalfPiHi + kHalfPiMid));
  const double r = std::fma(-n, kHalfPiLo, std::fma(-n, kHalfPiMid, std::fma(-n, kHalfPiHi, x)));
  const double s = sin_series(r), c = cos_series(r);
  switch (static_cast<std::int64_t>(n) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

}  // namespace sedge::kernels
