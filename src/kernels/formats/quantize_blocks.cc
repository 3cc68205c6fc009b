// Floats to blocks: which scales, and then which codes.
//
// A sub-block's scale is chosen among some twenty around the obvious one: for each, codes are rounded, the scale (and
// minimum) that fits those codes best follows by least squares, and the smallest squared error wins. Sub-scales are
// then rounded themselves, and codes are chosen once more for what the rounded ones say. Q8_0 and Q4_0 are quantized as
// ggml's reference does it (formats.cc), so that equal input gives equal bytes.
// Rejected: weighing errors by activations, which is calibration and belongs to whoever has some.
// Source: the search is that of ggml's K-quants (make_qx_quants, make_qkx2_quants), by its description.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <span>

#include "kernels/formats/books.h"

namespace sedge::kernels {
namespace {

std::uint16_t finite_f16(float value) { return f32_to_f16(std::clamp(value, -kF16Max, kF16Max)); }

// The largest magnitude that a format's scales can say, and what a larger one is taken for.
float largest_of(const BlockCoding& c) {
  if (c.bf16_scale) return 1e30f;
  int level = 1;  // with a minimum: that alone reaches as far
  for (unsigned code = 0; !c.has_min && code < (1u << c.bits); ++code) {
    level = std::max(level, std::abs(c.level(static_cast<std::uint8_t>(code))));
  }
  return kF16Max * static_cast<float>(level) * static_cast<float>(c.sub == 0 ? 1 : c.high);
}

struct Fit {
  float scale = 0, min = 0;
  float error = std::numeric_limits<float>::infinity();
};

class SubBlock {
 public:
  SubBlock(const BlockCoding& coding, std::span<const float> x)
      : coding_(coding),
        x_(x),
        codes_(static_cast<unsigned>(coding.type == DType::kTQ1_0 || coding.type == DType::kTQ2_0 ? 3
                                                                                                  : 1 << coding.bits)) {
  }

  std::uint8_t code_of(float x, float scale, float min) const {
    if (scale == 0) return nearest(0);
    return nearest((x - min) / scale);
  }

  Fit fit() const { return coding_.has_min ? fit_affine() : fit_symmetric(); }

 private:
  // The code whose level is nearest to `value`.
  std::uint8_t nearest(float value) const {
    if (coding_.levels == Levels::kLinear) {
      const float code = std::nearbyint(value) + static_cast<float>(coding_.offset);
      return static_cast<std::uint8_t>(std::clamp(code, 0.0f, static_cast<float>(codes_ - 1)));
    }
    const auto away = [&](unsigned c) {
      return std::fabs(static_cast<float>(coding_.level(static_cast<std::uint8_t>(c))) - value);
    };
    unsigned best = 0;
    for (unsigned code = 1; code < codes_; ++code) {
      if (away(code) < away(best)) best = code;
    }
    return static_cast<std::uint8_t>(best);
  }

  // Codes of a scale tried, then the scale that suits those codes best.
  Fit refine_symmetric(float tried) const {
    double products = 0, squares = 0, error = 0;
    for (const float x : x_) {
      const auto level = static_cast<double>(coding_.level(code_of(x, tried, 0)));
      products += level * static_cast<double>(x);
      squares += level * level;
      error += static_cast<double>(x) * static_cast<double>(x);
    }
    if (squares == 0) return {};
    return {static_cast<float>(products / squares), 0, static_cast<float>(error - products * products / squares)};
  }

  Fit fit_symmetric() const {
    float extreme = 0;
    for (const float x : x_) {
      if (std::fabs(x) > std::fabs(extreme)) extreme = x;
    }
    Fit best{.scale = 0, .min = 0};
    if (extreme == 0) return best;
    // The longer end of the levels takes the extreme, whatever its sign; the scale may be negative.
    float end = 0;
    for (unsigned code = 0; code < codes_; ++code) {
      const auto level = static_cast<float>(coding_.level(static_cast<std::uint8_t>(code)));
      if (std::fabs(level) > std::fabs(end)) end = level;
    }
    for (int step = -9; step <= 9; ++step) {
      const Fit tried = refine_symmetric(extreme / end * (1.0f + 0.02f * static_cast<float>(step)));
      if (tried.error < best.error) best = tried;
    }
    return best;
  }

  // K-quants keep a minimum of at most zero; blocks of 32 any.
  Fit refine_affine(float scale, float min) const {
    double n = 0, l = 0, ll = 0, sx = 0, lx = 0, xx = 0;
    for (const float value : x_) {
      const auto level = static_cast<double>(code_of(value, scale, min)), x = static_cast<double>(value);
      n += 1, l += level, ll += level * level, sx += x, lx += level * x, xx += x * x;
    }
    const double determinant = n * ll - l * l;
    if (determinant <= 0) return {};
    double a = (n * lx - l * sx) / determinant, b = (ll * sx - l * lx) / determinant;
    if (coding_.sub != 0 && b > 0) b = 0, a = ll > 0 ? lx / ll : 0;
    if (!(a > 0)) return {};
    const double error = xx - 2 * a * lx - 2 * b * sx + a * a * ll + 2 * a * b * l + n * b * b;
    return {static_cast<float>(a), static_cast<float>(b), static_cast<float>(error)};
  }

  Fit fit_affine() const {
    const auto [low, high] = std::ranges::minmax(x_);
    const float min = coding_.sub != 0 ? std::min(low, 0.0f) : low;
    Fit best{.scale = 0, .min = min, .error = std::numeric_limits<float>::infinity()};
    if (!(high > min)) return best;
    for (int step = -8; step <= 10; ++step) {
      const float levels = static_cast<float>(codes_ - 1) + 0.1f * static_cast<float>(step);
      const Fit tried = refine_affine((high - min) / levels, min);
      if (tried.error < best.error) best = tried;
    }
    return best;
  }

  const BlockCoding& coding_;
  std::span<const float> x_;
  unsigned codes_;  // how many there are
};

// Power-of-two scales: the one of three neighbours with the smallest error.
float mxfp4_scale(const BlockCoding& coding, std::span<const float> x) {
  float largest = 0;
  for (const float v : x) largest = std::max(largest, std::fabs(v));
  if (largest == 0) return 0x1p-128f;
  const int exponent = std::ilogb(largest) - 3;  // level 12 is 1.5 · 2^3
  float best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int e = exponent - 1; e <= exponent + 1; ++e) {
    const float scale = std::ldexp(1.0f, std::clamp(e, -128, 127));
    double error = 0;
    for (const float v : x) {
      const auto level = coding.level(SubBlock(coding, x).code_of(v, scale, 0));
      const double off = static_cast<double>(v) - static_cast<double>(scale) * level;
      error += off * off;
    }
    if (error < least) least = error, best = scale;
  }
  return best;
}

void choose_scales(const BlockCoding& c, std::span<const float> x, BlockParts& parts) {
  if (c.bf16_scale) {
    parts.scale = f32_to_bf16(mxfp4_scale(c, x));
    return;
  }
  if (c.sub == 0) {
    const Fit fit = SubBlock(c, x).fit();
    parts.scale = finite_f16(fit.scale), parts.min = finite_f16(fit.min);
    return;
  }
  std::array<Fit, kUnitSubs> fits;
  float scale_end = 0, min_end = 0;
  const std::size_t subs = c.values / c.sub;
  for (std::size_t s = 0; s < subs; ++s) {
    fits[s] = SubBlock(c, x.subspan(s * c.sub, c.sub)).fit();
    if (std::fabs(fits[s].scale) > std::fabs(scale_end)) scale_end = fits[s].scale;
    min_end = std::max(min_end, -fits[s].min);
  }
  // A signed sub-scale's range is longer below: the extreme goes there.
  const auto end = static_cast<float>(c.low < 0 ? c.low : c.high);
  parts.scale = finite_f16(scale_end / end);
  parts.min = finite_f16(min_end / static_cast<float>(c.high));
  const float d = f16_to_f32(parts.scale), m = f16_to_f32(parts.min);
  const auto rounded = [&](float value, float unit, std::int8_t low) {
    const float code = unit != 0 ? std::nearbyint(value / unit) : 0.0f;
    return static_cast<std::int8_t>(
        std::clamp(std::isnan(code) ? 0.0f : code, static_cast<float>(low), static_cast<float>(c.high)));
  };
  for (std::size_t s = 0; s < subs; ++s) {
    parts.sub_scale[s] = rounded(fits[s].scale, d, c.low);
    if (c.has_min) parts.sub_min[s] = rounded(-fits[s].min, m, 0);
  }
}

}  // namespace

void quantize_blocks(const BlockCoding& coding, const float* in, std::uint8_t* out, std::size_t count) {
  if (find_book(coding.type) != nullptr) return quantize_words(coding, in, out, count);
  std::array<float, kUnitValues> x;
  const float largest = largest_of(coding);
  for (std::size_t at = 0; at < count; at += coding.values, out += coding.bytes) {
    for (std::size_t i = 0; i < coding.values; ++i) {
      x[i] = std::isnan(in[at + i]) ? 0.0f : std::clamp(in[at + i], -largest, largest);
    }
    const std::span values(x.data(), coding.values);
    BlockParts parts;
    choose_scales(coding, values, parts);
    const std::size_t sub_values = coding.sub_values();
    for (std::size_t i = 0; i < coding.values; ++i) {
      const std::size_t sub = i / sub_values;
      const SubBlock block(coding, values.subspan(sub * sub_values, sub_values));
      parts.codes[i] = block.code_of(x[i], scale_of(coding, parts, sub), min_of(coding, parts, sub));
    }
    join_block(coding, parts, out);
  }
}

}  // namespace sedge::kernels
