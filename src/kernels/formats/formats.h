// The number formats that weights are stored in, defined once by scalar code.
//
// The problem: a weight on disk is a half, a bfloat or a block of small integers with a shared scale, and the
// bytes must mean the same here as in every other program that reads GGUF. The idea: one table of formats, each
// row with its block geometry and the two scalar functions that define it; vectorised kernels are tested against
// these. Rejected: conversions written next to each kernel (four definitions of one format drift apart), and
// _Float16 (not everywhere, and its rounding is the compiler's business).
//
// Those of blocks are in turn rows of blocks.h.
//
// Source: ggml's reference quantizer for Q4_0 and Q8_0 (same rounding, so equal bytes); IEEE 754 binary16;
//         bfloat16 is the upper half of a binary32. docs/formats/quant.md.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sedge::kernels {

// The numbers are GGUF's tensor type ids.
enum class DType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
};

inline constexpr std::size_t kQ4Values = 32;  // values a block
inline constexpr std::size_t kQ8Values = 32;

// value[i] = scale · (nibble - 8); byte j holds value j in its low nibble and value j + 16 in its high one.
struct BlockQ4_0 {
  std::uint16_t scale;  // binary16
  std::uint8_t nibbles[kQ4Values / 2];
};
static_assert(sizeof(BlockQ4_0) == 18);

// value[i] = scale · quant[i]
struct BlockQ8_0 {
  std::uint16_t scale;  // binary16
  std::int8_t quants[kQ8Values];
};
static_assert(sizeof(BlockQ8_0) == 34);

// binary16 -> binary32, exact for every one of the 65536 patterns (NaN payloads kept).
// Idea: scale the shifted mantissa by a power of two and let the FPU normalise subnormals.
constexpr float f16_to_f32(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = half >> 10 & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal: exact in binary32
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

// binary32 -> binary16, round to nearest even; overflow gives infinity, NaN stays NaN (quiet).
std::uint16_t f32_to_f16(float value);
inline constexpr float kF16Max = 65504.0f;  // the largest finite one

constexpr float bf16_to_f32(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

// binary32 -> bfloat16, round to nearest even; NaN stays NaN (quiet).
std::uint16_t f32_to_bf16(float value);

// One row of the table. A row of a tensor is a whole number of blocks; the bytes need no alignment.
struct Format {
  DType type;
  std::string_view name;     // as GGUF tools print it: "Q8_0"
  std::size_t block_values;  // values a block
  std::size_t block_bytes;   // bytes a block
  // Requires: count % block_values == 0; in and out do not overlap.  Cost: O(count), no allocation.
  void (*dequantize)(const std::uint8_t* in, float* out, std::size_t count);
  // Total on any floats: a NaN becomes 0 in the integer formats, too large a magnitude the largest integer.
  void (*quantize)(const float* in, std::uint8_t* out, std::size_t count);
};

std::span<const Format> formats();
const Format* find_format(std::uint32_t ggml_type);  // nullptr: not one of ours
const Format& format_of(DType type);

}  // namespace sedge::kernels
