#include "kernels/pack/pack.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace sedge::kernels {
namespace {

const BlockCoding& coding_of(DType format) {
  const BlockCoding* coding = find_coding(format);
  SEDGE_ASSERT(coding != nullptr);
  return *coding;
}

// Four columns of a row are one word: no step below lets a bit cross a byte.
using Word = std::uint32_t;
constexpr Word spread(unsigned byte) { return byte * 0x01010101u; }

// The 32 codes of one row as words [half][step].
struct Codes {
  Word word[2][4];
  explicit Codes(const std::uint8_t* codes) { std::memcpy(word, codes, sizeof word); }
};

// Bits `shift` and the next of four words' bytes, side by side.
Word pairs_of(const Word (&words)[4], std::size_t shift) {
  Word all = 0;
  for (unsigned s = 0; s < 4; ++s) all |= (words[s] >> shift & spread(0x03)) << (2 * s);
  return all;
}

// Codes of one row into planes: of so many lower bits, and so many planes of what is above them.
template <std::size_t kLow, std::size_t kHigh>
void weave_codes(const Codes& codes, std::size_t row, std::uint8_t* planes) {
  const auto put = [&](std::size_t plane, Word bits) {
    std::memcpy(planes + kPlane * plane + 4 * row, &bits, sizeof bits);
  };
  for (unsigned s = 0; s < 4; ++s) {
    if constexpr (kLow == 8) put(s, codes.word[0][s]), put(4 + s, codes.word[1][s]);
    if constexpr (kLow == 4) put(s, (codes.word[0][s] & spread(0x0F)) | (codes.word[1][s] & spread(0x0F)) << 4);
  }
  for (unsigned h = 0; h < 2; ++h) {
    if constexpr (kLow == 2) put(h, pairs_of(codes.word[h], 0));
    if constexpr (kHigh == 2) put(kLow + h, pairs_of(codes.word[h], kLow));
  }
  if constexpr (kHigh == 1) {
    Word bits = 0;
    for (unsigned i = 0; i < 8; ++i) bits |= (codes.word[i / 4][i % 4] >> kLow & spread(0x01)) << i;
    put(kLow, bits);
  }
}

using WeaveCodes = void (*)(const Codes&, std::size_t, std::uint8_t*);
WeaveCodes weaver_of(const BlockCoding& c) {
  switch (10 * low_bits(c) + high_planes(c)) {
    case 80:
      return weave_codes<8, 0>;
    case 40:
      return weave_codes<4, 0>;
    case 41:
      return weave_codes<4, 1>;
    case 42:
      return weave_codes<4, 2>;
    case 20:
      return weave_codes<2, 0>;
    case 21:
      return weave_codes<2, 1>;
    default:
      SEDGE_ASSERT(false && "no format has such codes");
      return nullptr;
  }
}

// One block of one row into its places in a group's.
void weave(const BlockCoding& c, WeaveCodes weave_codes, const BlockParts& parts, std::size_t row, std::uint8_t* to) {
  std::memcpy(to + 2 * row, &parts.scale, sizeof parts.scale);
  if (c.has_min) std::memcpy(to + 2 * (kPackedRows + row), &parts.min, sizeof parts.min);
  to += header_bytes(c);
  const std::size_t spans = spans_of(c);
  for (std::size_t step = 0; step < c.values / kPackedCols; ++step, to += step_bytes(c)) {
    for (std::size_t span = 0; c.sub != 0 && span < spans; ++span) {
      const std::size_t sub = step * spans + span;
      to[span * kPackedRows + row] = static_cast<std::uint8_t>(parts.sub_scale[sub]);
      if (c.has_min) to[(spans + span) * kPackedRows + row] = static_cast<std::uint8_t>(parts.sub_min[sub]);
    }
    weave_codes(Codes(parts.codes.data() + step * kPackedCols), row, to + subs_bytes(c));
  }
}

// The same of a block of words.
void weave_words(const BookCoding& book, const BookParts& parts, std::size_t row, std::uint8_t* to) {
  const BookLayout at = layout_of(book);
  std::memcpy(to + 2 * row, &parts.scale, sizeof parts.scale);
  // Field i, of `bits` bits, among those of its row from `from` on.
  const auto put = [to, row](std::size_t from, std::size_t i, std::size_t bits, unsigned field) {
    const std::size_t bit = i * bits;
    std::uint8_t& byte = to[from + bit / 8 * kPackedRows + row];
    byte = static_cast<std::uint8_t>(byte | field << bit % 8);
  };
  for (std::size_t k = 0; k < kUnitValues / find_coding(book.type)->sub; ++k) put(at.subs, k, 4, parts.sub[k]);
  for (std::size_t w = 0; w < book.words(); ++w) {
    const unsigned flag = book.has_signs() ? 0u : static_cast<unsigned>(parts.flags[w]) << book.high.bits;
    put(at.lows, w, 8, parts.index[w] & 255u);
    put(at.fields, w, at.field_bits, parts.index[w] >> 8 | flag);
  }
  for (std::size_t i = 0; book.has_signs() && i < kUnitValues; ++i) {
    const std::size_t in_step = i % kPackedCols;
    const unsigned sign = parts.flags[i / 8] >> (i % 8) & 1u;
    std::uint8_t& byte = to[at.signs + i / kPackedCols * kPlane + 4 * row + i % 4];
    byte = static_cast<std::uint8_t>(byte | sign << in_step / 4);
  }
}

}  // namespace

std::size_t packed_row_bytes(DType format, std::size_t cols) {
  const BlockCoding& c = coding_of(format);
  return cols / c.values * packed_block_bytes(c) / kPackedRows;
}

std::size_t packed_bytes(DType format, std::size_t rows, std::size_t cols) {
  return (rows + kPackedRows - 1) / kPackedRows * kPackedRows * packed_row_bytes(format, cols);
}

void pack(DType format, const std::uint8_t* weights, std::size_t rows, std::size_t cols, std::uint8_t* packed) {
  const BlockCoding& c = coding_of(format);
  SEDGE_ASSERT(cols % c.values == 0);
  const std::size_t blocks = cols / c.values, row_bytes = blocks * c.bytes;
  const BookCoding* const book = find_book(format);
  const WeaveCodes weave_codes = book == nullptr ? weaver_of(c) : nullptr;
  BlockParts parts;
  BookParts words;
  for (std::size_t row = 0; row < rows; row += kPackedRows) {
    const std::size_t count = std::min(kPackedRows, rows - row);
    for (std::size_t b = 0; b < blocks; ++b, packed += packed_block_bytes(c)) {
      // Missing rows are zeros, and fields of words are added to what is there; else every byte is written.
      if (book != nullptr || count < kPackedRows) std::fill_n(packed, packed_block_bytes(c), std::uint8_t{0});
      for (std::size_t r = 0; r < count; ++r) {
        const std::uint8_t* const block = weights + (row + r) * row_bytes + b * c.bytes;
        if (book != nullptr) {
          split_book(*book, block, words);
          weave_words(*book, words, r, packed);
        } else {
          split_block(c, block, parts);
          weave(c, weave_codes, parts, r, packed);
        }
      }
    }
  }
}

}  // namespace sedge::kernels
