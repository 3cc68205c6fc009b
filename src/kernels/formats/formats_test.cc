#include "kernels/formats/formats.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/bytes.h"

namespace sedge::kernels {
namespace {

float from_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }

// The law of rounding to nearest even, for formats whose patterns are ordered like their magnitudes.
template <class Widen>
bool is_nearest_even(float value, std::uint16_t rounded, Widen widen) {
  const double exact = std::fabs(static_cast<double>(value));
  const std::uint16_t magnitude = rounded & 0x7fff;
  const double distance = std::fabs(widen(magnitude) - exact);
  for (const int step : {-1, 1}) {
    if (magnitude == 0 && step < 0) continue;
    const auto neighbour = static_cast<std::uint16_t>(magnitude + step);
    if (!std::isfinite(widen(neighbour))) continue;
    const double other = std::fabs(widen(neighbour) - exact);
    if (other < distance || (other == distance && magnitude % 2 != 0)) return false;
  }
  return std::signbit(value) == (rounded >> 15 != 0);
}

TEST(Formats, every_half_and_bfloat_survives_the_way_to_float_and_back) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    const float half = f16_to_f32(pattern);
    const float bfloat = bf16_to_f32(pattern);
    const std::uint16_t half_back = f32_to_f16(half);
    const std::uint16_t bfloat_back = f32_to_bf16(bfloat);
    EXPECT_TRUE(std::isnan(half) ? std::isnan(f16_to_f32(half_back)) : half_back == pattern) << pattern;
    EXPECT_TRUE(std::isnan(bfloat) ? std::isnan(bf16_to_f32(bfloat_back)) : bfloat_back == pattern) << pattern;
  }
}

TEST(Formats, halves_mean_what_ieee_754_says) {
  EXPECT_EQ(f16_to_f32(0x3c00), 1.0f);
  EXPECT_EQ(f16_to_f32(0xc000), -2.0f);
  EXPECT_EQ(f16_to_f32(0x7bff), 65504.0f);
  EXPECT_EQ(f16_to_f32(0x0001), 0x1p-24f);
  EXPECT_EQ(f16_to_f32(0x03ff), 1023 * 0x1p-24f);
  EXPECT_EQ(f16_to_f32(0x7c00), std::numeric_limits<float>::infinity());
  EXPECT_EQ(f32_to_f16(65519.99f), 0x7bff);  // below the midpoint to the next power
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);   // the midpoint goes to even: infinity
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);   // halfway to the smallest: even is zero
  EXPECT_EQ(f32_to_f16(0x1.8p-25f), 0x0001);
  EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
}

TEST(Formats, narrowing_rounds_to_nearest_even) {
  EXPECT_TRUE(rc::check([] {
    const float value = from_bits(*rc::gen::arbitrary<std::uint32_t>());
    RC_PRE(std::isfinite(value));
    if (std::fabs(value) < 65520.0f) RC_ASSERT(is_nearest_even(value, f32_to_f16(value), f16_to_f32));
    if (std::fabs(value) < 0x1.ffp127f) RC_ASSERT(is_nearest_even(value, f32_to_bf16(value), bf16_to_f32));
  }));
  // Random bits seldom give a half's subnormal: walk them and their midpoints.
  for (std::uint32_t i = 0; i < 4096; ++i) {
    const float value = static_cast<float>(i) * 0x1p-26f;
    EXPECT_TRUE(is_nearest_even(value, f32_to_f16(value), f16_to_f32)) << value;
  }
}

TEST(Formats, a_block_of_q8_0_is_off_by_at_most_half_a_step) {
  EXPECT_TRUE(rc::check([] {
    std::vector<float> values(kQ8Values);
    for (float& value : values) value = static_cast<float>(*rc::gen::inRange(-1'000'000, 1'000'000)) * 1e-5f;
    Buffer bytes(sizeof(BlockQ8_0));
    std::vector<float> back(kQ8Values);
    format_of(DType::kQ8_0).quantize(values.data(), bytes.data(), kQ8Values);
    format_of(DType::kQ8_0).dequantize(bytes.data(), back.data(), kQ8Values);
    float largest = 0;
    for (const float value : values) largest = std::max(largest, std::fabs(value));
    // Half a step, and the rounding of the scale to a half, which moves each of 127 steps by 2^-11 of it.
    const float bound = largest / 127 * (0.5f + 127 * 0x1p-11f) + 1e-6f;
    for (std::size_t i = 0; i < kQ8Values; ++i) RC_ASSERT(std::fabs(back[i] - values[i]) <= bound);
  }));
}

TEST(Formats, q4_0_puts_the_value_of_largest_magnitude_at_minus_eight) {
  std::vector<float> values(kQ4Values, 0.0f);
  values[0] = 4.0f;    // extreme: scale -0.5, nibble 0
  values[16] = -3.5f;  // 7 steps the other way: nibble 15
  values[1] = 0.2f;    // -0.4 steps + 8.5, cut off: 8
  values[17] = 0.3f;   // -0.6 steps + 8.5, cut off: 7
  Buffer bytes(sizeof(BlockQ4_0));
  format_of(DType::kQ4_0).quantize(values.data(), bytes.data(), kQ4Values);
  EXPECT_EQ(to_hex(Bytes(bytes).first(5)), "00b8f07888");
  std::vector<float> back(kQ4Values);
  format_of(DType::kQ4_0).dequantize(bytes.data(), back.data(), kQ4Values);
  EXPECT_EQ(back[0], 4.0f);
  EXPECT_EQ(back[16], -3.5f);
  EXPECT_EQ(back[1], 0.0f);
  EXPECT_EQ(back[17], 0.5f);
}

TEST(Formats, quantizing_is_defined_for_every_float) {
  for (const Format& format : formats()) {
    EXPECT_TRUE(rc::check([&format](const std::vector<std::uint32_t>& noise) {
      std::vector<float> values(kQ8Values, 0.0f);
      for (std::size_t i = 0; i < std::min(noise.size(), values.size()); ++i) values[i] = from_bits(noise[i]);
      if (!noise.empty()) values[31] = std::numeric_limits<float>::infinity();
      Buffer bytes(kQ8Values / format.block_values * format.block_bytes);
      format.quantize(values.data(), bytes.data(), values.size());
      format.dequantize(bytes.data(), values.data(), values.size());  // the sanitizers judge
    }));
  }
}

TEST(Formats, the_table_is_found_by_gguf_id_and_refuses_others) {
  for (const Format& format : formats()) EXPECT_EQ(find_format(static_cast<std::uint32_t>(format.type)), &format);
  EXPECT_EQ(find_format(12), nullptr);
}

}  // namespace
}  // namespace sedge::kernels
