// Registers of codes for NEON, and what its products have in common (packed_simd.h). Only *_neon.cc, *_neondot.cc
// and *_i8mm.cc may include this.
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
  SEDGE_INLINE static void store(std::uint8_t* to, B b) { vst1q_u8(to, b); }
  SEDGE_INLINE static B even_words(B a, B b) {
    return vreinterpretq_u8_u32(vuzp1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  }
  SEDGE_INLINE static B odd_words(B a, B b) {
    return vreinterpretq_u8_u32(vuzp2q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  }
  SEDGE_INLINE static B signed_codes(B values, B signs) {
    const B zero = vdupq_n_u8(64), minus = vcltzq_s8(vreinterpretq_s8_u8(signs));
    return vbslq_u8(minus, vsubq_u8(zero, values), vaddq_u8(zero, values));
  }
};

// All of Products but dot(). The operand: the integers that codes stand for.
template <BlockCoding C>
struct SignedProducts {
  using W = int8x16_t;
  using X = int8x16_t;
  using A = int32x4_t;
  static constexpr std::size_t kTileGroups = 1, kTileTokens = 3;
  SEDGE_INLINE static W operand(uint8x16_t codes) {
    if constexpr (C.levels == Levels::kLinear) {
      return vreinterpretq_s8_u8(vsubq_u8(codes, vdupq_n_u8(C.offset)));
    } else {
      static constexpr auto kTable = signed_levels(C);
      return vqtbl1q_s8(vld1q_s8(kTable.data()), codes);
    }
  }
  SEDGE_INLINE static X spread(const std::int8_t* x) {
    std::int32_t four = 0;
    std::memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  SEDGE_INLINE static A start(std::int32_t) { return vdupq_n_s32(0); }
  SEDGE_INLINE static float32x4_t total(A sums, std::int32_t) { return vcvtq_f32_s32(sums); }
};

}  // namespace sedge::kernels::neon

#endif  // __aarch64__
