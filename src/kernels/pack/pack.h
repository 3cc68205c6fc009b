// Block-quantized matrices laid out for the matrix kernels: sixteen rows side by side.
//
// The problem: in a file each row of blocks stands alone, so a vector of neighbouring bytes belongs to one output, and
// every 32 products cost a sum across a register; and each format hides its bits in an order of its own. The idea:
// sixteen rows are woven together by fours of columns, so that a register of any width holds whole outputs: an integer
// dot product of four (vpdpbusd, sdot, maddubs) adds to sixteen, eight or four rows at once, and nothing is ever summed
// across. Codes of any width are planes of bits in that one order. One layout serves every instruction set and takes
// the bytes it took before, give or take what six-bit scales gain as bytes.
// Rejected: a layout for each set (packed weights that are kept on a disk would fit one of them).
//
// A group of sixteen rows (missing ones are zeros) is, for each block of the format (32 or 256 columns) in turn:
//   scale[16] as in the file; min[16] where the format has one; then for each 32 columns:
//     sub_scale[16] i8, for each sub-block of them (one of 32 or two of 16), where the format has any;
//     sub_min[16] i8, likewise;
//     the codes, in planes of 64 bytes. Column 16h + 4s + k of row r is found at byte 4r + k of
//       8 bits:         plane 4h + s
//       4, 5, 6 bits:   plane s, bits 4h to 4h + 3                  (the lower four)
//       2, 3 bits:      plane h, bits 2s and 2s + 1                 (the lower two)
//       then 3, 5 bits: one plane more, bit 4h + s                  (the highest)
//       or   6 bits:    plane h of two more, bits 2s and 2s + 1     (the upper two)
// Words of a code book (books.h) stay what they are, or two bits a value would become seven. A group is, for each block
// of 256 columns in turn:
//   scale[16]; then in bytes of each of the sixteen rows side by side
//     n of sub-block k: nibble k mod 2 of byte k / 2
//     the lowest eight bits of each word's index
//     what is above them, b bits a word (IQ1: three bits and the flag): word w at bit w·b mod 8 of byte w·b / 8
//   and the signs, a plane for 32 columns: as the highest of 5 bits.
// Who changes any of this counts engine::PackedWeights::kLayout up: packed weights are kept on disks.
// Source: docs/formats/numeric_class.md §3 for the arithmetic; the weave is that of vpdpbusd's operands.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/formats/books.h"

namespace sedge::kernels {

inline constexpr std::size_t kPackedRows = 16;
inline constexpr std::size_t kPackedCols = 32;  // of a step of the kernels
inline constexpr std::size_t kPlane = 64;       // bytes: four columns of sixteen rows, eight bits each

// How many planes the codes of 32 columns take, lower bits and upper.
constexpr std::size_t low_bits(const BlockCoding& c) { return c.bits >= 7 ? 8 : c.bits >= 4 ? 4 : 2; }
constexpr std::size_t low_planes(const BlockCoding& c) { return low_bits(c); }
constexpr std::size_t high_planes(const BlockCoding& c) { return c.bits > low_bits(c) ? c.bits - low_bits(c) : 0; }

// Sub-blocks in 32 columns: each makes an integer sum of its own.
constexpr std::size_t spans_of(const BlockCoding& c) { return c.sub == 16 ? 2 : 1; }

// Of sixteen rows: what stands before a block, before 32 columns of it, and the whole.
constexpr std::size_t header_bytes(const BlockCoding& c) { return kPackedRows * (c.has_min ? 4 : 2); }
constexpr std::size_t subs_bytes(const BlockCoding& c) {
  return c.sub == 0 ? 0 : kPackedRows * spans_of(c) * (c.has_min ? 2 : 1);
}
constexpr std::size_t step_bytes(const BlockCoding& c) {
  return subs_bytes(c) + kPlane * (low_planes(c) + high_planes(c));
}
constexpr std::size_t block_bytes(const BlockCoding& c) {
  return header_bytes(c) + c.values / kPackedCols * step_bytes(c);
}

// Where sixteen rows' words lie in a block of theirs.
struct BookLayout {
  std::size_t field_bits, subs, lows, fields, signs, bytes;
};
constexpr BookLayout layout_of(const BookCoding& b) {
  BookLayout at{};
  at.field_bits = b.high.bits + (b.has_signs() ? 0u : 1u);
  at.subs = 2 * kPackedRows;
  at.lows = at.subs + kPackedRows * (kUnitValues / find_coding(b.type)->sub / 2);
  at.fields = at.lows + kPackedRows * b.words();
  at.signs = at.fields + kPackedRows * (b.words() * at.field_bits / 8);
  at.bytes = at.signs + (b.has_signs() ? kPlane * (kUnitValues / kPackedCols) : 0);
  return at;
}

constexpr std::size_t packed_block_bytes(const BlockCoding& c) {
  const BookCoding* const book = find_book(c.type);
  return book != nullptr ? layout_of(*book).bytes : block_bytes(c);
}

// Bytes that a row has when it is packed. Requires: cols a whole number of blocks.
std::size_t packed_row_bytes(DType format, std::size_t cols);

// Bytes of `rows` packed rows: those of whole groups.
std::size_t packed_bytes(DType format, std::size_t rows, std::size_t cols);

// Shapes:   weights [rows, cols] in blocks of `format`; packed [packed_bytes(format, rows, cols)].
// Requires: is_quantized(format); cols a whole number of blocks; no overlap.   Cost: O(rows·cols), no allocation.
void pack(DType format, const std::uint8_t* weights, std::size_t rows, std::size_t cols, std::uint8_t* packed);

}  // namespace sedge::kernels
