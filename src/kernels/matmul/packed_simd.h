// Products with packed weights (pack.h) over a vector type (simd.h): matmul_scalar.cc is the definition.
//
// A tile is G groups of sixteen rows by T tokens, each output in a lane of its own. For every 32 columns the products
// of each sub-block are summed as integers, which is exact in any order, then one multiply-add takes the sum to the
// output's chain. The larger the tile, the more products feed on each load; how large is what the set's registers hold.
// What differs between formats (blocks.h) is known when this is compiled: planes, scales and minima that a format does
// not have cost nothing.
//
// Besides V, an instruction set supplies Bytes, registers of codes:
//   B; load(at), with(B, mask), join(B, B), left<n>(B), right<n>(B)
//   kBitsStay                  whether shifted bits stay in their byte; else a mask follows
// and Products<C>, how it multiplies four codes of every row by four quants of a token:
//   W, X, A                    registers of weights, of a token's four quants spread out, of sums
//   kTileGroups, kTileTokens   a tile's size
//   operand(B) -> W            of codes
//   spread(x), start(sum), dot(A, W, X), total(A, sum) -> V::F
//                              where `sum`, of the token's quants, takes off what operand() left added to the levels
// and where dot() itself picks four quants out of sixteen, pick<step>(sixteen) -> X instead of spread().
#pragma once

#include "kernels/kernels.h"
#include "kernels/matmul/words_simd.h"
#include "kernels/pack/pack.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

// Of each byte the bits of `mask`, after a shift to the right.
template <class Bytes, std::size_t shift, std::uint8_t mask>
SEDGE_INLINE inline typename Bytes::B field(typename Bytes::B bytes) {
  const typename Bytes::B shifted = Bytes::template right<shift>(bytes);
  if constexpr (Bytes::kBitsStay && 0xFF >> shift == mask) {
    return shifted;
  } else {
    return Bytes::with(shifted, mask);
  }
}

// Sixteen rows' codes of columns 16·half + 4·step and the next three.
template <class Bytes, BlockCoding C, std::size_t half, std::size_t step>
SEDGE_INLINE inline typename Bytes::B load_codes(const std::uint8_t* planes) {
  using B = typename Bytes::B;
  constexpr std::size_t kLow = low_bits(C), kLowPlanes = low_planes(C);
  B low;
  if constexpr (kLow == 8) {
    return Bytes::load(planes + kPlane * (4 * half + step));
  } else if constexpr (kLow == 4) {
    low = field<Bytes, 4 * half, 0x0F>(Bytes::load(planes + kPlane * step));
  } else {
    low = field<Bytes, 2 * step, 0x03>(Bytes::load(planes + kPlane * half));
  }
  if constexpr (high_planes(C) == 0) {
    return low;
  } else {
    constexpr bool kTwo = high_planes(C) == 2;
    constexpr std::size_t kAt = kTwo ? 2 * step : 4 * half + step;  // where the upper bits are, and should be at kLow
    const B plane = Bytes::load(planes + kPlane * (kLowPlanes + (kTwo ? half : 0)));
    constexpr std::uint8_t kMask = (kTwo ? 3 : 1) << kLow;
    if constexpr (kAt < kLow) {
      return Bytes::join(low, Bytes::with(Bytes::template left<kLow - kAt>(plane), kMask));
    } else {
      return Bytes::join(low, Bytes::with(Bytes::template right<kAt - kLow>(plane), kMask));
    }
  }
}

// What multiplies the sums of sub-block `span` of 32 columns, for row `part` and the next V::kWidth; and their minima.
template <class V, BlockCoding C, std::size_t span>
SEDGE_INLINE inline typename V::F load_scale(const std::uint8_t* header, const std::uint8_t* at, std::size_t part) {
  typename V::F d;
  if constexpr (C.bf16_scale) {
    d = V::load_bf16(header + part * 2);
  } else {
    d = V::load_f16(header + part * 2);
  }
  if constexpr (C.halvings != 0) d = V::mul(d, V::all(C.unit()));
  if constexpr (C.sub != 0) d = V::mul(d, V::load_i8(at + span * kPackedRows + part));
  return d;
}

template <class V, BlockCoding C, std::size_t span>
SEDGE_INLINE inline typename V::F load_minimum(const std::uint8_t* header, const std::uint8_t* at, std::size_t part) {
  const typename V::F m = V::load_f16(header + kPackedRows * 2 + part * 2);
  if constexpr (C.sub == 0) {
    return m;
  } else {
    return V::negate(V::mul(m, V::load_i8(at + (spans_of(C) + span) * kPackedRows + part)));
  }
}

// What a tile multiplies: blocks `begin` to `end` of a row's, the first of them at `weights`.
struct Blocks {
  const std::uint8_t* weights;
  std::size_t begin, end;
};

template <class V, class Bytes, class Q, BlockCoding C, std::size_t G, std::size_t T>
struct PackedTile {
  using F = typename V::F;
  static constexpr std::size_t kRegisters = G * V::kParts;
  static constexpr std::size_t kSpans = spans_of(C);
  static constexpr std::size_t kHalves = 2 / kSpans;  // of a span: sixteen columns each
  static constexpr std::size_t kHeader = header_bytes(C), kSubs = subs_bytes(C), kStep = step_bytes(C);
  static constexpr std::size_t kBlockSteps = C.values / kPackedCols;
  static constexpr std::size_t kStepShare = (kHeader + kBlockSteps * kStep) / kBlockSteps;  // bytes of a block

  F y[kRegisters][T];
  const std::uint8_t* header[G];  // of the block
  const std::uint8_t* at[G];      // of its present 32 columns
  const std::int8_t* x[T];
  const float* scales[T];
  const std::int32_t* sums[T];  // two for 32 columns

  SEDGE_INLINE static constexpr std::size_t part(std::size_t r) { return r % V::kParts * V::kWidth; }

  template <std::size_t span>
  SEDGE_INLINE std::int32_t sum_of(std::size_t t) const {
    if constexpr (kSpans == 2) {
      return sums[t][span];
    } else {
      return sums[t][0] + sums[t][1];
    }
  }

  // Of sixteen quants four: 4·step and the next three.
  template <std::size_t step>
  SEDGE_INLINE static auto four_of(const std::int8_t* sixteen) {
    if constexpr (requires { Q::template pick<step>(sixteen); }) {
      return Q::template pick<step>(sixteen);
    } else {
      return Q::spread(sixteen + 4 * step);
    }
  }

  template <std::size_t span>
  SEDGE_INLINE void add_span() {
    typename Q::A acc[kRegisters][T];
    std::int32_t sum[T];
    unroll<T>([&](auto t) SEDGE_INLINE {
      sum[t] = sum_of<span>(t);
      const typename Q::A start = Q::start(sum[t]);
      unroll<kRegisters>([&](auto r) SEDGE_INLINE { acc[r][t] = start; });
    });
    unroll<4 * kHalves>([&](auto i) SEDGE_INLINE {
      constexpr std::size_t step = i / kHalves, half = span + i % kHalves;
      typename Q::W weights[kRegisters];
      unroll<kRegisters>([&](auto r) SEDGE_INLINE {
        const std::uint8_t* const planes = at[r / V::kParts] + kSubs + part(r) * 4;
        weights[r] = Q::operand(load_codes<Bytes, C, half, step>(planes));
      });
      unroll<T>([&](auto t) SEDGE_INLINE {
        const auto four = four_of<step>(x[t] + half * 16);
        unroll<kRegisters>([&](auto r) SEDGE_INLINE { acc[r][t] = Q::dot(acc[r][t], weights[r], four); });
      });
    });
    unroll<kRegisters>([&](auto r) SEDGE_INLINE {
      const F weight = load_scale<V, C, span>(header[r / V::kParts], at[r / V::kParts], part(r));
      unroll<T>([&](auto t) SEDGE_INLINE {
        y[r][t] = V::fma(V::mul(weight, V::all(*scales[t])), Q::total(acc[r][t], sum[t]), y[r][t]);
      });
      if constexpr (C.has_min) {
        const F min = load_minimum<V, C, span>(header[r / V::kParts], at[r / V::kParts], part(r));
        unroll<T>([&](auto t) SEDGE_INLINE {
          y[r][t] = V::fma(min, V::all(*scales[t] * static_cast<float>(sum[t])), y[r][t]);
        });
      }
    });
  }

  // Calls move(lanes of memory, register) for every register of y.
  template <class Move>
  SEDGE_INLINE void for_outputs(const MatmulArgs& m, std::size_t row, std::size_t token, bool write, const Move& move) {
    unroll<G * T>([&](auto i) SEDGE_INLINE {
      constexpr std::size_t g = i / T, t = i % T;
      const std::size_t first = row + g * kPackedRows;
      float* const at_y = m.y + (token + t) * m.y_stride + first;
      const auto move_all = [&](float* lanes) SEDGE_INLINE {
        unroll<V::kParts>([&](auto p) SEDGE_INLINE { move(lanes + p * V::kWidth, y[g * V::kParts + p][t]); });
      };
      if (first + kPackedRows <= m.rows) return move_all(at_y);
      float all[kPackedRows];
      const std::size_t bytes = (m.rows - first) * sizeof(float);
      if (!write) __builtin_memcpy(all, at_y, bytes);
      move_all(all);
      if (write) __builtin_memcpy(at_y, all, bytes);
    });
  }

  // Outputs of the tile, as far as `part` goes; those of words go on from where the block before left them.
  SEDGE_INLINE static void run(const MatmulArgs& m, std::size_t row, std::size_t token, const Blocks& part) {
    PackedTile tile;
    const std::size_t steps = m.cols / kPackedCols, done = part.begin * kBlockSteps;
    unroll<G>([&](auto g) SEDGE_INLINE { tile.at[g] = part.weights + g * kPackedRows * m.row_bytes; });
    unroll<T>([&](auto t) SEDGE_INLINE {
      tile.x[t] = m.quants + (token + t) * m.cols + done * kPackedCols;
      tile.scales[t] = m.scales + (token + t) * steps + done;
      tile.sums[t] = m.sums + ((token + t) * steps + done) * 2;
    });
    unroll<kRegisters * T>([&](auto i) SEDGE_INLINE { tile.y[i / T][i % T] = V::zero(); });
    if constexpr (find_book(C.type) != nullptr) {
      if (done != 0) {
        tile.for_outputs(m, row, token, false, [](const float* from, F& f) SEDGE_INLINE { f = V::load(from); });
      }
    }
    for (std::size_t b = part.end - part.begin; b > 0; --b) {
      unroll<G>([&](auto g) SEDGE_INLINE { tile.header[g] = tile.at[g], tile.at[g] += kHeader; });
      for (std::size_t i = 0; i < kBlockSteps; ++i) {
        if constexpr (find_book(C.type) == nullptr) {  // words: what is looked up is near
          if (token == 0) unroll<G>([&](auto g) SEDGE_INLINE { ask_for<kStepShare>(tile.at[g] + kAhead); });
        }
        unroll<kSpans>([&](auto span) SEDGE_INLINE { tile.template add_span<span>(); });
        unroll<G>([&](auto g) SEDGE_INLINE { tile.at[g] += kStep; });
        unroll<T>([&](auto t) SEDGE_INLINE { tile.x[t] += kPackedCols, ++tile.scales[t], tile.sums[t] += 2; });
      }
    }
    tile.for_outputs(m, row, token, true, [](float* to, const F& f) SEDGE_INLINE { V::store(to, f); });
  }
};

// All tokens: T at a time, then what is left in smaller tiles. Few sizes: each is code for every format.
template <class V, class Bytes, class Q, BlockCoding C, std::size_t G, std::size_t T>
inline void packed_rows(const MatmulArgs& m, std::size_t row, std::size_t token, const Blocks& part) {
  for (; token + T <= m.tokens; token += T) PackedTile<V, Bytes, Q, C, G, T>::run(m, row, token, part);
  if constexpr (T > 1) {
    constexpr std::size_t kSmaller = T > 4 ? 4 : T > 2 ? 2 : 1;
    if (token < m.tokens) packed_rows<V, Bytes, Q, C, G, kSmaller>(m, row, token, part);
  }
}

// Words are looked up once for all tokens, a block of a group at a time.
template <class V, class Bytes, class Q, BlockCoding C>
inline void words_matmul(const MatmulArgs& m) {
  alignas(64) std::uint8_t woven[block_bytes(C)];
  for (std::size_t row = 0; row < m.rows; row += kPackedRows) {
    const std::uint8_t* packed = m.weights + row * m.row_bytes;
    for (std::size_t b = 0; b < m.cols / C.values; ++b, packed += packed_block_bytes(C)) {
      WordWeaver<Bytes, C>::weave(packed, 0, C.values / kPackedCols, woven);
      packed_rows<V, Bytes, Q, C, 1, Q::kTileTokens>(m, row, 0, {woven, b, b + 1});
    }
  }
}

template <class V, class Bytes, class Q, BlockCoding C>
inline void packed_matmul(const MatmulArgs& m) {
  constexpr std::size_t kGroups = Q::kTileGroups, kTokens = Q::kTileTokens;
  const auto all = [&](std::size_t row) { return Blocks{m.weights + row * m.row_bytes, 0, m.cols / C.values}; };
  std::size_t row = 0;
  if constexpr (kGroups > 1) {
    for (; m.tokens > 1 && row + (kGroups - 1) * kPackedRows < m.rows; row += kGroups * kPackedRows) {
      packed_rows<V, Bytes, Q, C, kGroups, kTokens>(m, row, 0, all(row));
    }
  }
  constexpr std::size_t kAlone = kGroups > 1 ? 2 : kTokens;  // the last group of an odd number is rare
  for (; row < m.rows; row += kPackedRows) packed_rows<V, Bytes, Q, C, 1, kAlone>(m, row, 0, all(row));
}

}  // namespace sedge::kernels::simd

// The products of every block format, for the file of an instruction set: its V, Bytes and Products are in scope.
#define SEDGE_BLOCK_MATMUL(name, Args, format)                      \
  void name(const Args& m) {                                        \
    constexpr BlockCoding kCoding = *find_coding(format);           \
    if constexpr (find_book(kCoding.type) != nullptr) {             \
      simd::words_matmul<V, Bytes, Products<kCoding>, kCoding>(m);  \
    } else {                                                        \
      simd::packed_matmul<V, Bytes, Products<kCoding>, kCoding>(m); \
    }                                                               \
  }
