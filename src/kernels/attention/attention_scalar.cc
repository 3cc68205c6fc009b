// Attention of the queries that share one key/value head (grouped queries: Ainslie et al. 2023).
// Each score is one chain of multiply-adds over the head's dimensions; exponentials are summed in the order of lanes.h,
// a position's lane being its number mod 16; the weighted sum of values is one chain a dimension over positions in
// ascending order. A query sees exactly its own positions, so it gives the same bits alone and inside a prefill.
#include <algorithm>

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

}  // namespace

void attend(const AttentionArgs& a) {
  for (std::size_t i = 0; i < a.tokens * a.group; ++i) {
    const std::size_t token = i / a.group, begin = a.begin(token), end = a.end(token);
    const float* const q = a.query(i);
    float* const scores = a.scores + i * a.score_stride;
    for (std::size_t p = begin; p < end; ++p) {
      float score = 0.0f;
      for (std::size_t d = 0; d < a.head_dim; ++d) {
        score = std::fma(q[d], a.keys[(p / kLanes * a.head_dim + d) * kLanes + p % kLanes], score);
      }
      scores[p] = score;
    }
    if (a.cap > 0) softcap({scores + begin, end - begin, a.scale, a.cap});
    const float normalise = softmax(scores, begin, end, a.cap > 0 ? 1.0f : a.scale);
    for (std::size_t d = 0; d < a.head_dim; ++d) {
      float sum = 0.0f;
      for (std::size_t p = begin; p < end; ++p) {
        sum = std::fma(scores[p], a.values[p * a.head_dim + d], sum);
      }
      a.output(i)[d] = sum * normalise;
    }
  }
}

}  // namespace sedge::kernels::scalar
