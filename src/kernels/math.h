// Elementary functions of our own, because those of two C libraries differ in the last bit and a text may hang on it.
// Each is a fixed sequence of correctly rounded operations, so the same bits come out everywhere; the vector files
// repeat exp_f32's sequence lane by lane with the constants below.
// Source: Cody & Waite 1980 (range reduction); Taylor coefficients; docs/formats/numeric_class.md §4.
#pragma once

#include <cstdint>

namespace sedge::kernels {

inline constexpr float kExpMin = -87.0f, kExpMax = 88.0f;  // arguments are clamped here: 1.6e-38 to 1.7e38
inline constexpr float kLog2E = 0x1.715476p+0f;
inline constexpr float kLn2High = 0x1.62e4p-1f;  // 15 bits: n · kLn2High is exact
inline constexpr float kLn2Low = 0x1.7f7d1cp-20f;
inline constexpr float kRoundMagic = 0x1.8p+23f;  // adding it leaves the nearest integer in the low bits
inline constexpr float kExpPolynomial[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};

// GELU with tanh is x · sigmoid(x · (kGelu1 + kGelu3 · x²)), since (1 + tanh(u)) / 2 = sigmoid(2u).
inline constexpr float kGelu1 = 0x1.988454p+0f;  // 2 · sqrt(2 / pi)
inline constexpr float kGelu3 = 0x1.2444f2p-4f;  // kGelu1 · 0.044715

// e^x, relative error below 2e-7; arguments outside [kExpMin, kExpMax] (and NaN) are clamped.
float exp_f32(float x);

// Natural logarithm, relative error below 1e-15. Requires: x > 0, normal.
double log_f64(double x);

// base^exponent. Requires: base > 0, |exponent · ln base| < 700.
double pow_f64(double base, double exponent);

// Sine and cosine, absolute error below 1e-10 for |x| < 1e7 (angles of positions, in radians).
struct SinCos {
  double sin, cos;
};
SinCos sin_cos(double x);

}  // namespace sedge::kernels
