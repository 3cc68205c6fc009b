// Attention over a vector type (simd.h): attention_scalar.cc is the definition.
//
// Queries of several tokens and heads go through the keys and values together: a register of sixteen keys' dimension d
// meets dimension d of every query, so that sixteen scores grow side by side and nothing is summed across; then a value
// is loaded once for several queries. What queries of later tokens see beyond the first goes one query at a time.
#pragma once

#include "kernels/activation/activation_simd.h"
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

SEDGE_INLINE inline void fill(float* from, float* to, float value) {
  for (; from != to; ++from) *from = value;
}

// Scores of Q queries with the positions of groups [first, last) of sixteen.
template <class V, std::size_t Q>
SEDGE_INLINE inline void score(const AttentionArgs& a, std::size_t query, std::size_t first, std::size_t last) {
  using F = typename V::F;
  const float* q[Q];
  float* to[Q];
  unroll<Q>([&](auto i) SEDGE_INLINE {
    q[i] = a.query(query + i);
    to[i] = a.scores + (query + i) * a.score_stride;
  });
  for (std::size_t group = first; group < last; ++group) {
    const float* keys = a.keys + group * kLanes * a.head_dim;
    F sums[Q][V::kParts];
    unroll<Q * V::kParts>([&](auto i) SEDGE_INLINE { sums[i / V::kParts][i % V::kParts] = V::zero(); });
    for (std::size_t d = 0; d < a.head_dim; ++d, keys += kLanes) {
      F key[V::kParts];
      unroll<V::kParts>([&](auto p) SEDGE_INLINE { key[p] = V::load(keys + p * V::kWidth); });
      unroll<Q>([&](auto i) SEDGE_INLINE {
        const F x = V::all(q[i][d]);
        unroll<V::kParts>([&](auto p) SEDGE_INLINE { sums[i][p] = V::fma(x, key[p], sums[i][p]); });
      });
    }
    unroll<Q>([&](auto i) SEDGE_INLINE {
      unroll<V::kParts>([&](auto p) SEDGE_INLINE { V::store(to[i] + group * kLanes + p * V::kWidth, sums[i][p]); });
    });
  }
}

// All of `count` queries from `query` on, Q at a time.
template <class V, std::size_t Q>
SEDGE_INLINE inline void score_all(const AttentionArgs& a, std::size_t query, std::size_t count, std::size_t first,
                                   std::size_t last) {
  for (; count >= Q; query += Q, count -= Q) score<V, Q>(a, query, first, last);
  if constexpr (Q > 1) {
    if (count > 0) score_all<V, Q / 2>(a, query, count, first, last);
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

// Adds positions [begin, end) to the weighted sums of Q queries, for R registers of dimensions from d on.
template <class V, std::size_t Q, std::size_t R>
SEDGE_INLINE inline void weigh(const AttentionArgs& a, std::size_t query, std::size_t begin, std::size_t end,
                               std::size_t d) {
  using F = typename V::F;
  const float* scores[Q];
  F sums[Q][R];
  unroll<Q>([&](auto i) SEDGE_INLINE {
    scores[i] = a.scores + (query + i) * a.score_stride;
    unroll<R>([&](auto r) SEDGE_INLINE { sums[i][r] = V::load(a.output(query + i) + d + r * V::kWidth); });
  });
  const float* value = a.values + begin * a.head_dim + d;
  for (std::size_t p = begin; p < end; ++p, value += a.head_dim) {
    F values[R];
    unroll<R>([&](auto r) SEDGE_INLINE { values[r] = V::load(value + r * V::kWidth); });
    unroll<Q>([&](auto i) SEDGE_INLINE {
      const F weight = V::all(scores[i][p]);
      unroll<R>([&](auto r) SEDGE_INLINE { sums[i][r] = V::fma(weight, values[r], sums[i][r]); });
    });
  }
  unroll<Q>([&](auto i) SEDGE_INLINE {
    unroll<R>([&](auto r) SEDGE_INLINE { V::store(a.output(query + i) + d + r * V::kWidth, sums[i][r]); });
  });
}

// All dimensions of Q queries.
template <class V, std::size_t Q>
SEDGE_INLINE inline void weigh_row(const AttentionArgs& a, std::size_t query, std::size_t begin, std::size_t end) {
  constexpr std::size_t kWide = V::kTileDims / Q;  // registers of dimensions that the set's registers hold
  std::size_t d = 0;
  for (; d + kWide * V::kWidth <= a.head_dim; d += kWide * V::kWidth) weigh<V, Q, kWide>(a, query, begin, end, d);
  for (; d + V::kWidth <= a.head_dim; d += V::kWidth) weigh<V, Q, 1>(a, query, begin, end, d);
  for (; d < a.head_dim; ++d) {
    for (std::size_t i = query; i < query + Q; ++i) {
      float* const sum = a.output(i) + d;
      for (std::size_t p = begin; p < end; ++p) {
        *sum = V::fma1(a.scores[i * a.score_stride + p], a.values[p * a.head_dim + d], *sum);
      }
    }
  }
}

template <class V, std::size_t Q>
SEDGE_INLINE inline void weigh_all(const AttentionArgs& a, std::size_t query, std::size_t count, std::size_t begin,
                                   std::size_t end) {
  for (; count >= Q; query += Q, count -= Q) weigh_row<V, Q>(a, query, begin, end);
  if constexpr (Q > 1) {
    if (count > 0) weigh_all<V, Q / 2>(a, query, count, begin, end);
  }
}

template <class V>
SEDGE_INLINE inline void attend(const AttentionArgs& a) {
  const std::size_t queries = a.tokens * a.group, last = a.end(a.tokens - 1);
  score_all<V, V::kTileQueries>(a, 0, queries, a.begin(0) / kLanes, (last + kLanes - 1) / kLanes);
  float normalise[kAttendQueriesMax];
  for (std::size_t i = 0; i < queries; ++i) {
    const std::size_t token = i / a.group;
    float* const scores = a.scores + i * a.score_stride;
    const std::size_t begin = a.begin(token), end = a.end(token);
    if (a.cap > 0) softcap<V>(SoftcapArgs{scores + begin, end - begin, a.scale, a.cap});
    normalise[i] = softmax<V>(scores, begin, end, a.cap > 0 ? 1.0f : a.scale);
    fill(a.output(i), a.output(i) + a.head_dim, 0.0f);
  }
  // What all see together, between what only the first and what only the later ones see.
  const std::size_t end = a.positions, latest = a.begin(a.tokens - 1), begin = latest < end ? latest : end;
  for (std::size_t i = 0; i < queries; ++i) {
    if (a.begin(i / a.group) < begin) weigh_row<V, 1>(a, i, a.begin(i / a.group), begin);
  }
  weigh_all<V, V::kTileQueries / 2>(a, 0, queries, begin, end);
  for (std::size_t i = 0; i < queries; ++i) {
    const std::size_t token = i / a.group;
    if (token > 0) weigh_row<V, 1>(a, i, a.begin(token) > end ? a.begin(token) : end, a.end(token));
    float* const out = a.output(i);
    std::size_t d = 0;
    for (; d + V::kWidth <= a.head_dim; d += V::kWidth) {
      V::store(out + d, V::mul(V::load(out + d), V::all(normalise[i])));
    }
    for (; d < a.head_dim; ++d) out[d] *= normalise[i];
  }
}

}  // namespace sedge::kernels::simd
