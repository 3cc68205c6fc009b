// Attention over a vector type (simd.h): attention_scalar.cc is the definition.
#pragma once

#include "kernels/activation/activation_simd.h"
#include "kernels/kernels.h"
#include "kernels/matmul/matmul_simd.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

// Turns scores into exp(scale · (score - max)); returns 1 / their sum. Writes zeros up to the next whole group.
template <class V>
SEDGE_INLINE inline float softmax(float* scores, std::size_t count, float scale) {
  using F = typename V::F;
  float largest = scores[0];
  for (std::size_t i = 1; i < count; ++i) largest = scores[i] > largest ? scores[i] : largest;
  const std::size_t padded = (count + kLanes - 1) / kLanes * kLanes;
  for (std::size_t i = count; i < padded; ++i) scores[i] = largest;
  for (std::size_t i = 0; i < padded; i += V::kWidth) {
    V::store(scores + i, exp<V>(V::mul(V::sub(V::load(scores + i), V::all(largest)), V::all(scale))));
  }
  for (std::size_t i = count; i < padded; ++i) scores[i] = 0.0f;
  F sums[V::kParts];
  unroll<V::kParts>([&](auto p) SEDGE_INLINE { sums[p] = V::zero(); });
  for (std::size_t i = 0; i < padded; i += kLanes) {
    unroll<V::kParts>([&](auto p) SEDGE_INLINE { sums[p] = V::add(sums[p], V::load(scores + i + p * V::kWidth)); });
  }
  return 1.0f / fold<V>(sums);
}

// `Registers` neighbouring dimensions of the weighted sum: that many chains run side by side.
template <class V, std::size_t Registers>
SEDGE_INLINE inline void weigh(const AttentionArgs& a, const float* scores, float normalise, std::size_t d,
                               float* out) {
  typename V::F sums[Registers];
  unroll<Registers>([&](auto i) SEDGE_INLINE { sums[i] = V::zero(); });
  const float* value = a.values + d;
  for (std::size_t p = 0; p < a.positions; ++p, value += a.head_dim) {
    const auto score = V::all(scores[p]);
    unroll<Registers>([&](auto i) SEDGE_INLINE { sums[i] = V::fma(score, V::load(value + i * V::kWidth), sums[i]); });
  }
  unroll<Registers>([&](auto i)
                        SEDGE_INLINE { V::store(out + d + i * V::kWidth, V::mul(sums[i], V::all(normalise))); });
}

template <class V>
SEDGE_INLINE inline void attend(const AttentionArgs& a) {
  matmul<V, WeightF32<V>>({.weights = reinterpret_cast<const std::uint8_t*>(a.keys),
                           .row_bytes = a.head_dim * sizeof(float),
                           .rows = a.positions,
                           .cols = a.head_dim,
                           .x = a.q,
                           .quants = nullptr,
                           .scales = nullptr,
                           .sums = nullptr,
                           .tokens = a.group,
                           .y = a.scores,
                           .y_stride = a.score_stride});
  for (std::size_t g = 0; g < a.group; ++g) {
    float* scores = a.scores + g * a.score_stride;
    float* out = a.out + g * a.head_dim;
    const float normalise = softmax<V>(scores, a.positions, a.scale);
    std::size_t d = 0;
    for (; d + 8 * V::kWidth <= a.head_dim; d += 8 * V::kWidth) weigh<V, 8>(a, scores, normalise, d, out);
    for (; d + 4 * V::kWidth <= a.head_dim; d += 4 * V::kWidth) weigh<V, 4>(a, scores, normalise, d, out);
    for (; d + V::kWidth <= a.head_dim; d += V::kWidth) weigh<V, 1>(a, scores, normalise, d, out);
    for (; d < a.head_dim; ++d) {
      float sum = 0.0f;
      for (std::size_t p = 0; p < a.positions; ++p) sum = V::fma1(scores[p], a.values[p * a.head_dim + d], sum);
      out[d] = sum * normalise;
    }
  }
}

}  // namespace sedge::kernels::simd
