#include "model/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/math.h"

namespace sedge::model {
namespace {

// The pair that turns `turns` times within the original context, as a real number.
double pair_of(double turns, const RopeScaling& scaling, std::size_t rope_dim, float base) {
  const double wave = static_cast<double>(scaling.original_context) / (turns * 2 * std::numbers::pi);
  return static_cast<double>(rope_dim) * kernels::log_f64(wave) / (2 * kernels::log_f64(static_cast<double>(base)));
}

}  // namespace

std::vector<float> scaling_factors(const RopeScaling& scaling, std::size_t rope_dim, float base) {
  if (scaling.kind == RopeScaling::Kind::kLinear) return std::vector<float>(rope_dim / 2, scaling.factor);
  if (scaling.kind != RopeScaling::Kind::kYarn) return {};
  const auto last = static_cast<double>(rope_dim - 1);
  const double low =
      std::max(0.0, std::floor(pair_of(static_cast<double>(scaling.beta_fast), scaling, rope_dim, base)));
  const double high =
      std::min(last, std::ceil(pair_of(static_cast<double>(scaling.beta_slow), scaling, rope_dim, base)));
  std::vector<float> factors;
  for (std::size_t i = 0; i < rope_dim / 2; ++i) {
    const double kept = 1 - std::clamp((static_cast<double>(i) - low) / std::max(0.001, high - low), 0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - kept) / static_cast<double>(scaling.factor) + kept)));
  }
  return factors;
}

std::vector<float> llama3_factors(const Llama3Scaling& scaling, std::size_t rope_dim, float base) {
  const auto context = static_cast<double>(scaling.original_context), low = static_cast<double>(scaling.low);
  std::vector<float> factors;
  for (std::size_t i = 0; i < rope_dim / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(rope_dim);
    const double wavelength = 2 * std::numbers::pi * std::pow(static_cast<double>(base), exponent);
    const double blend = std::clamp((context / wavelength - low) / (static_cast<double>(scaling.high) - low), 0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - blend) / static_cast<double>(scaling.factor) + blend)));
  }
  return factors;
}

double scaling_magnitude(const RopeScaling& scaling) {
  const auto own = static_cast<double>(scaling.magnitude);
  const bool sharpened = scaling.kind == RopeScaling::Kind::kYarn && scaling.factor > 1;
  return sharpened ? own * (1 + 0.1 * kernels::log_f64(static_cast<double>(scaling.factor))) : own;
}

}  // namespace sedge::model
