#include "base/discrete_laplace.h"

#include "base/assert.h"
#include "base/prng.h"

namespace sedge {
namespace {

using Word = std::function<std::uint64_t()>;

// Uniform in [0, bound), by multiplying and rejecting (Lemire 2019).
std::uint64_t below(std::uint64_t bound, const Word& word) {
  for (;;) {
    const auto product = static_cast<Uint128>(word()) * bound;
    const auto low = static_cast<std::uint64_t>(product);
    if (low >= bound || low >= (0 - bound) % bound) return static_cast<std::uint64_t>(product >> 64);
  }
}

// True with probability exp(-a / b), for a <= b: the first k at which a coin of a / (b k) falls is odd.
bool exp_coin(std::uint64_t a, std::uint64_t b, const Word& word) {
  std::uint64_t k = 1;
  while (below(b * k, word) < a) ++k;  // k! grows: it never comes to 64
  return k % 2 == 1;
}

}  // namespace

std::int64_t discrete_laplace(std::uint64_t t, std::uint64_t s, const Word& word) {
  SEDGE_ASSERT(t > 0 && t <= kLaplaceMax && s > 0 && s <= kLaplaceMax);
  for (;;) {
    const std::uint64_t u = below(t, word);
    if (!exp_coin(u, t, word)) continue;
    std::uint64_t v = 0;
    while (exp_coin(1, 1, word)) ++v;
    const auto y = static_cast<std::int64_t>((u + t * v) / s);
    const bool negative = (word() & 1) != 0;
    if (negative && y == 0) continue;  // 0 has one sign
    return negative ? -y : y;
  }
}

}  // namespace sedge
