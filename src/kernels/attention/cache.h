// How the keys and values of one key/value head are kept: as F32, F16, Q8_0 or Q4_0 (formats.h).
//
// The problem: they are most of what a long text takes, and attention reads all of them for each token. The idea: the
// formats of weights serve here too, so that half, a good quarter or a seventh of the memory holds as many positions.
// Positions lie in groups of sixteen, a group of either as long as sixteen rows of the format:
//   values   [16] rows of head_dim numbers, each as the format has it
//   keys     the same rows woven block by block, so that a register of sixteen positions meets one dimension:
//            F32, F16 [head_dim, 16]; for each block of 32 the scales [16], then of Q8_0 the quants [32, 16],
//            of Q4_0 the nibbles [16, 16]
// Rejected: a layout of its own for each instruction set (copies of it travel to disk and to other processes).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/formats/formats.h"

namespace sedge::kernels {

inline constexpr std::size_t kCacheGroup = 16;  // positions

bool is_cache_format(DType format);

// Whether queries, keys and values are rotated first (rotation.h), and what attention gives is rotated back: four bits
// are too few for a head in which some dimensions are much larger than the rest.
bool is_rotated(DType format);

// Of one position's key, and of its value. Requires: head_dim a whole number of the format's blocks.
std::size_t cache_row_bytes(DType format, std::size_t head_dim);

// Writes one position's key and value [head_dim] into place `place` of its group of keys and of values.
void keep_position(DType format, const float* key, const float* value, std::size_t head_dim, std::size_t place,
                   std::uint8_t* keys, std::uint8_t* values);

}  // namespace sedge::kernels
