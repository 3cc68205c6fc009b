// Registers of codes for NEON, and what its products have in common (packed_simd.h, decoded_simd.h). Only *_neon.cc,
// *_neondot.cc and *_i8mm.cc may include this.
#pragma once

#if defined(__aarch64__)

#include <arm_neon.h>

#include <bit>

#include "kernels/kernels.h"
#include "kernels/math.h"
#include "kernels/pack/pack.h"
#include "kernels/simd_neon.h"

namespace sedge::kernels::neon {

struct Bytes {
  using B = uint8x16_t;
  static constexpr bool kBitsStay = true;
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

// The integers that codes stand for.
template <BlockCoding C>
SEDGE_INLINE inline int8x16_t signed_codes(uint8x16_t codes) {
  if constexpr (C.levels == Levels::kLinear) {
    return vreinterpretq_s8_u8(vsubq_u8(codes, vdupq_n_u8(C.offset)));
  } else {
    static constexpr auto kTable = signed_levels(C);
    return vqtbl1q_s8(vld1q_s8(kTable.data()), codes);
  }
}

// Sums of products that begin with the bits of kRoundMagic are floats already, but for that: |sum| < 2^22. Taking it
// off again is exact, and takes half of what a conversion takes.
SEDGE_INLINE inline int32x4_t start_sums(std::int32_t sum) {
  return vdupq_n_s32(std::bit_cast<std::int32_t>(kRoundMagic) + sum);
}
SEDGE_INLINE inline float32x4_t floats_of(int32x4_t sums) {
  return vsubq_f32(vreinterpretq_f32_s32(sums), vdupq_n_f32(kRoundMagic));
}

// All of Products (packed_simd.h) but quants and dot(). The operand: codes where those are signed bytes as they are.
template <BlockCoding C>
struct SignedProducts {
  using W = int8x16_t;
  using A = int32x4_t;
  static constexpr std::size_t kTileGroups = 1, kTileTokens = 3;
  static constexpr bool kAsTheyAre = C.levels == Levels::kLinear && C.bits < 8;
  SEDGE_INLINE static W operand(uint8x16_t codes) {
    if constexpr (kAsTheyAre) {
      return vreinterpretq_s8_u8(codes);
    } else {
      return signed_codes<C>(codes);
    }
  }
  SEDGE_INLINE static A start(std::int32_t sum) { return start_sums(kAsTheyAre ? -C.offset * sum : 0); }
  SEDGE_INLINE static float32x4_t total(A sums, std::int32_t) { return floats_of(sums); }
};

// What every Decoded (decoded_simd.h) has in common, and quants as they lie.
struct DecodedBytes {
  using V = neon::V;
  using Bytes = neon::Bytes;
  template <BlockCoding C>
  SEDGE_INLINE static uint8x16_t levels(uint8x16_t codes) {
    return vreinterpretq_u8_s8(signed_codes<C>(codes));
  }
  struct Pair {
    int8x16_t x[2];
  };
  SEDGE_INLINE static Pair pair(const std::int8_t* x0, const std::int8_t* x1) { return {{vld1q_s8(x0), vld1q_s8(x1)}}; }
};

}  // namespace sedge::kernels::neon

#endif  // __aarch64__
