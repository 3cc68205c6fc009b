#include "kernels/attention/rotation.h"

#include <cmath>

namespace sedge::kernels {
namespace {

constexpr std::size_t kLeast = 32;  // the least piece

// Sums of two halves of Half values go where the first was, differences where the second was. Of a size that the
// compiler knows, so that it uses the registers that every processor of the kind has.
template <std::size_t Half>
void butterflies(float* __restrict a, float* __restrict b) {
  for (std::size_t i = 0; i < Half; ++i) {
    const float x = a[i], y = b[i];
    a[i] = x + y;
    b[i] = x - y;
  }
}

// Pairs 1 apart, then 2, 4, ... Count / 2.
template <std::size_t Count>
void transform(float* x) {
  if constexpr (Count > 1) {
    transform<Count / 2>(x);
    transform<Count / 2>(x + Count / 2);
    butterflies<Count / 2>(x, x + Count / 2);
  }
}

}  // namespace

void rotate(float* x, std::size_t heads, std::size_t head_dim) {
  const std::size_t piece = head_dim & ~(head_dim - 1);
  const float scale = 1.0f / std::sqrt(static_cast<float>(piece));
  for (float* const end = x + heads * head_dim; x != end; x += piece) {
    for (std::size_t at = 0; at < piece; at += kLeast) transform<kLeast>(x + at);
    for (std::size_t half = kLeast; half < piece; half *= 2) {
      for (std::size_t at = 0; at < piece; at += kLeast) {
        if ((at & half) == 0) butterflies<kLeast>(x + at, x + at + half);
      }
    }
    for (std::size_t i = 0; i < piece; ++i) x[i] *= scale;
  }
}

}  // namespace sedge::kernels
