// Block-quantized matrices laid out for the matrix kernels: sixteen rows side by side.
//
// The problem: in a file each row of blocks stands alone, so a vector of neighbouring bytes belongs to one output, and
// every 32 products cost a sum across a register. The idea: sixteen rows are woven together by fours of columns, so
// that a register of any width holds whole outputs: an integer dot product of four (vpdpbusd, sdot, maddubs) adds to
// sixteen, eight or four rows at once, and nothing is ever summed across. One layout serves every instruction set and
// takes the bytes it took before. Rejected: a layout for each set (a file of repacked weights could not travel).
//
// A group of sixteen rows (missing ones are zeros) is, for each block of 32 columns in turn:
//   scale[16] (binary16), then for Q8_0   quant[8][16][4]: byte [g][r][i] is value 4g + i of row r, with its top bit
//                                         turned over (that is, plus 128 and unsigned);
//                              for Q4_0   byte[4][16][4]: byte [g][r][i] is byte 4g + i of row r's nibbles.
// Source: docs/formats/numeric_class.md §3 for the arithmetic; the weave is that of vpdpbusd's operands.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/formats/formats.h"

namespace sedge::kernels {

inline constexpr std::size_t kPackedRows = 16;

// Bytes of `rows` packed rows that take row_bytes each: those of whole groups.
constexpr std::size_t packed_bytes(std::size_t rows, std::size_t row_bytes) {
  return (rows + kPackedRows - 1) / kPackedRows * kPackedRows * row_bytes;
}

// Shapes:   weights [rows, cols] in blocks of `format`; packed [packed_bytes(rows, bytes of a row)].
// Requires: is_quantized(format); cols % 32 == 0; no overlap.   Cost: O(rows·cols), no allocation.
void pack(DType format, const std::uint8_t* weights, std::size_t rows, std::size_t cols, std::uint8_t* packed);

}  // namespace sedge::kernels
