// Matmul over a vector type (simd.h). The idea: a tile of R weight rows by T tokens keeps R·T sets of lanes in
// registers. One token takes several rows at a time, for independent chains; several take rows by three tokens, so
// that a weight is read once for three tokens and every load feeds two or more multiply-adds. A tile's size
// changes no sum: each output has lanes of its own.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

// How a float format's sixteen weights are loaded, a register at a time.
template <class V>
struct WeightF32 {
  static constexpr std::size_t kBytes = 4;
  SEDGE_INLINE static typename V::F load(const std::uint8_t* at) { return V::load_f32(at); }
};
template <class V>
struct WeightF16 {
  static constexpr std::size_t kBytes = 2;
  SEDGE_INLINE static typename V::F load(const std::uint8_t* at) { return V::load_f16(at); }
};
template <class V>
struct WeightBF16 {
  static constexpr std::size_t kBytes = 2;
  SEDGE_INLINE static typename V::F load(const std::uint8_t* at) { return V::load_bf16(at); }
};

template <class V, class Weight, std::size_t R, std::size_t T>
struct FloatTile {
  using F = typename V::F;
  F sums[R][T][V::kParts];

  SEDGE_INLINE void group(const std::uint8_t* const* w, const float* const* x) {
    unroll<V::kParts>([&](auto p) SEDGE_INLINE {
      F weight[R];
      unroll<R>([&](auto r) SEDGE_INLINE { weight[r] = Weight::load(w[r] + p * V::kWidth * Weight::kBytes); });
      unroll<T>([&](auto t) SEDGE_INLINE {
        const F value = V::load(x[t] + p * V::kWidth);
        unroll<R>([&](auto r) SEDGE_INLINE { sums[r][t][p] = V::fma(weight[r], value, sums[r][t][p]); });
      });
    });
  }

  // The group past the last whole one: copies with zeros behind.
  SEDGE_INLINE void tail(const std::uint8_t* const* w, const float* const* x, std::size_t count) {
    for (std::size_t r = 0; r < R; ++r) {
      const Padded<Weight::kBytes> weight(w[r], count);
      for (std::size_t t = 0; t < T; ++t) {
        const Padded<sizeof(float)> value(x[t], count);
        for (std::size_t p = 0; p < V::kParts; ++p) {
          const F a = Weight::load(weight.bytes + p * V::kWidth * Weight::kBytes);
          const F b = V::load_f32(value.bytes + p * V::kWidth * sizeof(float));
          sums[r][t][p] = V::fma(a, b, sums[r][t][p]);
        }
      }
    }
  }

  SEDGE_INLINE static void run(const MatmulArgs& m, std::size_t row, std::size_t token) {
    FloatTile tile;
    const std::uint8_t* w[R];
    const float* x[T];
    unroll<R>([&](auto r) SEDGE_INLINE { w[r] = m.weights + (row + r) * m.row_bytes; });
    unroll<T>([&](auto t) SEDGE_INLINE { x[t] = m.x + (token + t) * m.cols; });
    unroll<R * T * V::kParts>(
        [&](auto i) SEDGE_INLINE { tile.sums[i / V::kParts / T][i / V::kParts % T][i % V::kParts] = V::zero(); });
    constexpr std::size_t kGroupBytes = kLanes * Weight::kBytes;
    for (std::size_t c = m.cols / kLanes; c > 0; --c) {
      if (token == 0 && c % (kLine / kGroupBytes) == 0) {  // the rows behind these
        unroll<R>([&](auto r) SEDGE_INLINE { ask_for<kGroupBytes>(w[r] + R * m.row_bytes); });
      }
      tile.group(w, x);
      unroll<R>([&](auto r) SEDGE_INLINE { w[r] += kLanes * Weight::kBytes; });
      unroll<T>([&](auto t) SEDGE_INLINE { x[t] += kLanes; });
    }
    if (m.cols % kLanes != 0) tile.tail(w, x, m.cols % kLanes);
    unroll<R * T>([&](auto i) SEDGE_INLINE {
      m.y[(token + i % T) * m.y_stride + row + i / T] = fold<V>(tile.sums[i / T][i % T]);
    });
  }
};

// Weights that stay in the first-level cache while the tokens pass: half of the 32 KiB that small processors have.
inline constexpr std::size_t kBlockBytes = std::size_t{16} << 10;

// Covers [rows, tokens] with tiles: kTileRows by 3 while three tokens are left, a block of rows at a time, then
// kRowsAlone by 1.
template <class V, class Weight>
SEDGE_INLINE inline void matmul(const MatmulArgs& m) {
  constexpr std::size_t kRows = V::kTileRows, kAlone = V::kRowsAlone;
  const std::size_t threes = m.tokens / 3 * 3;
  const std::size_t block = kBlockBytes / (kRows * m.row_bytes) * kRows + kRows;
  for (std::size_t first = 0; threes > 0 && first < m.rows; first += block) {
    const std::size_t last = first + block < m.rows ? first + block : m.rows;
    for (std::size_t token = 0; token < threes; token += 3) {
      std::size_t row = first;
      for (; row + kRows <= last; row += kRows) FloatTile<V, Weight, kRows, 3>::run(m, row, token);
      for (; row < last; ++row) FloatTile<V, Weight, 1, 3>::run(m, row, token);
    }
  }
  for (std::size_t token = threes; token < m.tokens; ++token) {
    std::size_t row = 0;
    for (; row + kAlone <= m.rows; row += kAlone) FloatTile<V, Weight, kAlone, 1>::run(m, row, token);
    for (; row < m.rows; ++row) FloatTile<V, Weight, 1, 1>::run(m, row, token);
  }
}

}  // namespace sedge::kernels::simd
