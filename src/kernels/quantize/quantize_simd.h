// Activations to 8-bit blocks over a vector type (simd.h): quantize_scalar.cc is the definition.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

template <class V>
SEDGE_INLINE inline void quantize_q8(const QuantizeArgs& q) {
  using F = typename V::F;
  constexpr std::size_t kRegisters = 32 / V::kWidth;
  for (std::size_t b = 0; b < q.count / 32; ++b) {
    const float* x = q.x + b * 32;
    F values[kRegisters];
    F most = V::zero();
    unroll<kRegisters>([&](auto i) SEDGE_INLINE {
      values[i] = V::load(x + i * V::kWidth);
      most = V::max(V::abs(values[i]), most);
    });
    const float largest = V::largest(most);
    const F to_quant = V::all(largest > 0.0f ? 127.0f / largest : 0.0f);
    q.scales[b] = V::round_to_half(largest / 127.0f);
    unroll<kRegisters>([&](auto i) SEDGE_INLINE {
      const F v = V::min(V::max(V::mul(values[i], to_quant), V::all(-127.0f)), V::all(127.0f));
      V::store_i8(q.quants + b * 32 + i * V::kWidth, v);
    });
    for (std::size_t half = 0; half < 2; ++half) q.sums[2 * b + half] = V::sum_i8(q.quants + b * 32 + half * 16);
  }
}

}  // namespace sedge::kernels::simd
