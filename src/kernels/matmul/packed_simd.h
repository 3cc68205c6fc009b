// Products with packed weights (pack.h) over a vector type (simd.h): matmul_scalar.cc is the definition.
//
// A tile is G groups of sixteen rows by T tokens, each output in a lane of its own. For every block of 32 columns the
// products are summed as integers, which is exact in any order, then one multiply-add takes the sum to the output's
// chain. The larger the tile, the more products feed on each load; how large is what the set's registers hold.
//
// Besides V, an instruction set supplies Q8 and Q4: how it multiplies four bytes of every row by four of a token.
//   W, X, A              registers of weights, of a token's four bytes spread out, of sums
//   kOffset              what it leaves added to every weight; taken off through the token's sum
//   load(at, W[])        kGroups registers of weights, in the order of columns kStride apart
//   spread(x), start(offset), dot(A, W, X), sum(A, offset) -> V::F
#pragma once

#include "kernels/kernels.h"
#include "kernels/pack/pack.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

template <class V, class Q, std::size_t G, std::size_t T>
struct PackedTile {
  using F = typename V::F;
  static constexpr std::size_t kRegisters = G * V::kParts;
  static constexpr std::size_t kSteps = 8 / Q::kGroups;  // loads of a block
  static constexpr std::size_t kBlockBytes = kPackedRows * Q::kBlockBytes;

  F y[kRegisters][T];
  const std::uint8_t* w[G];
  const std::int8_t* x[T];
  const float* scales[T];
  const std::int32_t* sums[T];

  SEDGE_INLINE static std::size_t part(std::size_t r) { return r % V::kParts; }

  SEDGE_INLINE void block() {
    typename Q::A acc[kRegisters][T];
    unroll<T>([&](auto t) SEDGE_INLINE {
      const typename Q::A start = Q::start(*sums[t]);
      unroll<kRegisters>([&](auto r) SEDGE_INLINE { acc[r][t] = start; });
    });
    unroll<kSteps>([&](auto step) SEDGE_INLINE {
      typename Q::W weights[kRegisters][Q::kGroups];
      unroll<kRegisters>([&](auto r) SEDGE_INLINE {
        Q::load(w[r / V::kParts] + kPackedRows * 2 + step * 64 + part(r) * V::kWidth * 4, weights[r]);
      });
      unroll<Q::kGroups>([&](auto g) SEDGE_INLINE {
        unroll<T>([&](auto t) SEDGE_INLINE {
          const typename Q::X four = Q::spread(x[t] + step * 4 + g * 16);
          unroll<kRegisters>([&](auto r) SEDGE_INLINE { acc[r][t] = Q::dot(acc[r][t], weights[r][g], four); });
        });
      });
    });
    unroll<kRegisters>([&](auto r) SEDGE_INLINE {
      const F scale = V::load_f16(w[r / V::kParts] + part(r) * V::kWidth * 2);
      unroll<T>([&](auto t) SEDGE_INLINE {
        y[r][t] = V::fma(V::mul(scale, V::all(*scales[t])), Q::sum(acc[r][t], *sums[t]), y[r][t]);
      });
    });
  }

  SEDGE_INLINE void store(const MatmulArgs& m, std::size_t row, std::size_t token) {
    unroll<G * T>([&](auto i) SEDGE_INLINE {
      constexpr std::size_t g = i / T, t = i % T;
      const std::size_t first = row + g * kPackedRows;
      float* const to = m.y + (token + t) * m.y_stride + first;
      if (first + kPackedRows <= m.rows) {
        unroll<V::kParts>([&](auto p) SEDGE_INLINE { V::store(to + p * V::kWidth, y[g * V::kParts + p][t]); });
      } else {
        float all[kPackedRows];
        unroll<V::kParts>([&](auto p) SEDGE_INLINE { V::store(all + p * V::kWidth, y[g * V::kParts + p][t]); });
        __builtin_memcpy(to, all, (m.rows - first) * sizeof(float));
      }
    });
  }

  SEDGE_INLINE static void run(const MatmulArgs& m, std::size_t row, std::size_t token) {
    PackedTile tile;
    const std::size_t blocks = m.cols / 32;
    unroll<G>([&](auto g) SEDGE_INLINE { tile.w[g] = m.weights + (row + g * kPackedRows) * m.row_bytes; });
    unroll<T>([&](auto t) SEDGE_INLINE {
      tile.x[t] = m.quants + (token + t) * m.cols;
      tile.scales[t] = m.scales + (token + t) * blocks;
      tile.sums[t] = m.sums + (token + t) * blocks;
    });
    unroll<kRegisters * T>([&](auto i) SEDGE_INLINE { tile.y[i / T][i % T] = V::zero(); });
    for (std::size_t b = blocks; b > 0; --b) {
      tile.block();
      unroll<G>([&](auto g) SEDGE_INLINE { tile.w[g] += kBlockBytes; });
      unroll<T>([&](auto t) SEDGE_INLINE { tile.x[t] += 32, ++tile.scales[t], ++tile.sums[t]; });
    }
    tile.store(m, row, token);
  }
};

// One or two groups of rows with all tokens: T at a time, then what is left as one smaller tile.
template <class V, class Q, std::size_t G, std::size_t T>
inline void packed_rows(const MatmulArgs& m, std::size_t row, std::size_t token) {
  for (; token + T <= m.tokens; token += T) PackedTile<V, Q, G, T>::run(m, row, token);
  if constexpr (T > 1) {
    if (token < m.tokens) packed_rows<V, Q, G, T - 1>(m, row, token);
  }
}

template <class V, class Q>
inline void packed_matmul(const MatmulArgs& m) {
  constexpr std::size_t kGroups = Q::kTileGroups, kTokens = Q::kTileTokens;
  std::size_t row = 0;
  if (m.tokens > 1) {
    for (; row + (kGroups - 1) * kPackedRows < m.rows; row += kGroups * kPackedRows) {
      packed_rows<V, Q, kGroups, kTokens>(m, row, 0);
    }
  }
  for (; row < m.rows; row += kPackedRows) packed_rows<V, Q, 1, kTokens>(m, row, 0);
}

}  // namespace sedge::kernels::simd
