#include "kernels/formats/books.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <iterator>

#include "base/assert.h"
#include "kernels/formats/book_sets.h"

namespace sedge::kernels {
namespace {

// A set's words in ascending order. `Levels`: what a digit stands for.
template <class Word, std::size_t count, class Set, std::size_t base>
constexpr std::array<Word, count> words_in(const Set& set, const std::array<std::uint8_t, base>& levels) {
  std::array<Word, count> words{};
  std::size_t found = 0;
  for (std::size_t at = 0; at < std::size(set); ++at) {
    for (std::uint64_t rest = set[at]; rest != 0; rest &= rest - 1, ++found) {
      std::size_t number = 64 * at + static_cast<std::size_t>(std::countr_zero(rest));
      for (std::size_t i = 0; i < sizeof(Word); ++i, number /= base) {
        words[found] |= static_cast<Word>(levels[number % base]) << (8 * i);
      }
    }
  }
  return words;
}

constexpr std::array<std::uint8_t, 3> kIq2Levels = {8, 25, 43}, kIq1Codes = {56, 64, 72};
constexpr std::array<std::uint8_t, 8> kIq3XxsLevels = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr std::array<std::uint8_t, 8> kIq3SLevels = {1, 3, 5, 7, 9, 11, 13, 15};

constexpr auto kIq2XxsWords = words_in<std::uint64_t, 256>(kIq2XxsSet, kIq2Levels);
constexpr auto kIq2XsWords = words_in<std::uint64_t, 512>(kIq2XsSet, kIq2Levels);
constexpr auto kIq2SWords = words_in<std::uint64_t, 1024>(kIq2SSet, kIq2Levels);
constexpr auto kIq1Words = words_in<std::uint64_t, 2048>(kIq1Set, kIq1Codes);
constexpr auto kIq3XxsWords = words_in<std::uint32_t, 256>(kIq3XxsSet, kIq3XxsLevels);
constexpr auto kIq3SWords = words_in<std::uint32_t, 512>(kIq3SSet, kIq3SLevels);

unsigned read(const std::uint8_t* block, const Fields& fields, std::size_t i) {
  unsigned field = 0;
  for (std::size_t taken = 0, at = fields.at(i); taken < fields.bits;) {
    const std::size_t shift = at % 8, count = std::min<std::size_t>(8 - shift, fields.bits - taken);
    field |= (static_cast<unsigned>(block[at / 8]) >> shift & ((1u << count) - 1)) << taken;
    taken += count, at += count;
  }
  return field;
}

void write(std::uint8_t* block, const Fields& fields, std::size_t i, unsigned field) {
  for (std::size_t given = 0, at = fields.at(i); given < fields.bits;) {
    const std::size_t shift = at % 8, count = std::min<std::size_t>(8 - shift, fields.bits - given);
    block[at / 8] |= static_cast<std::uint8_t>((field >> given & ((1u << count) - 1)) << shift);
    given += count, at += count;
  }
}

// Calls move(fields, i, part) for every field of a block.
template <class Parts, class Move>
void for_each_field(const BookCoding& book, Parts& parts, const Move& move) {
  const std::size_t subs = kUnitValues / find_coding(book.type)->sub;
  for (std::size_t k = 0; k < subs; ++k) move(book.sub, k, parts.sub[k], 0);
  for (std::size_t w = 0; w < book.words(); ++w) {
    move(book.low, w, parts.index[w], 0);
    move(book.high, w, parts.index[w], 8);
  }
  for (std::size_t n = 0; n < kUnitValues / 8; ++n) move(book.flags, n, parts.flags[n], 0);
}

template <class Word>
std::uint16_t index_in(const Word* words, std::size_t count, Word word) {
  const Word* const found = std::lower_bound(words, words + count, word);
  SEDGE_ASSERT(found != words + count && *found == word);
  return static_cast<std::uint16_t>(found - words);
}

}  // namespace

const std::uint64_t* words_of_eight(DType type) {
  switch (type) {
    case DType::kIQ2_XXS:
      return kIq2XxsWords.data();
    case DType::kIQ2_XS:
      return kIq2XsWords.data();
    case DType::kIQ2_S:
      return kIq2SWords.data();
    case DType::kIQ1_S:
    case DType::kIQ1_M:
      return kIq1Words.data();
    default:
      assertion_failed("the format has words of eight values", __FILE__, __LINE__);
  }
}

const std::uint32_t* words_of_four(DType type) {
  SEDGE_ASSERT(type == DType::kIQ3_XXS || type == DType::kIQ3_S);
  return type == DType::kIQ3_XXS ? kIq3XxsWords.data() : kIq3SWords.data();
}

void split_book(const BookCoding& book, const std::uint8_t* block, BookParts& parts) {
  parts = {};
  for (unsigned piece = 0; piece < 16u / book.scale.bits; ++piece) {
    parts.scale = static_cast<std::uint16_t>(parts.scale | read(block, book.scale, piece) << (4 * piece));
  }
  for_each_field(book, parts, [block](const Fields& fields, std::size_t i, auto& part, unsigned shift) {
    part = static_cast<std::remove_reference_t<decltype(part)>>(part | read(block, fields, i) << shift);
  });
  if (book.flags.bits != 7) return;
  for (std::uint8_t& signs : parts.flags) signs |= static_cast<std::uint8_t>((std::popcount(signs) & 1) << 7);
}

void join_book(const BookCoding& book, const BookParts& parts, std::uint8_t* block) {
  std::fill_n(block, find_coding(book.type)->bytes, std::uint8_t{0});
  for (unsigned piece = 0; piece < 16u / book.scale.bits; ++piece) {
    write(block, book.scale, piece, static_cast<unsigned>(parts.scale) >> (4 * piece));
  }
  for_each_field(book, parts, [block](const Fields& fields, std::size_t i, const auto& part, unsigned shift) {
    write(block, fields, i, static_cast<unsigned>(part) >> shift);
  });
}

void split_words(const BookCoding& book, const BookParts& fields, BlockParts& parts) {
  parts.scale = fields.scale;
  for (std::size_t k = 0; k < kUnitSubs; ++k) parts.sub_scale[k] = static_cast<std::int8_t>(2 * fields.sub[k] + 1);
  for (std::size_t i = 0; i < kUnitValues; ++i) {
    const std::size_t index = fields.index[i / book.word_values];
    const std::uint64_t word =
        book.word_values == 8 ? words_of_eight(book.type)[index] : words_of_four(book.type)[index];
    const int value = static_cast<int>(word >> (i % book.word_values * 8) & 255), flags = fields.flags[i / 8];
    const int code = book.has_signs() ? (flags >> (i % 8) & 1 ? 64 - value : 64 + value) : value + 1 - 2 * flags;
    parts.codes[i] = static_cast<std::uint8_t>(code);
  }
}

void join_words(const BookCoding& book, const BlockParts& parts, BookParts& fields) {
  fields = {};
  fields.scale = parts.scale;
  for (std::size_t k = 0; k < kUnitSubs; ++k) fields.sub[k] = static_cast<std::uint8_t>(parts.sub_scale[k] / 2);
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < kUnitValues; ++i) {
    const int code = parts.codes[i], at = static_cast<int>(i % 8);
    const bool flag = book.has_signs() ? code < 64 : code % 8 == 7;
    const int value = book.has_signs() ? std::abs(code - 64) : flag ? code + 1 : code - 1;
    if (flag) fields.flags[i / 8] |= static_cast<std::uint8_t>(book.has_signs() ? 1 << at : 1);
    word |= static_cast<std::uint64_t>(value) << (i % book.word_values * 8);
    if (i % book.word_values + 1 != book.word_values) continue;
    fields.index[i / book.word_values] =
        book.word_values == 8 ? index_in(words_of_eight(book.type), book.count(), word)
                              : index_in(words_of_four(book.type), book.count(), static_cast<std::uint32_t>(word));
    word = 0;
  }
}

}  // namespace sedge::kernels
