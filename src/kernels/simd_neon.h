// NEON as every 64-bit ARM has it (no dot product extension needed): see simd.h. Only *_neon.cc, *_neondot.cc and
// *_i8mm.cc may include this.
#pragma once

#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstring>

#include "kernels/kernels.h"
#include "kernels/math.h"
#include "kernels/simd.h"

namespace sedge::kernels::neon {

struct V {
  using F = float32x4_t;
  static constexpr std::size_t kWidth = 4, kParts = 4, kTileRows = 2, kRowsAlone = 4;
  static constexpr std::size_t kTileQueries = 4, kTileDims = 16;

  SEDGE_INLINE static F zero() { return vdupq_n_f32(0.0f); }
  SEDGE_INLINE static F all(float v) { return vdupq_n_f32(v); }
  SEDGE_INLINE static F load(const float* from) { return vld1q_f32(from); }
  SEDGE_INLINE static void store(float* to, F v) { vst1q_f32(to, v); }
  SEDGE_INLINE static F add(F a, F b) { return vaddq_f32(a, b); }
  SEDGE_INLINE static F sub(F a, F b) { return vsubq_f32(a, b); }
  SEDGE_INLINE static F mul(F a, F b) { return vmulq_f32(a, b); }
  SEDGE_INLINE static F div(F a, F b) { return vdivq_f32(a, b); }
  SEDGE_INLINE static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  SEDGE_INLINE static F max(F a, F b) { return vmaxnmq_f32(a, b); }  // a NaN in a gives b
  SEDGE_INLINE static F min(F a, F b) { return vminnmq_f32(a, b); }
  SEDGE_INLINE static F negate(F a) { return vnegq_f32(a); }
  SEDGE_INLINE static F abs(F a) { return vabsq_f32(a); }

  SEDGE_INLINE static float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  SEDGE_INLINE static float sqrt1(float a) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(a)), 0); }

  // 2^n, where `shifted` is n + kRoundMagic.
  SEDGE_INLINE static F power_of_two(F shifted) {
    const uint32x4_t bits = vshlq_n_u32(vreinterpretq_u32_f32(shifted), 23);
    return vreinterpretq_f32_u32(vaddq_u32(bits, vdupq_n_u32(0x3f800000u)));
  }

  SEDGE_INLINE static float fold(F v) {
    const float32x2_t two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }
  SEDGE_INLINE static float largest(F v) { return vmaxnmvq_f32(v); }

  SEDGE_INLINE static F load_f16(const std::uint8_t* from) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from))); }
  SEDGE_INLINE static F load_bf16(const std::uint8_t* from) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vreinterpret_u16_u8(vld1_u8(from))), 16));
  }
  SEDGE_INLINE static F load_i8(const std::uint8_t* from) {
    std::int32_t four = 0;
    std::memcpy(&four, from, sizeof four);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four))))));
  }
  // Four bits of each byte, the low (0) or the high ones (1), less 8.
  SEDGE_INLINE static F load_i4(const std::uint8_t* from, std::size_t half) {
    std::uint32_t four = 0;
    std::memcpy(&four, from, sizeof four);
    const uint32x4_t bytes = vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
    const uint32x4_t bits = vandq_u32(vshlq_u32(bytes, vdupq_n_s32(-static_cast<int>(4 * half))), vdupq_n_u32(15));
    return vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(bits), vdupq_n_s32(8)));
  }
  SEDGE_INLINE static F load_f32(const std::uint8_t* from) { return vreinterpretq_f32_u8(vld1q_u8(from)); }

  SEDGE_INLINE static float widen1(std::uint16_t half) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half))), 0);
  }
  SEDGE_INLINE static float round_to_half(float v) {
    return vgetq_lane_f32(vcvt_f32_f16(vcvt_f16_f32(vdupq_n_f32(v))), 0);
  }

  // Rounds to nearest, ties to even. |v| <= 127.
  SEDGE_INLINE static void store_i8(std::int8_t* to, F v) {
    const int16x4_t words = vmovn_s32(vcvtnq_s32_f32(v));
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    const std::uint32_t four = vget_lane_u32(vreinterpret_u32_s8(bytes), 0);
    std::memcpy(to, &four, sizeof four);
  }
  SEDGE_INLINE static std::int32_t sum_i8(const std::int8_t* from) { return vaddlvq_s8(vld1q_s8(from)); }  // of 16
};

}  // namespace sedge::kernels::neon

#endif  // __aarch64__
