// Words of a code book (books.h), looked up for sixteen rows of a block: matmul_scalar.cc is the definition.
//
// The problem: a book has up to 2048 words, so that no instruction's table holds it, and each row asks for another one.
// The idea: what a processor does at two or three a cycle is plain loads, so each word is one, put straight into its
// place in a register; the rest (bringing columns side by side, giving values their signs) is done a register at a
// time. So a block of sixteen rows becomes planes of eight bits as pack.h has them, in 4 KiB that stay in the first
// cache, once for all tokens of a call, and is multiplied from there as any format of bytes.
// Rejected: gathering loads, and copying words through memory (both measured slower on Zen 3); words that carry their
// signs (a book of 2 KiB becomes one of 256 KiB, which no first cache holds).
//
// What this needs of Bytes beyond packed_simd.h:
//   store(to, B)
//   even_words(a, b), odd_words(a, b)   of each sixteen bytes of a, then of b: their words 0 and 2, or 1 and 3
//   signed_codes(values, signs)         64 + value, or 64 - value where a byte's highest bit says so
#pragma once

#include "kernels/pack/pack.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

template <class Bytes, BlockCoding C>
class WordWeaver {
 public:
  // Of a block of a group: what stands before it, and `count` steps of 32 columns from `first` on.
  // Shapes:   packed [packed_block_bytes(C)]; woven [block_bytes(C)], as pack.h has codes of 8 bits.
  SEDGE_INLINE static void weave(const std::uint8_t* packed, std::size_t first, std::size_t count,
                                 std::uint8_t* woven) {
    __builtin_memcpy(woven, packed, kHeader);
    const auto* const book = book_words();
    Index index[kIndices * kSteps];
    for (std::size_t step = first; step < first + count; ++step) {
      find_indices(packed, step, index + step * kIndices);
    }
    for (std::size_t step = first; step < first + count; ++step) {
      std::uint8_t* const to = woven + kHeader + step * kStep;
      subs(packed, step, to);
      planes(book, index + step * kIndices, packed + kAt.signs + step * kPlane, to + kSubs);
    }
  }

 private:
  static constexpr BookCoding kBook = *find_book(C.type);
  static constexpr BookLayout kAt = layout_of(kBook);
  using B = typename Bytes::B;
  static constexpr std::size_t kHeader = header_bytes(C), kSubs = subs_bytes(C), kStep = step_bytes(C);
  static constexpr std::size_t kWords = kPackedCols / kBook.word_values;  // of a row in a step
  static constexpr std::size_t kSteps = kUnitValues / kPackedCols;        // of a block
  static constexpr std::size_t kIndices = kWords * kPackedRows;           // of a step
  using Index = std::conditional_t<kAt.field_bits == 0, std::uint8_t, std::uint16_t>;
  static constexpr std::uint64_t kOnes = 0x0101010101010101;  // of eight bytes

  SEDGE_INLINE static auto book_words() {
    if constexpr (kBook.word_values == 8) {
      return words_of_eight(C.type);
    } else {
      return words_of_four(C.type);
    }
  }

  // A byte of each row: fields of `bits` bits at `shift`, in two halves of eight rows.
  SEDGE_INLINE static std::uint64_t fields_at(const std::uint8_t* bytes, std::size_t half, std::size_t bits,
                                              std::size_t shift) {
    std::uint64_t eight = 0;
    __builtin_memcpy(&eight, bytes + 8 * half, sizeof eight);
    return eight >> shift & kOnes * ((1u << bits) - 1);
  }

  SEDGE_INLINE static void subs(const std::uint8_t* packed, std::size_t step, std::uint8_t* to) {
    for (std::size_t span = 0; span < spans_of(C); ++span) {
      const std::size_t k = step * spans_of(C) + span;
      for (std::size_t half = 0; half < 2; ++half) {
        const std::uint64_t n = fields_at(packed + kAt.subs + k / 2 * kPackedRows, half, 4, k % 2 * 4);
        const std::uint64_t eight = 2 * n + kOnes;
        __builtin_memcpy(to + span * kPackedRows + 8 * half, &eight, sizeof eight);
      }
    }
  }

  // The indices of a step's words, the flag above those of IQ1. Kept in memory, where a load is what takes one out:
  // from a register it would be two instructions.
  SEDGE_INLINE static void find_indices(const std::uint8_t* packed, std::size_t step, Index* index) {
    for (std::size_t w = step * kWords; w < (step + 1) * kWords; ++w, index += kPackedRows) {
      const std::uint8_t* const low = packed + kAt.lows + w * kPackedRows;
      if constexpr (kAt.field_bits == 0) {
        __builtin_memcpy(index, low, kPackedRows);
      } else {
        const std::size_t bit = w * kAt.field_bits;
        std::uint64_t above[2];
        for (std::size_t half = 0; half < 2; ++half) {
          above[half] = fields_at(packed + kAt.fields + bit / 8 * kPackedRows, half, kAt.field_bits, bit % 8);
        }
        std::uint8_t high[kPackedRows];
        __builtin_memcpy(high, above, sizeof high);
        for (std::size_t r = 0; r < kPackedRows; ++r) index[r] = static_cast<Index>(low[r] | high[r] << 8);
      }
    }
  }

  // Loaded from memory by itself: compilers would load a vector of indices and take each out by two instructions.
  SEDGE_INLINE static std::size_t alone(std::size_t index) {
    asm("" : "+r"(index));
    return index;
  }

  template <class Word>
  SEDGE_INLINE static Word word_of(const Word* book, std::size_t index) {
    if constexpr (kBook.has_signs()) {
      return book[index];
    } else {  // what the flag adds to each code: no byte carries into the next
      static constexpr Word kFlag[] = {kOnes, 0 - kOnes};
      return book[index % kBook.count()] + kFlag[index / kBook.count()];
    }
  }

  // A register of words from row `first` of a plane's on. Those of four values lie as they are; those of eight in an
  // order from which even_words and odd_words make planes: rows 0 and 1, 4 and 5, ... of sixteen, then 2 and 3, ...
  static constexpr std::size_t row_at(std::size_t i) {
    return kBook.word_values == 4 ? i : i % 8 / 2 * 4 + i / 8 * 2 + i % 2;
  }

  template <std::size_t first, class Word>
  SEDGE_INLINE static B words_at(const Word* book, const Index* index) {
    typedef Word Vector __attribute__((vector_size(sizeof(B))));
    Vector words;
    [&]<std::size_t... I>(std::index_sequence<I...>) SEDGE_INLINE {
      words = Vector{word_of(book, alone(index[row_at(first + I)]))...};
    }(std::make_index_sequence<sizeof(B) / sizeof(Word)>{});
    B b;
    __builtin_memcpy(&b, &words, sizeof b);
    return b;
  }

  // Planes of a step.
  template <class Word>
  SEDGE_INLINE static void planes(const Word* book, const Index* index, const std::uint8_t* signs, std::uint8_t* to) {
    constexpr std::size_t kRows = sizeof(B) / 4;  // of a register of a plane
    unroll<kPlane / sizeof(B)>([&](auto part) SEDGE_INLINE {
      B sign;
      if constexpr (kBook.has_signs()) sign = Bytes::load(signs + part * sizeof(B));
      const auto put = [&](auto plane, B codes) SEDGE_INLINE {
        if constexpr (kBook.has_signs()) codes = Bytes::signed_codes(codes, Bytes::template left<7 - plane>(sign));
        Bytes::store(to + plane * kPlane + part * sizeof(B), codes);
      };
      unroll<kWords>([&](auto w) SEDGE_INLINE {
        const Index* const at = index + w * kPackedRows;
        if constexpr (kBook.word_values == 4) {
          put(w, words_at<part * kRows>(book, at));
        } else {
          const B a = words_at<part * kRows / 2>(book, at), b = words_at<8 + part * kRows / 2>(book, at);
          put(std::integral_constant<int, 2 * w>{}, Bytes::even_words(a, b));
          put(std::integral_constant<int, 2 * w + 1>{}, Bytes::odd_words(a, b));
        }
      });
    });
  }
};

}  // namespace sedge::kernels::simd
