// Products of several tokens with packed weights (pack.h) by an instruction that multiplies two rows by two tokens,
// eight columns of each (ARM's smmla): matmul_scalar.cc is the definition.
//
// The problem: it makes twice the products of a dot product of four, but wants eight columns of a row side by side,
// where a plane of pack.h has four; and decoding weights into that form takes more than the products of two tokens. The
// idea: two neighbouring planes, zipped by fours of columns, are that form. So the weights of a group of rows are
// decoded once for up to 96 tokens, a run of 256 columns at a time, into 4 KiB that stay in the first cache. Four
// tokens' outputs take the run's sums while they are in registers. A register of sums has (row 0, token 0), (row 0,
// token 1), (row 1, token 0), (row 1, token 1): two of them, unzipped, are four rows of each token, and each output
// goes on with its own chain of multiply-adds. The last of an odd number of tokens is its own neighbour: both lanes
// compute the same.
// Rejected: pairs in the tiles of packed_simd.h, where each four tokens would decode and zip the weights again; and the
// way of tiles_simd.h, whose sums pass through memory before they meet the outputs.
//
// An instruction set supplies V (simd.h) of four floats, Bytes (packed_simd.h) of sixteen codes with store(to, B), and
//   levels<C>(B) -> B                 the integers that codes stand for, as signed bytes
//   rows_0_1(a, b), rows_2_3(a, b)    of four columns of four rows, and of the next four: eight columns of two rows
//   pair(x0, x1) -> B                 eight quants of one token, then of another
//   A; none(), dot(A, rows, pair)     sums of two rows by two tokens
//   total<token>(A, A) -> V::F        of rows 0 and 1, then 2 and 3
#pragma once

#include <algorithm>

#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::simd {

template <class Set, BlockCoding C>
class PairProducts {
 public:
  static void run(const MatmulArgs& m) {
    PairProducts products(m);
    for (std::size_t row = 0; row < m.rows; row += kPackedRows) {
      for (std::size_t token = 0; token < m.tokens; token += kTokens) products.multiply_part(row, token);
    }
  }

 private:
  using V = typename Set::V;
  using F = typename V::F;
  using Bytes = typename Set::Bytes;
  using B = typename Bytes::B;
  static_assert(V::kParts == 4 && sizeof(B) == 16);

  static constexpr std::size_t kSpans = spans_of(C);
  static constexpr std::size_t kBlockSteps = C.values / kPackedCols;  // a step: 32 columns
  static constexpr std::size_t kRunSteps = 8;
  static constexpr std::size_t kEights = kPackedCols / 8;  // of columns, in a step
  static constexpr std::size_t kTokens = 96;  // decoded weights serve so many: the engine's chunk of a prompt
  static constexpr std::size_t kTile = 4;     // tokens: their sums take half of 32 registers

  explicit PairProducts(const MatmulArgs& m) : m_(m) {}

  // All columns of a group of rows and up to 96 tokens.
  void multiply_part(std::size_t row, std::size_t token) {
    const std::size_t tokens = std::min(kTokens, m_.tokens - token), steps = m_.cols / kPackedCols;
    __builtin_memset(y_, 0, (tokens + kTile - 1) / kTile * kTile * sizeof y_[0]);
    for (std::size_t step = 0; step < steps; step += kRunSteps) {
      const std::size_t count = std::min(kRunSteps, steps - step);
      decode(m_.weights + row * m_.row_bytes, step, count);
      for (std::size_t t = 0; t < tokens; t += kTile) {
        tokens - t > 2 ? multiply<kTile>(token, t, step, count) : multiply<2>(token, t, step, count);
      }
    }
    const std::size_t rows = std::min(kPackedRows, m_.rows - row);
    for (std::size_t t = 0; t < tokens; ++t) {
      __builtin_memcpy(m_.y + (token + t) * m_.y_stride + row, y_[t], rows * sizeof(float));
    }
  }

  // The weights' side of a run, of the group that lies sixteen rows side by side from `group` on.
  void decode(const std::uint8_t* group, std::size_t step, std::size_t count) {
    if constexpr (find_book(C.type) != nullptr) {  // a run is of one block
      static_assert(kBlockSteps == kRunSteps);
      WordWeaver<Bytes, C>::weave(group + step / kBlockSteps * packed_block_bytes(C), 0, count, woven_);
      group = woven_, step = 0;
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t* const header = group + (step + i) / kBlockSteps * block_bytes(C);
      const std::uint8_t* const at = header + header_bytes(C) + (step + i) % kBlockSteps * step_bytes(C);
      unroll<V::kParts>([&](auto part) SEDGE_INLINE {
        unroll<kEights>([&](auto eight) SEDGE_INLINE {
          constexpr std::size_t half = eight / 2, four = eight % 2 * 2;
          const std::uint8_t* const planes = at + subs_bytes(C) + part * sizeof(B);
          const B a = Set::template levels<C>(load_codes<Bytes, C, half, four>(planes));
          const B b = Set::template levels<C>(load_codes<Bytes, C, half, four + 1>(planes));
          Bytes::store(weights_[i][eight][part][0], Set::rows_0_1(a, b));
          Bytes::store(weights_[i][eight][part][1], Set::rows_2_3(a, b));
        });
        unroll<kSpans>([&](auto span) SEDGE_INLINE {
          constexpr std::size_t first = part * V::kWidth;
          V::store(scale_[i][span] + first, load_scale<V, C, span>(header, at, first));
          if constexpr (C.has_min) V::store(min_[i][span] + first, load_minimum<V, C, span>(header, at, first));
        });
      });
    }
  }

  // T tokens' side of a run, and their outputs.
  template <std::size_t T>
  struct Tile {
    F y[V::kParts][T];
    const std::int8_t* x[T];
    const float* scales[T];
    const std::int32_t* sums[T];
  };

  // Outputs of tokens `token` + `t` and the next get a run's sums.
  template <std::size_t T>
  void multiply(std::size_t token, std::size_t t, std::size_t step, std::size_t count) {
    Tile<T> tile;
    unroll<T>([&](auto i) SEDGE_INLINE {
      const std::size_t at = std::min(token + t + i, m_.tokens - 1) * (m_.cols / kPackedCols) + step;
      tile.x[i] = m_.quants + at * kPackedCols, tile.scales[i] = m_.scales + at, tile.sums[i] = m_.sums + 2 * at;
    });
    unroll<V::kParts * T>([&](auto i)
                              SEDGE_INLINE { tile.y[i / T][i % T] = V::load(y_[t + i % T] + i / T * V::kWidth); });
    for (std::size_t i = 0; i < count; ++i) {
      unroll<kSpans>([&](auto span) SEDGE_INLINE { add<T, span>(tile, i); });
      unroll<T>([&](auto n) SEDGE_INLINE { tile.x[n] += kPackedCols, ++tile.scales[n], tile.sums[n] += 2; });
    }
    unroll<V::kParts * T>([&](auto i)
                              SEDGE_INLINE { V::store(y_[t + i % T] + i / T * V::kWidth, tile.y[i / T][i % T]); });
  }

  // One sub-block.
  template <std::size_t T, std::size_t span>
  SEDGE_INLINE void add(Tile<T>& tile, std::size_t step) const {
    typename Set::A sums[V::kParts][T / 2][2];
    unroll<V::kParts * T>([&](auto i) SEDGE_INLINE { sums[i / T][i % T / 2][i % 2] = Set::none(); });
    unroll<kEights / kSpans>([&](auto i) SEDGE_INLINE {
      constexpr std::size_t eight = span * kEights / kSpans + i;
      B pairs[T / 2];
      unroll<T / 2>(
          [&](auto p) SEDGE_INLINE { pairs[p] = Set::pair(tile.x[2 * p] + 8 * eight, tile.x[2 * p + 1] + 8 * eight); });
      unroll<V::kParts * 2>([&](auto w) SEDGE_INLINE {
        const B rows = Bytes::load(weights_[step][eight][w / 2][w % 2]);
        unroll<T / 2>([&](auto p)
                          SEDGE_INLINE { sums[w / 2][p][w % 2] = Set::dot(sums[w / 2][p][w % 2], rows, pairs[p]); });
      });
    });
    unroll<V::kParts>([&](auto part) SEDGE_INLINE {
      const F scale = V::load(scale_[step][span] + part * V::kWidth);
      unroll<T>([&](auto t) SEDGE_INLINE {
        const auto& of = sums[part][t / 2];
        F& y = tile.y[part][t];
        y = V::fma(V::mul(scale, V::all(*tile.scales[t])), Set::template total<t % 2>(of[0], of[1]), y);
      });
    });
    if constexpr (C.has_min) add_minimum<T, span>(tile, step);
  }

  template <std::size_t T, std::size_t span>
  SEDGE_INLINE void add_minimum(Tile<T>& tile, std::size_t step) const {
    unroll<T>([&](auto t) SEDGE_INLINE {
      const std::int32_t sum = kSpans == 2 ? tile.sums[t][span] : tile.sums[t][0] + tile.sums[t][1];
      const F least = V::all(*tile.scales[t] * static_cast<float>(sum));
      unroll<V::kParts>([&](auto part) SEDGE_INLINE {
        tile.y[part][t] = V::fma(V::load(min_[step][span] + part * V::kWidth), least, tile.y[part][t]);
      });
    });
  }

  const MatmulArgs& m_;
  alignas(64) std::uint8_t woven_[find_book(C.type) != nullptr ? block_bytes(C) : 1];  // words, looked up
  alignas(64) std::uint8_t weights_[kRunSteps][kEights][V::kParts][2][16];
  alignas(64) float scale_[kRunSteps][kSpans][kPackedRows];
  alignas(64) float min_[kRunSteps][kSpans][kPackedRows];
  alignas(64) float y_[kTokens][kPackedRows];
};

}  // namespace sedge::kernels::simd
