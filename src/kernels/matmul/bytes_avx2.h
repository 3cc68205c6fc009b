// Registers of codes for 256 bits (packed_simd.h). Only *_avx2.cc and *_avxvnni.cc may include this.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/kernels.h"
#include "kernels/pack/pack.h"
#include "kernels/simd.h"

namespace sedge::kernels::avx2 {

struct Bytes {
  using B = __m256i;
  static constexpr bool kBitsStay = false;
  SEDGE_INLINE static B load(const std::uint8_t* at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  }
  SEDGE_INLINE static B with(B b, std::uint8_t mask) {
    return _mm256_and_si256(b, _mm256_set1_epi8(static_cast<char>(mask)));
  }
  SEDGE_INLINE static B join(B a, B b) { return _mm256_or_si256(a, b); }
  template <int n>
  SEDGE_INLINE static B left(B b) {
    return n == 0 ? b : _mm256_slli_epi16(b, n);
  }
  template <int n>
  SEDGE_INLINE static B right(B b) {
    return n == 0 ? b : _mm256_srli_epi16(b, n);
  }
  SEDGE_INLINE static void store(std::uint8_t* to, B b) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), b); }
  SEDGE_INLINE static B even_words(B a, B b) {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
  }
  SEDGE_INLINE static B odd_words(B a, B b) {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xDD));
  }
  SEDGE_INLINE static B signed_codes(B values, B signs) {
    const B ones = _mm256_or_si256(signs, _mm256_set1_epi8(1));
    return _mm256_add_epi8(_mm256_sign_epi8(values, ones), _mm256_set1_epi8(64));
  }
};

SEDGE_INLINE inline __m256i spread_four(const std::int8_t* x) {
  std::int32_t four = 0;
  std::memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}

// The integer of each code from a table of sixteen bytes.
template <class Table>
SEDGE_INLINE inline __m256i look_up(const Table& table, __m256i codes) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table.data()));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), codes);
}

}  // namespace sedge::kernels::avx2
