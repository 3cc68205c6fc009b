// Formats whose codes are words of a code book: IQ1, IQ2 and IQ3.
//
// The problem: below three bits a value has no code of its own. Eight values (or four) share an index into a book of
// the words that occur most, and signs are kept apart. Seven layouts on disk hide indices, signs and scales in orders
// of their own. The idea: a layout is a row that says at which bits of a block its fields lie, so that one function
// reads and one writes all of them; a word's levels are bytes, and what comes out is a format of seven-bit codes like
// any other in blocks.h. In memory indices stay indices (pack.h); kernels look words up where they multiply.
//
//   level = the word's value, negative where its sign bit says so                              (IQ2, IQ3)
//   level = 8 · the word's value of -1, 0 or 1, plus 1, or less 1 where the flag of its word says so  (IQ1)
//
// Source: the layouts are ggml's (ggml-common.h, ggml-quants.c); docs/formats/quant.md has each one's grammar.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/formats/blocks.h"

namespace sedge::kernels {

// Fields of one kind in a block, as numbers of bits: field i begins at first + i / run · leap + i % run · step.
struct Fields {
  std::uint16_t first = 0;
  std::uint8_t bits = 0;  // 0: there are none
  std::uint8_t run = 1, step = 0, leap = 0;

  constexpr std::size_t at(std::size_t i) const { return std::size_t{first} + i / run * leap + i % run * step; }
};

struct BookCoding {
  DType type;
  std::uint8_t word_values;  // that a word stands for: 8 or 4
  Fields scale;              // the binary16 d, in one piece or in four
  Fields sub;                // n: the sub-scale is 2n + 1
  Fields low, high;          // of a word's index: eight bits, and what is above them
  Fields flags;              // of eight values: their signs, the eighth making their number even where only seven are
                             // stored; or one bit, see above

  constexpr bool has_signs() const { return flags.bits > 1; }
  constexpr std::size_t words() const { return kUnitValues / word_values; }      // of a block
  constexpr std::size_t count() const { return std::size_t{256} << high.bits; }  // of the book
};

inline constexpr BookCoding kBookCodings[] = {
    {DType::kIQ2_XXS, 8, {0, 16}, {76, 4, 1, 0, 64}, {16, 8, 4, 8, 64}, {}, {48, 7, 4, 7, 64}},
    {DType::kIQ2_XS, 8, {0, 16}, {528, 4, 1, 0, 4}, {16, 8, 1, 0, 16}, {24, 1, 1, 0, 16}, {25, 7, 1, 0, 16}},
    {DType::kIQ2_S, 8, {0, 16}, {592, 4, 1, 0, 4}, {16, 8, 1, 0, 8}, {528, 2, 1, 0, 2}, {272, 8, 1, 0, 8}},
    {DType::kIQ3_XXS, 4, {0, 16}, {556, 4, 1, 0, 32}, {16, 8, 1, 0, 8}, {}, {528, 7, 4, 7, 32}},
    {DType::kIQ3_S, 4, {0, 16}, {848, 4, 1, 0, 4}, {16, 8, 1, 0, 8}, {528, 1, 1, 0, 1}, {592, 8, 1, 0, 8}},
    {DType::kIQ1_S, 8, {0, 16}, {284, 3, 1, 0, 16}, {16, 8, 1, 0, 8}, {272, 3, 4, 3, 16}, {287, 1, 4, 0, 16}},
    {DType::kIQ1_M, 8, {396, 4, 1, 0, 16}, {384, 3, 4, 3, 16}, {0, 8, 1, 0, 8}, {256, 3, 1, 0, 4}, {259, 1, 1, 0, 4}},
};

constexpr const BookCoding* find_book(DType type) {
  for (const BookCoding& row : kBookCodings) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

// The words of a book by index, the first value in the lowest byte; ascending. IQ1's values are 56, 64 and 72: codes
// (level + 64) before what the flag does; the others' are levels.
const std::uint64_t* words_of_eight(DType type);
const std::uint32_t* words_of_four(DType type);

// One block as its fields.
struct BookParts {
  std::uint16_t scale = 0;
  std::array<std::uint8_t, kUnitSubs> sub{};           // n
  std::array<std::uint16_t, kUnitValues / 4> index{};  // of each word
  std::array<std::uint8_t, kUnitValues / 8> flags{};   // of eight values: all eight signs, or one bit
};

// Total on any bytes.
void split_book(const BookCoding& book, const std::uint8_t* block, BookParts& parts);
// The inverse, for fields in their ranges.
void join_book(const BookCoding& book, const BookParts& parts, std::uint8_t* block);

// Between fields and the form of every format (blocks.h). Joining: codes make words of the book, and signs their rule.
void split_words(const BookCoding& book, const BookParts& fields, BlockParts& parts);
void join_words(const BookCoding& book, const BlockParts& parts, BookParts& fields);

// quantize_blocks of these formats (quantize_books.cc).
void quantize_words(const BlockCoding& coding, const float* in, std::uint8_t* out, std::size_t count);

}  // namespace sedge::kernels
