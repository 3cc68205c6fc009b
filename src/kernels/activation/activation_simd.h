// The exponential and SwiGLU's product over a vector type (simd.h): the same operations as math.cc's exp_f32 and
// activation_scalar.cc, lane by lane.
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
SEDGE_INLINE inline typename V::F silu_mul(typename V::F gate, typename V::F up) {
  return V::mul(V::div(gate, V::add(V::all(1.0f), exp<V>(V::negate(gate)))), up);
}

template <class V>
SEDGE_INLINE inline void silu_mul(const SiluArgs& s) {
  std::size_t i = 0;
  for (; i + V::kWidth <= s.count; i += V::kWidth) {
    V::store(s.gate + i, silu_mul<V>(V::load(s.gate + i), V::load(s.up + i)));
  }
  if (i == s.count) return;
  const std::size_t rest = s.count - i;
  Padded<sizeof(float)> gate(s.gate + i, rest), up(s.up + i, rest);
  float result[V::kWidth];
  V::store(result, silu_mul<V>(V::load_f32(gate.bytes), V::load_f32(up.bytes)));
  __builtin_memcpy(s.gate + i, result, rest * sizeof(float));
}

}  // namespace sedge::kernels::simd
