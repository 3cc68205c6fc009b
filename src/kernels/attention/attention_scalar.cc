// Attention of the queries that share one key/value head (grouped queries: Ainslie et al. 2023).
// Each score is one chain of multiply-adds over the head's dimensions; exponentials are summed in the order of lanes.h,
// a position's lane being its number mod 16; the weighted sum of values is one chain a dimension over positions in
// ascending order. A query sees exactly its own positions, so it gives the same bits alone and inside a prefill.
// Of keys in blocks each block makes a chain of its own, which its scale adds to the score; of values the scale joins
// the position's weight.
#include <algorithm>
#include <cstring>

#include "kernels/attention/cache.h"
#include "kernels/kernels.h"
#include "kernels/lanes.h"
#include "kernels/math.h"

namespace sedge::kernels::scalar {
namespace {

// Turns scores [begin, end) into exp(scale · (score - max)); returns 1 / their sum.
float softmax(float* scores, std::size_t begin, std::size_t end, float scale) {
  float largest = scores[begin];
  for (std::size_t i = begin + 1; i < end; ++i) largest = scores[i] > largest ? scores[i] : largest;
  Lanes sum;
  for (std::size_t i = begin; i < end; ++i) {
    scores[i] = exp_f32((scores[i] - largest) * scale);
    sum.add(i % kLanes, scores[i]);
  }
  return 1.0f / sum.sum();
}

template <class T>
T read(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Keys and values as floats of some width.
template <class T, float (*widen)(T)>
struct Floats {
  static float score(const float* q, const std::uint8_t* group, std::size_t place, std::size_t head_dim) {
    float score = 0.0f;
    for (std::size_t d = 0; d < head_dim; ++d) {
      score = std::fma(q[d], widen(read<T>(group + (d * kLanes + place) * sizeof(T))), score);
    }
    return score;
  }
  static float add(float weight, const std::uint8_t* row, std::size_t d, float sum) {
    return std::fma(weight, widen(read<T>(row + d * sizeof(T))), sum);
  }
};

// Keys and values in blocks of 32: a scale, then bytes; byte j has number j, of four-bit ones j + 16 as well.
template <class Block, int (*level)(std::uint8_t, std::size_t)>
struct Blocks {
  static constexpr std::size_t kScale = sizeof(std::uint16_t), kPart = sizeof(Block) - kScale, kValues = kQ8Values;
  static float scale(const std::uint8_t* at) { return f16_to_f32(read<std::uint16_t>(at)); }
  static float score(const float* q, const std::uint8_t* group, std::size_t place, std::size_t head_dim) {
    float score = 0.0f;
    for (std::size_t d = 0; d < head_dim; d += kValues, group += kLanes * sizeof(Block)) {
      const std::uint8_t* const bytes = group + kLanes * kScale + place;
      float sum = 0.0f;
      for (std::size_t i = 0; i < kValues; ++i) {
        sum = std::fma(q[d + i], static_cast<float>(level(bytes[i % kPart * kLanes], i / kPart)), sum);
      }
      score = std::fma(scale(group + place * kScale), sum, score);
    }
    return score;
  }
  static float add(float weight, const std::uint8_t* row, std::size_t d, float sum) {
    const std::uint8_t* const block = row + d / kValues * sizeof(Block);
    const std::size_t i = d % kValues;
    return std::fma(weight * scale(block), static_cast<float>(level(block[kScale + i % kPart], i / kPart)), sum);
  }
};

template <class Kept>
void attend(const AttentionArgs& a, DType format) {
  const std::size_t row_bytes = cache_row_bytes(format, a.head_dim);
  for (std::size_t i = 0; i < a.tokens * a.group; ++i) {
    const std::size_t token = i / a.group, begin = a.begin(token), end = a.end(token);
    const float* const q = a.query(i);
    float* const scores = a.scores + i * a.score_stride;
    for (std::size_t p = begin; p < end; ++p) {
      scores[p] = Kept::score(q, a.keys + p / kLanes * kLanes * row_bytes, p % kLanes, a.head_dim);
    }
    if (a.cap > 0) softcap({scores + begin, end - begin, a.scale, a.cap});
    const float normalise = softmax(scores, begin, end, a.cap > 0 ? 1.0f : a.scale);
    for (std::size_t d = 0; d < a.head_dim; ++d) {
      float sum = 0.0f;
      for (std::size_t p = begin; p < end; ++p) sum = Kept::add(scores[p], a.values + p * row_bytes, d, sum);
      a.output(i)[d] = sum * normalise;
    }
  }
}

float as_it_is(float value) { return value; }
int signed_byte(std::uint8_t byte, std::size_t) { return static_cast<std::int8_t>(byte); }
int nibble(std::uint8_t byte, std::size_t half) { return (byte >> 4 * half & 15) - 8; }

}  // namespace

void attend_f32(const AttentionArgs& a) { attend<Floats<float, as_it_is>>(a, DType::kF32); }
void attend_f16(const AttentionArgs& a) { attend<Floats<std::uint16_t, f16_to_f32>>(a, DType::kF16); }
void attend_q8_0(const AttentionArgs& a) { attend<Blocks<BlockQ8_0, signed_byte>>(a, DType::kQ8_0); }
void attend_q4_0(const AttentionArgs& a) { attend<Blocks<BlockQ4_0, nibble>>(a, DType::kQ4_0); }

}  // namespace sedge::kernels::scalar
