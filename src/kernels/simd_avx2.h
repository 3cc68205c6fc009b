// AVX2 with FMA and F16C: see simd.h. Only *_avx2.cc may include this.
#pragma once

#if defined(__AVX2__)

#include <immintrin.h>

#include <cstring>

#include "kernels/kernels.h"
#include "kernels/math.h"
#include "kernels/simd.h"

namespace sedge::kernels::avx2 {

struct V {
  using F = __m256;
  static constexpr std::size_t kWidth = 8, kParts = 2, kTileRows = 2, kRowsAlone = 4;
  static constexpr std::size_t kTileQueries = 4, kTileDims = 8;

  SEDGE_INLINE static F zero() { return _mm256_setzero_ps(); }
  SEDGE_INLINE static F all(float v) { return _mm256_set1_ps(v); }
  SEDGE_INLINE static F load(const float* from) { return _mm256_loadu_ps(from); }
  SEDGE_INLINE static void store(float* to, F v) { _mm256_storeu_ps(to, v); }
  SEDGE_INLINE static F add(F a, F b) { return _mm256_add_ps(a, b); }
  SEDGE_INLINE static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  SEDGE_INLINE static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  SEDGE_INLINE static F div(F a, F b) { return _mm256_div_ps(a, b); }
  SEDGE_INLINE static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  SEDGE_INLINE static F max(F a, F b) { return _mm256_max_ps(a, b); }  // a NaN in a gives b
  SEDGE_INLINE static F min(F a, F b) { return _mm256_min_ps(a, b); }
  SEDGE_INLINE static F negate(F a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
  SEDGE_INLINE static F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }

  SEDGE_INLINE static float fma1(float a, float b, float c) {
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
  }
  SEDGE_INLINE static float sqrt1(float a) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(a))); }

  // 2^n, where `shifted` is n + kRoundMagic.
  SEDGE_INLINE static F power_of_two(F shifted) {
    const __m256i bits = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(0x3f800000)));
  }

  SEDGE_INLINE static float fold(F v) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  SEDGE_INLINE static float largest(F v) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  SEDGE_INLINE static F load_f16(const std::uint8_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  SEDGE_INLINE static F load_bf16(const std::uint8_t* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  SEDGE_INLINE static F load_i8(const std::uint8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  }
  // Four bits of each byte, the low (0) or the high ones (1), less 8.
  SEDGE_INLINE static F load_i4(const std::uint8_t* from, std::size_t half) {
    const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
    const __m256i bits = _mm256_and_si256(_mm256_srli_epi32(bytes, static_cast<int>(4 * half)), _mm256_set1_epi32(15));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(bits, _mm256_set1_epi32(8)));
  }
  SEDGE_INLINE static F load_f32(const std::uint8_t* from) { return load(reinterpret_cast<const float*>(from)); }

  SEDGE_INLINE static float widen1(std::uint16_t half) { return _cvtsh_ss(half); }
  SEDGE_INLINE static float round_to_half(float v) { return _cvtsh_ss(_cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT)); }

  // Rounds to nearest, ties to even. |v| <= 127.
  SEDGE_INLINE static void store_i8(std::int8_t* to, F v) {
    const __m256i wide = _mm256_cvtps_epi32(v);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(words, words));
  }
  SEDGE_INLINE static std::int32_t sum_i8(const std::int8_t* from) {  // of 16
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), bytes);
    const __m128i four = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
  }
};

}  // namespace sedge::kernels::avx2

#endif  // __AVX2__
