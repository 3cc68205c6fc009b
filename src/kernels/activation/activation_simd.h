// The exponential, the gates' products and the cap over a vector type (simd.h): the same operations as math.cc's
// exp_f32 and activation_scalar.cc, lane by lane.
#pragma once

#include "kernels/kernels.h"
#include "kernels/math.h"
#include "kernels/simd.h"

namespace sedge::kernels::simd {

template <class V>
SEDGE_INLINE inline typename V::F exp(typename V::F x) {
  using F = typename V::F;
  x = V::min(V::max(x, V::all(kExpMin)), V::all(kExpMax));
  const F shifted = V::fma(x, V::all(kLog2E), V::all(kRoundMagic));
  const F n = V::sub(shifted, V::all(kRoundMagic));
  const F r = V::fma(n, V::all(-kLn2Low), V::fma(n, V::all(-kLn2High), x));
  F p = V::all(kExpPolynomial[0]);
  unroll<7>([&](auto i) SEDGE_INLINE { p = V::fma(p, r, V::all(kExpPolynomial[i + 1])); });
  return V::mul(p, V::power_of_two(shifted));
}

template <class V>
struct Silu {
  SEDGE_INLINE static typename V::F mul(typename V::F gate, typename V::F up) {
    return V::mul(V::div(gate, V::add(V::all(1.0f), exp<V>(V::negate(gate)))), up);
  }
};

template <class V>
struct Gelu {
  SEDGE_INLINE static typename V::F mul(typename V::F x, typename V::F up) {
    const typename V::F twice = V::mul(x, V::fma(V::mul(x, x), V::all(kGelu3), V::all(kGelu1)));
    return V::mul(V::div(x, V::add(V::all(1.0f), exp<V>(V::negate(twice)))), up);
  }
};

template <class V, class Function>
SEDGE_INLINE inline void gated(const GatedArgs& s) {
  std::size_t i = 0;
  for (; i + V::kWidth <= s.count; i += V::kWidth) {
    V::store(s.gate + i, Function::mul(V::load(s.gate + i), V::load(s.up + i)));
  }
  if (i == s.count) return;
  const std::size_t rest = s.count - i;
  Padded<sizeof(float)> gate(s.gate + i, rest), up(s.up + i, rest);
  float result[V::kWidth];
  V::store(result, Function::mul(V::load_f32(gate.bytes), V::load_f32(up.bytes)));
  __builtin_memcpy(s.gate + i, result, rest * sizeof(float));
}

// y = function(x), number by number. y may be x.
template <class V, class Function>
SEDGE_INLINE inline void map(const float* x, std::size_t count, float* y, const Function& function) {
  std::size_t i = 0;
  for (; i + V::kWidth <= count; i += V::kWidth) V::store(y + i, function(V::load(x + i)));
  if (i == count) return;
  const std::size_t rest = count - i;
  Padded<sizeof(float)> last(x + i, rest);
  float result[V::kWidth];
  V::store(result, function(V::load_f32(last.bytes)));
  __builtin_memcpy(y + i, result, rest * sizeof(float));
}

template <class V>
SEDGE_INLINE inline void softcap(const SoftcapArgs& s) {
  using F = typename V::F;
  const F twice = V::all(2.0f * s.scale / s.cap), cap = V::all(s.cap), one = V::all(1.0f), two = V::all(2.0f);
  map<V>(s.x, s.count, s.x, [&](F x) SEDGE_INLINE {
    return V::mul(cap, V::sub(one, V::div(two, V::add(exp<V>(V::mul(x, twice)), one))));
  });
}

template <class V>
SEDGE_INLINE inline void exponential(const ExponentialArgs& s) {
  using F = typename V::F;
  const F shift = V::all(s.shift);
  map<V>(s.x, s.count, s.y, [&](F x) SEDGE_INLINE { return exp<V>(V::sub(x, shift)); });
}

}  // namespace sedge::kernels::simd
