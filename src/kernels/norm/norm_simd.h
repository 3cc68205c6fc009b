// RMSNorm over a vector type (simd.h): norm_scalar.cc is the definition.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

template <class V>
SEDGE_INLINE inline void rms_norm(const NormArgs& n) {
  using F = typename V::F;
  F sums[V::kParts];
  unroll<V::kParts>([&](auto p) SEDGE_INLINE { sums[p] = V::zero(); });
  const std::size_t whole = n.count / kLanes * kLanes;
  const auto add_squares = [&](const float* x) SEDGE_INLINE {
    unroll<V::kParts>([&](auto p) SEDGE_INLINE {
      const F value = V::load(x + p * V::kWidth);
      sums[p] = V::fma(value, value, sums[p]);
    });
  };
  for (std::size_t i = 0; i < whole; i += kLanes) add_squares(n.x + i);
  if (whole < n.count) {
    const Padded<sizeof(float)> rest(n.x + whole, n.count - whole);
    add_squares(reinterpret_cast<const float*>(rest.bytes));
  }
  const float scale = 1.0f / V::sqrt1(fold<V>(sums) / static_cast<float>(n.count) + n.epsilon);
  std::size_t i = 0;
  for (; i + V::kWidth <= n.count; i += V::kWidth) {
    V::store(n.y + i, V::mul(V::mul(V::load(n.x + i), V::all(scale)), V::load(n.weight + i)));
  }
  for (; i < n.count; ++i) n.y[i] = n.x[i] * scale * n.weight[i];
}

}  // namespace sedge::kernels::simd
