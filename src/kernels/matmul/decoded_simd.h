// Products of several tokens with packed weights (pack.h), decoded once for all of them: matmul_scalar.cc is the
// definition.
//
// The problem: where a register holds four outputs, 32 registers have no room for tiles of more than three tokens, so
// that the tiles of packed_simd.h decode each weight again for every three; formats of many planes and sub-scales then
// spend more on that than on products. And some instructions want eight or sixteen columns of a row side by side, where
// a plane of pack.h has four. The idea: the weights of a group of rows are decoded once for up to 96 tokens, a run of
// 256 columns at a time, into the bytes and floats that the products want: 4 KiB that stay in the first cache. A pair
// of tokens goes through a run with its outputs and quants in registers; four rows' sums are finished before the next
// four begin. Each output goes on with its own chain of multiply-adds. The last of an odd number of tokens is its own
// neighbour: both lanes compute the same.
// Rejected: four tokens at a time, which spill a few registers, and a store is as long as two to four products; the way
// of tiles_simd.h, whose sums pass through memory before they meet the outputs.
//
// An instruction set supplies V (simd.h) of four floats, Bytes (packed_simd.h) of sixteen codes with store(to, B), and
//   levels<C>(B) -> B           the integers that codes stand for, as signed bytes
//   weave(B rows[4])            each four columns of four rows, all sixteen columns: into what add() wants
//   Pair; pair(x0, x1)          sixteen quants of one token, and of another
//   Sums; none()                of four rows by two tokens
//   add(Sums&, rows, Pair)      sixteen columns
//   total<token>(Sums) -> V::F
#pragma once

#include <algorithm>

#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::simd {

// With fewer tokens decoding takes what it saves. Modelled (docs/adr/0033) are, for sixteen rows by 32 columns with dot
// products, cycles of tiles and of decoded weights: five tokens of Q4_0 165 and 197, six 194 and 197, eight 262 and
// 245; of Q6_K 346 and 316, 396 and 316, 544 and 381.
inline constexpr std::size_t kDecodedMin = 6;

template <class Set, BlockCoding C>
class DecodedProducts {
 public:
  static void run(const MatmulArgs& m) {
    DecodedProducts products(m);
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
  static constexpr std::size_t kHalves = 2;   // of a step: sixteen columns each, four registers of four rows
  static constexpr std::size_t kTokens = 96;  // decoded weights serve so many: the engine's chunk of a prompt

  explicit DecodedProducts(const MatmulArgs& m) : m_(m) {}

  // All columns of a group of rows and up to 96 tokens.
  void multiply_part(std::size_t row, std::size_t token) {
    const std::size_t tokens = std::min(kTokens, m_.tokens - token), steps = m_.cols / kPackedCols;
    __builtin_memset(y_, 0, (tokens + 1) / 2 * 2 * sizeof y_[0]);
    for (std::size_t step = 0; step < steps; step += kRunSteps) {
      const std::size_t count = std::min(kRunSteps, steps - step);
      decode(m_.weights + row * m_.row_bytes, step, count);
      for (std::size_t t = 0; t < tokens; t += 2) multiply(token, t, step, count);
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
        unroll<kHalves>([&](auto half) SEDGE_INLINE {
          const std::uint8_t* const planes = at + subs_bytes(C) + part * sizeof(B);
          B rows[4];
          unroll<4>([&](auto four) SEDGE_INLINE {
            rows[four] = Set::template levels<C>(load_codes<Bytes, C, half, four>(planes));
          });
          Set::weave(rows);
          unroll<4>([&](auto r) SEDGE_INLINE { Bytes::store(weights_[i][part][half][r], rows[r]); });
        });
        unroll<kSpans>([&](auto span) SEDGE_INLINE {
          constexpr std::size_t first = part * V::kWidth;
          V::store(scale_[i][span] + first, load_scale<V, C, span>(header, at, first));
          if constexpr (C.has_min) V::store(min_[i][span] + first, load_minimum<V, C, span>(header, at, first));
        });
      });
    }
  }

  // Two tokens' side of a run, and their outputs.
  struct Tile {
    F y[2][V::kParts];
    const std::int8_t* x[2];
    const float* scales[2];
    const std::int32_t* sums[2];
  };

  // Outputs of tokens `token` + `t` and the next get a run's sums.
  void multiply(std::size_t token, std::size_t t, std::size_t step, std::size_t count) {
    Tile tile;
    unroll<2>([&](auto i) SEDGE_INLINE {
      const std::size_t at = std::min(token + t + i, m_.tokens - 1) * (m_.cols / kPackedCols) + step;
      tile.x[i] = m_.quants + at * kPackedCols, tile.scales[i] = m_.scales + at, tile.sums[i] = m_.sums + 2 * at;
      unroll<V::kParts>([&](auto part) SEDGE_INLINE { tile.y[i][part] = V::load(y_[t + i] + part * V::kWidth); });
    });
    for (std::size_t i = 0; i < count; ++i) {
      unroll<kSpans>([&](auto span) SEDGE_INLINE { add<span>(tile, i); });
      unroll<2>([&](auto n) SEDGE_INLINE { tile.x[n] += kPackedCols, ++tile.scales[n], tile.sums[n] += 2; });
    }
    unroll<2 * V::kParts>([&](auto i) SEDGE_INLINE {
      V::store(y_[t + i / V::kParts] + i % V::kParts * V::kWidth, tile.y[i / V::kParts][i % V::kParts]);
    });
  }

  // One sub-block.
  template <std::size_t span>
  SEDGE_INLINE void add(Tile& tile, std::size_t step) const {
    constexpr std::size_t kCount = kHalves / kSpans;
    typename Set::Pair pairs[kCount];
    unroll<kCount>([&](auto half) SEDGE_INLINE {
      pairs[half] = Set::pair(tile.x[0] + (span + half) * 16, tile.x[1] + (span + half) * 16);
    });
    unroll<V::kParts>([&](auto part) SEDGE_INLINE {
      typename Set::Sums sums = Set::none();
      unroll<kCount>([&](auto half) SEDGE_INLINE {
        B rows[4];
        unroll<4>([&](auto r) SEDGE_INLINE { rows[r] = Bytes::load(weights_[step][part][span + half][r]); });
        Set::add(sums, rows, pairs[half]);
      });
      const F scale = V::load(scale_[step][span] + part * V::kWidth);
      unroll<2>([&](auto t) SEDGE_INLINE {
        F& y = tile.y[t][part];
        y = V::fma(V::mul(scale, V::all(*tile.scales[t])), Set::template total<t>(sums), y);
      });
    });
    if constexpr (C.has_min) add_minimum<span>(tile, step);
  }

  template <std::size_t span>
  SEDGE_INLINE void add_minimum(Tile& tile, std::size_t step) const {
    unroll<2>([&](auto t) SEDGE_INLINE {
      const std::int32_t sum = kSpans == 2 ? tile.sums[t][span] : tile.sums[t][0] + tile.sums[t][1];
      const F least = V::all(*tile.scales[t] * static_cast<float>(sum));
      unroll<V::kParts>([&](auto part) SEDGE_INLINE {
        F& y = tile.y[t][part];
        y = V::fma(V::load(min_[step][span] + part * V::kWidth), least, y);
      });
    });
  }

  alignas(64) std::uint8_t woven_[find_book(C.type) != nullptr ? block_bytes(C) : 1];  // words, looked up
  const MatmulArgs& m_;
  alignas(64) float scale_[kRunSteps][kSpans][kPackedRows];
  alignas(64) float min_[kRunSteps][kSpans][kPackedRows];
  alignas(64) std::uint8_t weights_[kRunSteps][V::kParts][kHalves][4][sizeof(B)];
  alignas(64) float y_[kTokens][kPackedRows];
};

}  // namespace sedge::kernels::simd

// The products of every block format, for the file of an instruction set: its Decoded is in scope, and in `tiles` what
// fewer tokens take.
#define SEDGE_DECODED_MATMUL(name, Args, format)                  \
  void name(const Args& m) {                                      \
    if (m.tokens < simd::kDecodedMin) return tiles::name(m);      \
    simd::DecodedProducts<Decoded, *find_coding(format)>::run(m); \
  }
