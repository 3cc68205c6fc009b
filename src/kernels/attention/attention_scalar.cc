// Attention of the queries that share one key/value head (grouped queries: Ainslie et al. 2023).
// Scores are dot products in the order of lanes.h; their exponentials are summed in the same order; the weighted
// sum of values runs over positions in ascending order, one chain a dimension. A query sees exactly its own
// positions, so it gives the same bits alone and inside a prefill.
#include "kernels/kernels.h"
#include "kernels/lanes.h"
#include "kernels/math.h"

namespace sedge::kernels::scalar {
namespace {

// Turns scores into exp(scale · (score - max)); returns 1 / their sum.
float softmax(float* scores, std::size_t count, float scale) {
  float largest = scores[0];
  for (std::size_t i = 1; i < count; ++i) largest = scores[i] > largest ? scores[i] : largest;
  Lanes sum;
  for (std::size_t i = 0; i < count; ++i) {
    scores[i] = exp_f32((scores[i] - largest) * scale);
    sum.add(i % kLanes, scores[i]);
  }
  return 1.0f / sum.sum();
}

}  // namespace

void attend(const AttentionArgs& a) {
  matmul_f32({.weights = reinterpret_cast<const std::uint8_t*>(a.keys),
              .row_bytes = a.head_dim * sizeof(float),
              .rows = a.positions,
              .cols = a.head_dim,
              .x = a.q,
              .quants = nullptr,
              .scales = nullptr,
              .tokens = a.group,
              .y = a.scores,
              .y_stride = a.score_stride});
  for (std::size_t g = 0; g < a.group; ++g) {
    float* scores = a.scores + g * a.score_stride;
    const float normalise = softmax(scores, a.positions, a.scale);
    for (std::size_t d = 0; d < a.head_dim; ++d) {
      float sum = 0.0f;
      for (std::size_t p = 0; p < a.positions; ++p) sum = std::fma(scores[p], a.values[p * a.head_dim + d], sum);
      a.out[g * a.head_dim + d] = sum * normalise;
    }
  }
}

}  // namespace sedge::kernels::scalar
