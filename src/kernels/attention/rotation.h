// Heads are rotated before their numbers are rounded to four bits.
//
// The problem: a few dimensions of a head's keys are many times as large as the rest, in all positions alike. A block
// of numbers shares one scale, so they leave the rest a few levels or none. The idea: a rotation by the normalised
// Walsh-Hadamard transform H spreads each dimension over all. H is orthogonal, so products of rotated queries with
// rotated keys are what they were, and its own inverse, so what a sum of rotated values is, H tells back.
// Only additions and subtractions in a fixed order and one product a number: the same bits from any instruction set
// without a file of its own.
// Rejected: rotating a model's weights once instead. Keys turn by their positions in between, and weights of few bits
// would be rounded again.
// Source: Ashkboos et al. 2024 (QuaRot); Liu et al. 2024 (SpinQuant); docs/formats/numeric_class.md §5.
#pragma once

#include <cstddef>

namespace sedge::kernels {

// x [heads, head_dim] becomes H·x in place, for each head in pieces of the largest power of two that divides head_dim.
// Requires: head_dim % 32 == 0.
void rotate(float* x, std::size_t heads, std::size_t head_dim);

}  // namespace sedge::kernels
