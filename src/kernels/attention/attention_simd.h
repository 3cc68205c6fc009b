// Attention over a vector type (simd.h): attention_scalar.cc is the definition.
//
// Queries of several tokens and heads go through the keys and values together: a register of sixteen keys' dimension d
// meets dimension d of every query, so that sixteen scores grow side by side and nothing is summed across; then a value
// is loaded once for several queries. What queries of later tokens see beyond the first goes one query at a time.
// Keys and values of a long text come from far: a block of them meets all queries before the next one is fetched.
#pragma once

#include <bit>

#include "kernels/activation/activation_simd.h"
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

// How keys and values are kept (cache.h): load() is a register of keys' or values' numbers, of kBytes each, whose bytes
// hold those of `part` as well as of kParts - 1 others.
template <class T>
struct KeptPlain {
  static constexpr std::size_t kBytes = sizeof(T), kParts = 1;
  static constexpr bool kScaled = false;
  SEDGE_INLINE static std::size_t row_bytes(std::size_t head_dim) { return head_dim * kBytes; }
  SEDGE_INLINE static T read(const std::uint8_t* at) {
    T value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
  }
};
template <class V>
struct KeptF32 : KeptPlain<float> {
  SEDGE_INLINE static typename V::F load(const std::uint8_t* at, std::size_t) { return V::load_f32(at); }
  SEDGE_INLINE static float load1(const std::uint8_t* at) { return read(at); }
};
template <class V>
struct KeptF16 : KeptPlain<std::uint16_t> {
  SEDGE_INLINE static typename V::F load(const std::uint8_t* at, std::size_t) { return V::load_f16(at); }
  SEDGE_INLINE static float load1(const std::uint8_t* at) { return V::widen1(read(at)); }
};
// Blocks of a scale and kPart bytes, each of which has a number of every part.
template <class V, class Block>
struct KeptBlocks {
  static constexpr std::size_t kBytes = 1, kBlock = kQ8Values, kScaleBytes = 2, kBlockBytes = sizeof(Block);
  static constexpr std::size_t kPart = kBlockBytes - kScaleBytes, kParts = kBlock / kPart;
  static constexpr bool kScaled = true;
  SEDGE_INLINE static std::size_t row_bytes(std::size_t head_dim) { return head_dim / kBlock * kBlockBytes; }
  SEDGE_INLINE static float scale(const std::uint8_t* row, std::size_t block) {
    std::uint16_t value;
    __builtin_memcpy(&value, row + block * kBlockBytes, sizeof value);
    return V::widen1(value);
  }
};
template <class V>
struct KeptQ8 : KeptBlocks<V, BlockQ8_0> {
  SEDGE_INLINE static typename V::F load(const std::uint8_t* at, std::size_t) { return V::load_i8(at); }
};
template <class V>
struct KeptQ4 : KeptBlocks<V, BlockQ4_0> {
  SEDGE_INLINE static typename V::F load(const std::uint8_t* at, std::size_t part) { return V::load_i4(at, part); }
};

SEDGE_INLINE inline void fill(float* from, float* to, float value) {
  for (; from != to; ++from) *from = value;
}

// Where each query, its scores and its sums lie: found once, since each needs a division.
struct Queries {
  explicit Queries(const AttentionArgs& a) : count(a.tokens * a.group) {
    for (std::size_t i = 0; i < count; ++i) {
      q[i] = a.query(i), scores[i] = a.scores + i * a.score_stride, out[i] = a.output(i);
    }
  }
  std::size_t count;
  const float* q[kAttendQueriesMax];
  float* scores[kAttendQueriesMax];
  float* out[kAttendQueriesMax];
};

// Sums of Q queries with G groups of sixteen keys: chains that do not wait for each other.
template <class V, std::size_t Q, std::size_t G>
struct Scores {
  typename V::F sums[Q][G][V::kParts];

  SEDGE_INLINE Scores() {
    for_each([](typename V::F& sum, auto, auto, auto) SEDGE_INLINE { sum = V::zero(); });
  }
  template <class Visit>
  SEDGE_INLINE void for_each(Visit visit) {
    unroll<Q>([&](auto i) SEDGE_INLINE {
      unroll<G>([&](auto g)
                    SEDGE_INLINE { unroll<V::kParts>([&](auto p) SEDGE_INLINE { visit(sums[i][g][p], i, g, p); }); });
    });
  }
};

// Adds to sums what dimensions [d, d + count) of the keys, one part, give with the queries; a group lies `stride` bytes
// behind the one before. `ahead`: later keys are asked for (simd.h).
template <class V, class K, std::size_t Q, std::size_t G>
SEDGE_INLINE inline void add_products(const float* const (&q)[Q], const std::uint8_t* keys, std::size_t stride,
                                      std::size_t part, std::size_t d, std::size_t count, bool ahead,
                                      Scores<V, Q, G>& scores) {
  for (const std::size_t end = d + count; d < end; ++d, keys += kLanes * K::kBytes) {
    if (ahead && d % (kLine / (kLanes * K::kBytes)) == 0) {
      unroll<G>([&](auto g) SEDGE_INLINE { ask_for<kLine>(keys + (g + G) * stride); });
    }
    typename V::F x[Q];
    unroll<Q>([&](auto i) SEDGE_INLINE { x[i] = V::all(q[i][d]); });
    unroll<G>([&](auto g) SEDGE_INLINE {
      typename V::F key[V::kParts];
      unroll<V::kParts>([&](auto p)
                            SEDGE_INLINE { key[p] = K::load(keys + g * stride + p * V::kWidth * K::kBytes, part); });
      unroll<Q>([&](auto i) SEDGE_INLINE {
        unroll<V::kParts>([&](auto p)
                              SEDGE_INLINE { scores.sums[i][g][p] = V::fma(x[i], key[p], scores.sums[i][g][p]); });
      });
    });
  }
}

// Scores of Q queries with the positions of groups [first, last) of sixteen, G groups at once.
template <class V, class K, std::size_t Q, std::size_t G>
SEDGE_INLINE inline void score(const AttentionArgs& a, const Queries& queries, std::size_t query, std::size_t first,
                               std::size_t last) {
  using F = typename V::F;
  const float* q[Q];
  float* to[Q];
  unroll<Q>([&](auto i) SEDGE_INLINE { q[i] = queries.q[query + i], to[i] = queries.scores[query + i]; });
  const std::size_t stride = kLanes * K::row_bytes(a.head_dim);
  for (; first + G <= last; first += G) {
    const std::uint8_t* keys = a.keys + first * stride;
    Scores<V, Q, G> all;
    if constexpr (K::kScaled) {
      for (std::size_t d = 0; d < a.head_dim; d += K::kBlock, keys += kLanes * K::kBlockBytes) {
        Scores<V, Q, G> block;
        unroll<K::kParts>([&](auto part) SEDGE_INLINE {
          add_products<V, K, Q, G>(q, keys + kLanes * K::kScaleBytes, stride, part, d + part * K::kPart, K::kPart,
                                   query == 0 && part == 0, block);
        });
        all.for_each([&](F& sum, auto i, auto g, auto p) SEDGE_INLINE {
          sum = V::fma(V::load_f16(keys + g * stride + p * V::kWidth * K::kScaleBytes), block.sums[i][g][p], sum);
        });
      }
    } else {
      add_products<V, K, Q, G>(q, keys, stride, 0, 0, a.head_dim, query == 0, all);
    }
    all.for_each([&](F& sum, auto i, auto g, auto p)
                     SEDGE_INLINE { V::store(to[i] + (first + g) * kLanes + p * V::kWidth, sum); });
  }
  if constexpr (G > 1) {
    if (first < last) score<V, K, Q, G / 2>(a, queries, query, first, last);
  }
}

// What queries are taken by after Q at a time: 8, 4, 3, 2, 1. Heads that share keys come in threes and sevens, too, and
// each key is widened for all of them.
constexpr std::size_t fewer(std::size_t q) { return q == 4 ? 3 : (q + 1) / 2; }

// All queries from `query` on, Q at a time: the fewer, the more groups at once, so that there are as many chains.
template <class V, class K, std::size_t Q, std::size_t G = 1>
SEDGE_INLINE inline void score_all(const AttentionArgs& a, const Queries& queries, std::size_t query, std::size_t first,
                                   std::size_t last) {
  for (; query + Q <= queries.count; query += Q) score<V, K, Q, G>(a, queries, query, first, last);
  if constexpr (Q > 1) {
    if (query < queries.count) score_all<V, K, fewer(Q), Q == 4 ? G : 2 * G>(a, queries, query, first, last);
  }
}

// The order of comparisons does not matter, so a register of them goes side by side.
template <class V>
SEDGE_INLINE inline float largest_of(const float* scores, std::size_t begin, std::size_t end) {
  float largest = scores[begin];
  std::size_t i = begin;
  if (end - begin >= 2 * V::kWidth) {
    typename V::F most = V::load(scores + begin);
    for (i += V::kWidth; i + V::kWidth <= end; i += V::kWidth) most = V::max(V::load(scores + i), most);
    largest = V::largest(most);
  }
  for (; i < end; ++i) largest = scores[i] > largest ? scores[i] : largest;
  return largest;
}

// Turns scores [begin, end) into exp(scale · (score - max)); returns 1 / their sum. Lanes count from position 0.
template <class V>
SEDGE_INLINE inline float softmax(float* scores, std::size_t begin, std::size_t end, float scale) {
  using F = typename V::F;
  const std::size_t first = begin / kLanes * kLanes, last = (end + kLanes - 1) / kLanes * kLanes;
  const float largest = largest_of<V>(scores, begin, end);
  fill(scores + first, scores + begin, largest);
  fill(scores + end, scores + last, largest);
  for (std::size_t i = first; i < last; i += V::kWidth) {
    V::store(scores + i, exp<V>(V::mul(V::sub(V::load(scores + i), V::all(largest)), V::all(scale))));
  }
  fill(scores + first, scores + begin, 0.0f);
  fill(scores + end, scores + last, 0.0f);
  F sums[V::kParts];
  unroll<V::kParts>([&](auto p) SEDGE_INLINE { sums[p] = V::zero(); });
  for (std::size_t i = first; i < last; i += kLanes) {
    unroll<V::kParts>([&](auto p) SEDGE_INLINE { sums[p] = V::add(sums[p], V::load(scores + i + p * V::kWidth)); });
  }
  return 1.0f / fold<V>(sums);
}

// Adds positions [begin, end) to the weighted sums of Q queries, for R registers of dimensions from d on, which begins
// a block or lies within one with all R of them.
template <class V, class K, std::size_t Q, std::size_t R>
SEDGE_INLINE inline void weigh(const AttentionArgs& a, const Queries& queries, std::size_t query, std::size_t begin,
                               std::size_t end, std::size_t d) {
  using F = typename V::F;
  const std::size_t row_bytes = K::row_bytes(a.head_dim);
  const float* scores[Q];
  F sums[Q][R];
  unroll<Q>([&](auto i) SEDGE_INLINE {
    scores[i] = queries.scores[query + i];
    unroll<R>([&](auto r) SEDGE_INLINE { sums[i][r] = V::load(queries.out[query + i] + d + r * V::kWidth); });
  });
  const std::uint8_t* row = a.values + begin * row_bytes;
  for (std::size_t p = begin; p < end; ++p, row += row_bytes) {
    if (query == 0) ask_for<R * V::kWidth * K::kBytes / K::kParts>(row + d * K::kBytes / K::kParts + kAhead);
    if constexpr (K::kScaled) {
      constexpr std::size_t kRegisters = K::kBlock / V::kWidth < R ? K::kBlock / V::kWidth : R;  // of one block
      const std::size_t first = kRegisters * V::kWidth == K::kBlock ? 0 : d % K::kBlock;
      unroll<R / kRegisters>([&](auto b) SEDGE_INLINE {
        const std::size_t block = d / K::kBlock + b;
        const float scale = K::scale(row, block);
        const std::uint8_t* const levels = row + block * K::kBlockBytes + K::kScaleBytes;
        F weights[Q];
        unroll<Q>([&](auto i) SEDGE_INLINE { weights[i] = V::all(scores[i][p] * scale); });
        unroll<kRegisters>([&](auto r) SEDGE_INLINE {
          const std::size_t at = first + r * V::kWidth;
          const F value = K::load(levels + at % K::kPart, at / K::kPart);
          unroll<Q>([&](auto i) SEDGE_INLINE {
            sums[i][b * kRegisters + r] = V::fma(weights[i], value, sums[i][b * kRegisters + r]);
          });
        });
      });
    } else {
      F values[R];
      unroll<R>([&](auto r) SEDGE_INLINE { values[r] = K::load(row + (d + r * V::kWidth) * K::kBytes, 0); });
      unroll<Q>([&](auto i) SEDGE_INLINE {
        const F weight = V::all(scores[i][p]);
        unroll<R>([&](auto r) SEDGE_INLINE { sums[i][r] = V::fma(weight, values[r], sums[i][r]); });
      });
    }
  }
  unroll<Q>([&](auto i) SEDGE_INLINE {
    unroll<R>([&](auto r) SEDGE_INLINE { V::store(queries.out[query + i] + d + r * V::kWidth, sums[i][r]); });
  });
}

// Dimensions from d on, R registers at a time, then fewer; returns where whole registers end.
template <class V, class K, std::size_t Q, std::size_t R>
SEDGE_INLINE inline std::size_t weigh_dims(const AttentionArgs& a, const Queries& queries, std::size_t query,
                                           std::size_t begin, std::size_t end, std::size_t d) {
  for (; d + R * V::kWidth <= a.head_dim; d += R * V::kWidth) weigh<V, K, Q, R>(a, queries, query, begin, end, d);
  if constexpr (R > 1) d = weigh_dims<V, K, Q, R / 2>(a, queries, query, begin, end, d);
  return d;
}

// All dimensions of Q queries, as many at a time as the set's registers hold.
template <class V, class K, std::size_t Q>
SEDGE_INLINE inline void weigh_row(const AttentionArgs& a, const Queries& queries, std::size_t query, std::size_t begin,
                                   std::size_t end) {
  std::size_t d = weigh_dims<V, K, Q, std::bit_floor(V::kTileDims / Q)>(a, queries, query, begin, end, 0);
  if constexpr (!K::kScaled) {  // blocks leave nothing
    for (; d < a.head_dim; ++d) {
      for (std::size_t i = query; i < query + Q; ++i) {
        float* const sum = queries.out[i] + d;
        for (std::size_t p = begin; p < end; ++p) {
          *sum = V::fma1(queries.scores[i][p], K::load1(a.values + (p * a.head_dim + d) * K::kBytes), *sum);
        }
      }
    }
  }
}

template <class V, class K, std::size_t Q>
SEDGE_INLINE inline void weigh_all(const AttentionArgs& a, const Queries& queries, std::size_t query, std::size_t begin,
                                   std::size_t end) {
  for (; query + Q <= queries.count; query += Q) weigh_row<V, K, Q>(a, queries, query, begin, end);
  if constexpr (Q > 1) {
    if (query < queries.count) weigh_all<V, K, fewer(Q)>(a, queries, query, begin, end);
  }
}

// A block's bytes: with the queries and their sums it stays in a core's first cache.
inline constexpr std::size_t kBlockBytes = std::size_t{16} << 10;

// Calls part(begin, end) for positions [begin, end), block by block; blocks end between groups of sixteen.
template <class K, class Part>
SEDGE_INLINE inline void in_blocks(std::size_t head_dim, std::size_t begin, std::size_t end, Part part) {
  const std::size_t groups = kBlockBytes / (kLanes * K::row_bytes(head_dim));
  const std::size_t step = (groups > 0 ? groups : 1) * kLanes;
  while (begin < end) {
    const std::size_t next = (begin / step + 1) * step;
    part(begin, next < end ? next : end);
    begin = next;
  }
}

template <class V, class K>
SEDGE_INLINE inline void attend(const AttentionArgs& a) {
  const Queries queries(a);
  const std::size_t last = a.end(a.tokens - 1);
  in_blocks<K>(a.head_dim, a.begin(0), last, [&](std::size_t from, std::size_t to) SEDGE_INLINE {
    score_all<V, K, V::kTileQueries>(a, queries, 0, from / kLanes, (to + kLanes - 1) / kLanes);
  });
  float normalise[kAttendQueriesMax] = {};
  for (std::size_t i = 0; i < queries.count; ++i) {
    const std::size_t token = i / a.group;
    float* const scores = queries.scores[i];
    const std::size_t begin = a.begin(token), end = a.end(token);
    if (a.cap > 0) softcap<V>(SoftcapArgs{scores + begin, end - begin, a.scale, a.cap});
    normalise[i] = softmax<V>(scores, begin, end, a.cap > 0 ? 1.0f : a.scale);
    fill(queries.out[i], queries.out[i] + a.head_dim, 0.0f);
  }
  // What all see together, between what only the first and what only the later ones see.
  const std::size_t end = a.positions, latest = a.begin(a.tokens - 1), begin = latest < end ? latest : end;
  for (std::size_t i = 0; i < queries.count; ++i) {
    if (a.begin(i / a.group) < begin) weigh_row<V, K, 1>(a, queries, i, a.begin(i / a.group), begin);
  }
  in_blocks<K>(a.head_dim, begin, end, [&](std::size_t from, std::size_t to) SEDGE_INLINE {
    weigh_all<V, K, V::kTileQueries>(a, queries, 0, from, to);
  });
  for (std::size_t i = 0; i < queries.count; ++i) {
    const std::size_t token = i / a.group;
    if (token > 0) weigh_row<V, K, 1>(a, queries, i, a.begin(token) > end ? a.begin(token) : end, a.end(token));
    float* const out = queries.out[i];
    std::size_t d = 0;
    for (; d + V::kWidth <= a.head_dim; d += V::kWidth) {
      V::store(out + d, V::mul(V::load(out + d), V::all(normalise[i])));
    }
    for (; d < a.head_dim; ++d) out[d] *= normalise[i];
  }
}

}  // namespace sedge::kernels::simd
