// Block formats taken apart: what a run of weights with shared scales is, whatever bits a file hides it in.
//
// The problem: twenty-two layouts on disk, each with its own order of nibbles, spare bits and packed scales, and for
// each of them a reader, a writer, a vectorised product and a test. The idea: all say the same thing, namely
//   value[i] = d · s[i / sub] · level(code[i]) + m · t[i / sub]
// so a format is a row of the table below and two functions, split and join, between its bytes and that form. Reading,
// quantizing (quantize_blocks.cc), weaving for the kernels (pack.h) and the kernels themselves know the form alone.
// Where codes are words of a book (books.h), they come out as codes of seven bits. Rejected: a kernel a layout on disk,
// which is where other engines have most of their code.
//
// Source: the layouts are ggml's (ggml-common.h, ggml-quants.c); docs/formats/quant.md has each one's grammar.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/formats/formats.h"

namespace sedge::kernels {

inline constexpr std::size_t kUnitValues = 256;  // of the largest block
inline constexpr std::size_t kUnitSubs = 16;     // sub-blocks of it

// The integers that codes stand for. kLinear: code - offset.
enum class Levels : std::uint8_t { kLinear, kIq4Nl, kMxfp4 };

// IQ4_NL's and MXFP4's integers (MXFP4's are twice the e2m1 float).
inline constexpr std::array<std::int8_t, 16> kIq4NlLevels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                             1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::array<std::int8_t, 16> kMxfp4Levels = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct BlockCoding {
  DType type;
  std::uint16_t values, bytes;  // of a block, as in a file
  std::uint8_t bits;            // of a code: 2, 3, 4, 5, 6, 7 (words of a book) or 8
  std::uint8_t sub;             // values that share a sub-scale: 32 or 16; 0: the block has one scale alone
  bool has_min;
  std::uint8_t offset;    // kLinear: what the code of zero is
  std::int8_t low, high;  // the range of a sub-scale (and, from 0, of a sub-minimum)
  Levels levels = Levels::kLinear;
  bool bf16_scale = false;    // d is a bfloat16 (a power of two), not a binary16
  std::uint8_t halvings = 0;  // what is stored is d · 2^halvings

  constexpr int level(std::uint8_t code) const {
    if (levels == Levels::kLinear) return code - offset;
    return (levels == Levels::kIq4Nl ? kIq4NlLevels : kMxfp4Levels)[code & 15];
  }
  constexpr float unit() const { return 1.0f / static_cast<float>(1 << halvings); }
  constexpr std::size_t sub_values() const { return sub == 0 ? values : sub; }
};

inline constexpr BlockCoding kBlockCodings[] = {
    {DType::kQ8_0, 32, 34, 8, 0, false, 128, 0, 0},
    {DType::kQ4_0, 32, 18, 4, 0, false, 8, 0, 0},
    {DType::kQ4_1, 32, 20, 4, 0, true, 0, 0, 0},
    {DType::kQ5_0, 32, 22, 5, 0, false, 16, 0, 0},
    {DType::kQ5_1, 32, 24, 5, 0, true, 0, 0, 0},
    {DType::kQ2_K, 256, 84, 2, 16, true, 0, 0, 15},
    {DType::kQ3_K, 256, 110, 3, 16, false, 4, -32, 31},
    {DType::kQ4_K, 256, 144, 4, 32, true, 0, 0, 63},
    {DType::kQ5_K, 256, 176, 5, 32, true, 0, 0, 63},
    {DType::kQ6_K, 256, 210, 6, 16, false, 32, -128, 127},
    {DType::kIQ4_NL, 32, 18, 4, 0, false, 0, 0, 0, Levels::kIq4Nl},
    {DType::kIQ4_XS, 256, 136, 4, 32, false, 0, -32, 31, Levels::kIq4Nl},
    {DType::kMXFP4, 32, 17, 4, 0, false, 0, 0, 0, Levels::kMxfp4, true},
    {DType::kTQ1_0, 256, 54, 2, 0, false, 1, 0, 0},
    {DType::kTQ2_0, 256, 66, 2, 0, false, 1, 0, 0},
    {DType::kIQ2_XXS, 256, 66, 7, 32, false, 64, 1, 31, Levels::kLinear, false, 3},
    {DType::kIQ2_XS, 256, 74, 7, 16, false, 64, 1, 31, Levels::kLinear, false, 3},
    {DType::kIQ2_S, 256, 82, 7, 16, false, 64, 1, 31, Levels::kLinear, false, 3},
    {DType::kIQ3_XXS, 256, 98, 7, 32, false, 64, 1, 31, Levels::kLinear, false, 2},
    {DType::kIQ3_S, 256, 110, 7, 32, false, 64, 1, 31, Levels::kLinear, false, 0},
    {DType::kIQ1_S, 256, 50, 7, 32, false, 64, 1, 15, Levels::kLinear, false, 3},
    {DType::kIQ1_M, 256, 56, 7, 16, false, 64, 1, 15, Levels::kLinear, false, 3},
};

constexpr const BlockCoding* find_coding(DType type) {
  for (const BlockCoding& row : kBlockCodings) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

// Of a format whose levels are a table: as they are, and plus 128 for instructions that multiply unsigned bytes.
constexpr std::array<std::int8_t, 16> signed_levels(const BlockCoding& c) {
  return c.levels == Levels::kIq4Nl ? kIq4NlLevels : kMxfp4Levels;
}
constexpr std::array<std::uint8_t, 16> unsigned_levels(const BlockCoding& c) {
  std::array<std::uint8_t, 16> levels{};
  for (std::size_t i = 0; i < levels.size(); ++i) levels[i] = static_cast<std::uint8_t>(signed_levels(c)[i] + 128);
  return levels;
}

// One block in the common form. Minima are what is added: K-quants' own are stored with the other sign.
struct BlockParts {
  std::uint16_t scale = 0, min = 0;                           // d and m: binary16, or bfloat16 for bf16_scale
  std::array<std::int8_t, kUnitSubs> sub_scale{}, sub_min{};  // s and t; unused where the block has one scale alone
  std::array<std::uint8_t, kUnitValues> codes{};
};

// Total on any bytes. `block` has coding.bytes, no alignment needed.
void split_block(const BlockCoding& coding, const std::uint8_t* block, BlockParts& parts);
// The inverse, for codes and sub-scales in their ranges.
void join_block(const BlockCoding& coding, const BlockParts& parts, std::uint8_t* block);

// The scale and the minimum of sub-block `sub`, exact in binary32.
float scale_of(const BlockCoding& coding, const BlockParts& parts, std::size_t sub);
float min_of(const BlockCoding& coding, const BlockParts& parts, std::size_t sub);

// The two functions of every block format in the table of formats.h.
// value = scale · level + min: the product is exact in binary32, so only the sum rounds.
void dequantize_blocks(const BlockCoding& coding, const std::uint8_t* in, float* out, std::size_t count);
// Scales are chosen for the least squared error of each sub-block among some twenty (quantize_blocks.cc).
void quantize_blocks(const BlockCoding& coding, const float* in, std::uint8_t* out, std::size_t count);

}  // namespace sedge::kernels
