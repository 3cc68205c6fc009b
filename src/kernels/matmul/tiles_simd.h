// Products of many tokens with packed weights (pack.h) on registers that are small matrices (Intel AMX):
// matmul_scalar.cc is the definition.
//
// The problem: sixteen tokens meet sixteen rows in one instruction, but only their integer sums may be left to it: each
// sub-block has scales of its own, and each output one chain of multiply-adds. The idea: a plane of pack.h, decoded to
// bytes, is just what such an instruction wants as one row of its second operand. So the weights of two groups of rows
// are decoded once for up to 96 tokens, less what their levels have added, since both operands may be signed. A run of
// eight sub-blocks is multiplied into memory that stays in the first cache, then sixteen tokens' outputs take the run's
// sums while they are in registers: two loops that a processor overlaps, instead of one that waits for each tile to
// pass through memory. Tokens and rows that are missing are zeros and are not written.
//
// What bounds it, for 16 tokens by 16 rows by 32 columns (8192 products): a tile product takes 16 cycles, one a row of
// tokens, and so does storing its sums. A conversion, a scaling and a multiply-add a token are 48 instructions on two
// ports: 24 cycles. Half the operand of tokens (two groups share it), that of weights, the sums and the tokens' scales
// are 48 loads and three more, at two a cycle: 26. Prediction: 26 cycles, where vpdpbusd takes 88 (11 instructions a
// token on two ports), decoding apart: 3.4 times as fast; with minima 34 to 96 cycles, 2.8 times; with sub-blocks of 16
// columns 48 to 112, 2.3 times. The tile unit could do three times as much on sums of 64 columns: it waits for the
// scales. Measured: 1.4 to 1.6 times (adr/0034), 68 cycles, decoding and gathering included, where vpdpbusd takes 98.
// The prediction missed that the processor begins one instruction of 512 bits a cycle, not two, while tiles are in use:
// the 48 take 45 cycles (measured alone).
// Rejected: outputs in memory beside one sub-block at a time (a load and a store more for each conversion); unsigned
// weights whose offset leaves through the sums (a subtraction more for each conversion).
//
// An instruction set supplies V (simd.h) of one part, Bytes (packed_simd.h) with store(to, B), and
//   configure(n), release()     this thread's tiles: 0 to 3 sums, sixteen rows of 64 bytes; 4 and 5 tokens, sixteen
//                               rows of n bytes; 6 and 7 weights, n / 4 rows of 64 bytes
//   zero<i>(), load<i>(from, stride), store<i>(to, stride)         strides in bytes
//   dot<i, a, b>()              sums i += tokens a · weights b, signed bytes
//   levels<C>(B) -> B           the integers that codes stand for, as signed bytes
//   floats(sums) -> V::F        sixteen of them
#pragma once

#include <algorithm>

#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::simd {

template <class Set, BlockCoding C>
class TileProducts {
 public:
  static void run(const MatmulArgs& m) {
    TileProducts products(m);
    Set::configure(kSubCols);
    for (std::size_t row = 0; row < m.rows; row += kGroups * kPackedRows) {
      for (std::size_t token = 0; token < m.tokens; token += kTokens) products.multiply_part(row, token);
    }
    Set::release();
  }

 private:
  using V = typename Set::V;
  using F = typename V::F;
  static_assert(V::kParts == 1);

  static constexpr std::size_t kSpans = spans_of(C), kSubCols = kPackedCols / kSpans;
  static constexpr std::size_t kBlockSteps = C.values / kPackedCols;  // a step: 32 columns
  static constexpr std::size_t kRun = 8;                              // sub-blocks
  static constexpr std::size_t kRunSteps = kRun / kSpans, kRunCols = kRunSteps * kPackedCols;
  static constexpr std::size_t kTile = 16;    // tokens
  static constexpr std::size_t kTokens = 96;  // decoded weights serve so many: the engine's chunk of a prompt
  static constexpr std::size_t kGroups = 8;   // gathered tokens serve so many: their outputs take 48 KiB
  static constexpr std::size_t kPair = 2;     // groups that a tile of tokens is loaded for
  static constexpr std::size_t kPlanes = 8;   // of a step, decoded

  explicit TileProducts(const MatmulArgs& m) : m_(m) {}

  // All columns of up to eight groups and 96 tokens.
  void multiply_part(std::size_t row, std::size_t token) {
    const std::size_t groups = std::min(kGroups, (m_.rows - row + kPackedRows - 1) / kPackedRows);
    const std::size_t tokens = std::min(kTokens, m_.tokens - token), tiles = (tokens + kTile - 1) / kTile;
    const std::size_t steps = m_.cols / kPackedCols;
    for (std::size_t g = 0; g < groups; ++g) __builtin_memset(y_[g], 0, tiles * kTile * sizeof y_[g][0]);
    const std::size_t absent = tiles * kTile - tokens;
    __builtin_memset(quants_[tokens], 0, absent * sizeof quants_[0]);
    __builtin_memset(scales_[tokens], 0, absent * sizeof scales_[0]);
    __builtin_memset(least_[tokens], 0, absent * sizeof least_[0]);
    for (std::size_t step = 0; step < steps; step += kRunSteps) {
      const std::size_t count = std::min(kRunSteps, steps - step);
      gather(token, tokens, step, count);
      for (std::size_t g = 0; g < groups; g += kPair) {
        const std::size_t pair = std::min(kPair, groups - g);
        for (std::size_t i = 0; i < pair; ++i) {
          decode(m_.weights + (row + (g + i) * kPackedRows) * m_.row_bytes, step, count, i);
        }
        for (std::size_t tile = 0; tile < tiles; ++tile) {
          pair == 2 ? multiply<2>(tile, count * kSpans) : multiply<1>(tile, count * kSpans);
          for (std::size_t i = 0; i < pair; ++i) add(tile, i, count * kSpans, y_[g + i] + tile * kTile);
        }
      }
    }
    for (std::size_t g = 0; g < groups; ++g) write(g, row + g * kPackedRows, token, tokens);
  }

  // The tokens' side of a run of columns, close together: rows of a power of two apart would share a few lines of the
  // cache.
  void gather(std::size_t token, std::size_t tokens, std::size_t step, std::size_t count) {
    const auto copy = [&](auto steps) {
      for (std::size_t t = 0; t < tokens; ++t) {
        const std::size_t from = (token + t) * (m_.cols / kPackedCols) + step;
        copy_quants(t, m_.quants + from * kPackedCols, steps);
        for (std::size_t i = 0; i < steps; ++i) scales_[t][i] = m_.scales[from + i];
        if constexpr (C.has_min) {
          for (std::size_t i = 0; i < steps; ++i) find_least(t, i, m_.sums + 2 * (from + i));
        }
      }
    };
    if (count == kRunSteps) {
      copy(std::integral_constant<std::size_t, kRunSteps>{});
    } else {
      copy(count);
    }
  }

  SEDGE_INLINE void copy_quants(std::size_t t, const std::int8_t* quants, std::size_t count) {
    const auto* const from = reinterpret_cast<const std::uint8_t*>(quants);
    if (count == kRunSteps) {
      unroll<kRunCols / kPlane>([&](auto i) SEDGE_INLINE {
        Set::Bytes::store(quants_[t] + i * kPlane, Set::Bytes::load(from + i * kPlane));
      });
    } else {
      for (std::size_t i = 0; i < count * kPackedCols; i += kPackedCols) {
        __builtin_memcpy(quants_[t] + i, from + i, kPackedCols);
      }
    }
  }

  SEDGE_INLINE void find_least(std::size_t t, std::size_t step, const std::int32_t* sums) {
    if constexpr (kSpans == 2) {
      least_[t][2 * step] = scales_[t][step] * static_cast<float>(sums[0]);
      least_[t][2 * step + 1] = scales_[t][step] * static_cast<float>(sums[1]);
    } else {
      least_[t][step] = scales_[t][step] * static_cast<float>(sums[0] + sums[1]);
    }
  }

  // The weights' side, of one of the two groups: it lies sixteen rows side by side from `group` on.
  void decode(const std::uint8_t* group, std::size_t step, std::size_t count, std::size_t which) {
    if constexpr (find_book(C.type) != nullptr) {  // a run is of one block
      static_assert(kBlockSteps % kRunSteps == 0);
      group += step / kBlockSteps * packed_block_bytes(C), step %= kBlockSteps;
      WordWeaver<typename Set::Bytes, C>::weave(group, step, count, woven_);
      group = woven_;
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t* const header = group + (step + i) / kBlockSteps * block_bytes(C);
      const std::uint8_t* const at = header + header_bytes(C) + (step + i) % kBlockSteps * step_bytes(C);
      unroll<kPlanes>([&](auto plane) SEDGE_INLINE {
        const auto codes = load_codes<typename Set::Bytes, C, plane / 4, plane % 4>(at + subs_bytes(C));
        Set::Bytes::store(weights_[which][i * kPlanes + plane], Set::template levels<C>(codes));
      });
      unroll<kSpans>([&](auto span) SEDGE_INLINE {
        V::store(scale_[which][i * kSpans + span], load_scale<V, C, span>(header, at, 0));
        if constexpr (C.has_min) V::store(min_[which][i * kSpans + span], load_minimum<V, C, span>(header, at, 0));
      });
    }
  }

  // sums_[group, sub-block] = the tile's tokens · weights. Neighbours take turns with the registers.
  template <std::size_t Groups>
  void multiply(std::size_t tile, std::size_t subs) {
    for (std::size_t sub = 0; sub < subs; sub += 2) {
      unroll<2>([&](auto turn) SEDGE_INLINE {
        if (sub + turn < subs) multiply_sub<Groups, turn>(tile, sub + turn);
      });
    }
  }

  template <std::size_t Groups, std::size_t turn>
  SEDGE_INLINE void multiply_sub(std::size_t tile, std::size_t sub) {
    constexpr std::size_t kSumTile = 2 * turn, kTokenTile = 4 + turn, kWeightTile = 6;
    Set::template load<kTokenTile>(quants_[tile * kTile] + sub * kSubCols, kRunCols);
    unroll<Groups>([&](auto g) SEDGE_INLINE {
      Set::template zero<kSumTile + g>();
      Set::template load<kWeightTile + g>(weights_[g][sub * kPlanes / kSpans], kPlane);
      Set::template dot<kSumTile + g, kTokenTile, kWeightTile + g>();
    });
    unroll<Groups>([&](auto g) SEDGE_INLINE { Set::template store<kSumTile + g>(sums_[g][sub], sizeof(Row)); });
  }

  // y [16 tokens, 16 rows] gets a run's sums of one group.
  void add(std::size_t tile, std::size_t which, std::size_t subs, float (*y)[kPackedRows]) const {
    F out[kTile];
    unroll<kTile>([&](auto t) SEDGE_INLINE { out[t] = V::load(y[t]); });
    for (std::size_t sub = 0; sub < subs; ++sub) {
      const F weight = V::load(scale_[which][sub]);
      const float* const scales = scales_[tile * kTile] + sub / kSpans;
      unroll<kTile>([&](auto t) SEDGE_INLINE {
        const F scale = V::mul(weight, V::all(scales[t * kRunSteps]));
        out[t] = V::fma(scale, Set::floats(sums_[which][sub][t]), out[t]);
      });
      if constexpr (C.has_min) {
        const F min = V::load(min_[which][sub]);
        const float* const least = least_[tile * kTile] + sub;
        unroll<kTile>([&](auto t) SEDGE_INLINE { out[t] = V::fma(min, V::all(least[t * kRun]), out[t]); });
      }
    }
    unroll<kTile>([&](auto t) SEDGE_INLINE { V::store(y[t], out[t]); });
  }

  void write(std::size_t g, std::size_t row, std::size_t token, std::size_t tokens) const {
    const std::size_t rows = std::min(kPackedRows, m_.rows - row);
    for (std::size_t t = 0; t < tokens; ++t) {
      float* const to = m_.y + (token + t) * m_.y_stride + row;
      if (rows == kPackedRows) {
        V::store(to, V::load(y_[g][t]));
      } else {
        __builtin_memcpy(to, y_[g][t], rows * sizeof(float));
      }
    }
  }

  using Row = std::int32_t[kPackedRows];

  const MatmulArgs& m_;
  alignas(64) std::uint8_t woven_[find_book(C.type) != nullptr ? block_bytes(C) : 1];  // words, looked up
  alignas(64) std::uint8_t weights_[kPair][kRunSteps * kPlanes][kPlane];
  alignas(64) std::uint8_t quants_[kTokens][kRunCols];
  alignas(64) Row sums_[kPair][kRun][kTile];
  alignas(64) float scale_[kPair][kRun][kPackedRows];  // of weights
  alignas(64) float min_[kPair][kRun][kPackedRows];
  alignas(64) float y_[kGroups][kTokens][kPackedRows];
  float scales_[kTokens][kRunSteps];  // of tokens
  float least_[kTokens][kRun];        // what a minimum is multiplied by
};

}  // namespace sedge::kernels::simd
