#include "kernels/formats/formats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "kernels/formats/blocks.h"

namespace sedge::kernels {
namespace {

float from_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }

// Near enough to normal: a sum of twelve uniforms.
std::vector<float> normal_values(std::size_t count) {
  Prng prng(17);
  std::vector<float> values(count);
  for (float& value : values) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += prng.uniform();
    value = static_cast<float>(sum);
  }
  return values;
}

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
      std::vector<float> values(kUnitValues, 0.0f);
      for (std::size_t i = 0; i < std::min(noise.size(), values.size()); ++i) values[i] = from_bits(noise[i]);
      if (!noise.empty()) values[31] = std::numeric_limits<float>::infinity();
      Buffer bytes(kUnitValues / format.block_values * format.block_bytes);
      format.quantize(values.data(), bytes.data(), values.size());
      format.dequantize(bytes.data(), values.data(), values.size());  // the sanitizers judge
      if (find_coding(format.type) != nullptr) {
        RC_ASSERT(std::ranges::all_of(values, [](float value) { return std::isfinite(value); }));
      }
    }));
  }
}

TEST(Formats, a_magnitude_that_no_scale_can_say_is_the_largest_that_one_can) {
  for (const Format& format : formats()) {
    if (find_coding(format.type) == nullptr) continue;
    const auto back = [&format](float magnitude) {
      std::vector<float> values(kUnitValues, 0.0f);
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 2 == 0 ? magnitude : -magnitude;
      Buffer bytes(kUnitValues / format.block_values * format.block_bytes);
      format.quantize(values.data(), bytes.data(), values.size());
      format.dequantize(bytes.data(), values.data(), values.size());
      return values;
    };
    const std::vector<float> large = back(3e4f), huge = back(std::numeric_limits<float>::max());
    for (std::size_t i = 0; i < large.size(); ++i) {
      EXPECT_EQ(std::signbit(huge[i]), i % 2 != 0) << format.name << " " << i;
      EXPECT_GE(std::fabs(huge[i]), std::fabs(large[i])) << format.name << " " << i;
    }
  }
}

TEST(Formats, the_table_is_found_by_gguf_id_and_refuses_others) {
  for (const Format& format : formats()) EXPECT_EQ(find_format(static_cast<std::uint32_t>(format.type)), &format);
  EXPECT_EQ(find_format(9), nullptr);
}

// What ggml's own functions (of llama.cpp's release in node-llama-cpp 3.22.1) make of four blocks of these bytes, as
// FNV-1a of the floats.
TEST(Blocks, mean_what_ggml_says) {
  constexpr std::pair<DType, std::uint64_t> kHashes[] = {
      {DType::kQ8_0, 0xA7CD2353504D1E5F},    {DType::kQ4_0, 0x525B7BC486E3EFB2},   {DType::kQ4_1, 0x0A7E18660BA6E9E3},
      {DType::kQ5_0, 0x4C286595E90C194B},    {DType::kQ5_1, 0x7F00704AB1FFAE65},   {DType::kQ2_K, 0x9285B7960417E299},
      {DType::kQ3_K, 0xCDC747633EA81465},    {DType::kQ4_K, 0x68CA1C97A946AD8D},   {DType::kQ5_K, 0x6EF20A5A9EDFD986},
      {DType::kQ6_K, 0x801FDDF3D89E204C},    {DType::kIQ4_NL, 0xA00BC19CA135EB7B}, {DType::kIQ4_XS, 0x0F133FE23E8DF7E3},
      {DType::kMXFP4, 0x9A4610B33A16384B},   {DType::kTQ1_0, 0x6302280C8C659D4A},  {DType::kTQ2_0, 0xA04C826269CAA547},
      {DType::kIQ2_XXS, 0x3DA2953CAC603004}, {DType::kIQ2_XS, 0x6018603E31AEABB1}, {DType::kIQ2_S, 0x5279C56362B28793},
      {DType::kIQ3_XXS, 0x46D1C9F4188015FE}, {DType::kIQ3_S, 0x990363A7B85AB503},  {DType::kIQ1_S, 0x4A5092B84B06C36B},
      {DType::kIQ1_M, 0xF61CBAB4B754E14F},
  };
  static_assert(std::size(kHashes) == std::size(kBlockCodings));
  for (const auto& [type, expected] : kHashes) {
    const Format& format = format_of(type);
    Buffer bytes(4 * format.block_bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::uint8_t>((i * i * 41 + i * 7 + 13) >> 3 & 255);
    }
    std::vector<float> values(4 * format.block_values);
    format.dequantize(bytes.data(), values.data(), values.size());
    for (float& value : values) {  // an infinite or undefined scale: which NaN it gives is the compiler's business
      if (std::isnan(value)) value = std::numeric_limits<float>::quiet_NaN();
    }
    std::uint64_t hash = 0xCBF29CE484222325ULL;
    for (const std::uint8_t byte :
         std::span(reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(float))) {
      hash = (hash ^ byte) * 0x100000001B3ULL;
    }
    EXPECT_EQ(hash, expected) << format.name;
  }
}

TEST(Blocks, splitting_and_joining_are_inverse) {
  for (const BlockCoding& coding : kBlockCodings) {
    EXPECT_TRUE(rc::check([&coding](std::uint64_t seed) {
      Prng prng(seed);
      Buffer block(coding.bytes);
      for (std::uint8_t& byte : block) byte = static_cast<std::uint8_t>(prng.next());
      BlockParts parts, again;
      split_block(coding, block.data(), parts);
      Buffer joined(coding.bytes);
      join_block(coding, parts, joined.data());
      // Base 3 leaves bytes that no digits make, and TQ1_0's last four have four digits in the room of five.
      if (coding.type != DType::kTQ1_0) RC_ASSERT(joined == block);
      split_block(coding, joined.data(), again);
      RC_ASSERT(again.codes == parts.codes);
      RC_ASSERT(again.scale == parts.scale);
      RC_ASSERT(again.sub_scale == parts.sub_scale);
      RC_ASSERT(again.sub_min == parts.sub_min);
    })) << format_of(coding.type).name;
  }
}

// The bounds are ggml's own quantizers' errors on normal values (root of the mean square, of a deviation of 1).
TEST(Blocks, are_quantized_no_worse_than_the_reference) {
  constexpr std::pair<DType, double> kBounds[] = {
      {DType::kQ8_0, 0.00521},   {DType::kQ4_0, 0.08432},  {DType::kQ4_1, 0.07630},    {DType::kQ5_0, 0.04226},
      {DType::kQ5_1, 0.03703},   {DType::kQ2_K, 0.29227},  {DType::kQ3_K, 0.14910},    {DType::kQ4_K, 0.06969},
      {DType::kQ5_K, 0.03537},   {DType::kQ6_K, 0.01737},  {DType::kIQ4_NL, 0.07463},  {DType::kIQ4_XS, 0.07518},
      {DType::kMXFP4, 0.11524},  {DType::kTQ1_0, 0.80262}, {DType::kTQ2_0, 0.80262},   {DType::kIQ2_XXS, 0.34322},
      {DType::kIQ2_XS, 0.30031}, {DType::kIQ2_S, 0.24679}, {DType::kIQ3_XXS, 0.18395}, {DType::kIQ3_S, 0.13769},
      {DType::kIQ1_S, 0.48939},  {DType::kIQ1_M, 0.45468},
  };
  for (const auto& [type, bound] : kBounds) {
    const Format& format = format_of(type);
    const std::vector<float> values = normal_values(8192);
    Buffer bytes(values.size() / format.block_values * format.block_bytes);
    std::vector<float> back(values.size());
    format.quantize(values.data(), bytes.data(), values.size());
    format.dequantize(bytes.data(), back.data(), values.size());
    double squares = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      squares += static_cast<double>(values[i] - back[i]) * static_cast<double>(values[i] - back[i]);
    }
    EXPECT_LT(std::sqrt(squares / static_cast<double>(values.size())), bound * 1.02) << format.name;
  }
}

TEST(Blocks, of_zeros_are_zeros) {
  for (const BlockCoding& coding : kBlockCodings) {
    const Format& format = format_of(coding.type);
    const std::vector<float> zeros(kUnitValues, 0.0f);
    Buffer bytes(kUnitValues / format.block_values * format.block_bytes);
    std::vector<float> back(kUnitValues, 1.0f);
    format.quantize(zeros.data(), bytes.data(), zeros.size());
    format.dequantize(bytes.data(), back.data(), back.size());
    EXPECT_EQ(back, zeros) << format.name;
  }
}

}  // namespace
}  // namespace sedge::kernels
