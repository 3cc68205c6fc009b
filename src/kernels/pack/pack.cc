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

void add_word(std::uint8_t* at, Word bits) {
  Word word;
  std::memcpy(&word, at, sizeof word);
  word |= bits;
  std::memcpy(at, &word, sizeof word);
}

void weave_codes(const BlockCoding& c, const Codes& codes, std::size_t row, std::uint8_t* planes) {
  std::uint8_t* const upper = planes + kPlane * low_planes(c);
  for (unsigned h = 0; h < 2; ++h) {
    for (unsigned s = 0; s < 4; ++s) {
      const Word word = codes.word[h][s];
      const auto put = [row](std::uint8_t* plane, Word bits) { add_word(plane + 4 * row, bits); };
      switch (low_bits(c)) {
        case 8:
          put(planes + kPlane * (4 * h + s), word);
          break;
        case 4:
          put(planes + kPlane * s, (word & spread(0x0F)) << (4 * h));
          break;
        default:
          put(planes + kPlane * h, (word & spread(0x03)) << (2 * s));
          break;
      }
      switch (high_planes(c)) {
        case 1:
          put(upper, (word >> low_bits(c) & spread(0x01)) << (4 * h + s));
          break;
        case 2:
          put(upper + kPlane * h, (word >> low_bits(c) & spread(0x03)) << (2 * s));
          break;
        default:
          break;
      }
    }
  }
}

// One block of one row into its places in a group's.
void weave(const BlockCoding& c, const BlockParts& parts, std::size_t row, std::uint8_t* to) {
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
    weave_codes(c, Codes(parts.codes.data() + step * kPackedCols), row, to + subs_bytes(c));
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
  BlockParts parts;
  BookParts words;
  for (std::size_t row = 0; row < rows; row += kPackedRows) {
    const std::size_t count = std::min(kPackedRows, rows - row);
    for (std::size_t b = 0; b < blocks; ++b, packed += packed_block_bytes(c)) {
      std::fill_n(packed, packed_block_bytes(c), std::uint8_t{0});
      for (std::size_t r = 0; r < count; ++r) {
        const std::uint8_t* const block = weights + (row + r) * row_bytes + b * c.bytes;
        if (book != nullptr) {
          split_book(*book, block, words);
          weave_words(*book, words, r, packed);
        } else {
          split_block(c, block, parts);
          weave(c, parts, r, packed);
        }
      }
    }
  }
}

}  // namespace sedge::kernels
