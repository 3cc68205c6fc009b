// What a numeric class promises, as a number: the fingerprint of every kernel's bits on fixed inputs. A machine whose
// fingerprint differs from the class's is not in the class, whatever its processor is called.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace sedge::kernels {

// Of class kNumericClass, on every instruction set. A change of it is a change of class: rename the class as well.
inline constexpr std::uint64_t kNumericFingerprint = 0x7F037C92F58AAFF3;

// FNV-1a over the outputs of every row of the kernel table for a few awkward sizes, and of exp, sin, cos, the RoPE
// frequencies, what LayerNorm centres and heads that are rotated. Takes about a millisecond.
std::uint64_t numeric_fingerprint(const Kernels& kernels);

}  // namespace sedge::kernels
