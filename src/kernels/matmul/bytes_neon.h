// Registers of codes for NEON (packed_simd.h). Only *_neon.cc and *_neondot.cc may include this.
#pragma once

#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstring>

#include "kernels/kernels.h"
#include "kernels/pack/pack.h"
#include "kernels/simd.h"

namespace sedge::kernels::neon {

struct Bytes {
  using B = uint8x16_t;
  SEDGE_INLINE static B load(const std::uint8_t* at) { return vld1q_u8(at); }
  SEDGE_INLINE static B with(B b, std::uint8_t mask) { return vandq_u8(b, vdupq_n_u8(mask)); }
  SEDGE_INLINE static B join(B a, B b) { return vorrq_u8(a, b); }
  template <int n>
  SEDGE_INLINE static B left(B b) {
    if constexpr (n == 0) {
      return b;
    } else {
      return vshlq_n_u8(b, n);
    }
  }
  template <int n>
  SEDGE_INLINE static B right(B b) {
    if constexpr (n == 0) {
      return b;
    } else {
      return vshrq_n_u8(b, n);
    }
  }
};

// The integers that codes stand for.
template <BlockCoding C>
SEDGE_INLINE inline int8x16_t levels_of(uint8x16_t codes) {
  if constexpr (C.levels == Levels::kLinear) {
    return vreinterpretq_s8_u8(vsubq_u8(codes, vdupq_n_u8(C.offset)));
  } else {
    static constexpr auto kTable = signed_levels(C);
    return vqtbl1q_s8(vld1q_s8(kTable.data()), codes);
  }
}

SEDGE_INLINE inline int8x16_t spread_four(const std::int8_t* x) {
  std::int32_t four = 0;
  std::memcpy(&four, x, sizeof four);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

}  // namespace sedge::kernels::neon

#endif  // __aarch64__
