// Registers of codes for 512 bits (packed_simd.h). Only *_avx512vnni.cc and *_amx.cc may include this.
#pragma once

#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace sedge::kernels::avx512vnni {

struct Bytes {
  using B = __m512i;
  static constexpr bool kBitsStay = false;
  SEDGE_INLINE static B load(const std::uint8_t* at) { return _mm512_loadu_si512(at); }
  SEDGE_INLINE static B with(B b, std::uint8_t mask) {
    return _mm512_and_si512(b, _mm512_set1_epi8(static_cast<char>(mask)));
  }
  SEDGE_INLINE static B join(B a, B b) { return _mm512_or_si512(a, b); }
  template <int n>
  SEDGE_INLINE static B left(B b) {
    return n == 0 ? b : _mm512_slli_epi16(b, n);
  }
  template <int n>
  SEDGE_INLINE static B right(B b) {
    return n == 0 ? b : _mm512_srli_epi16(b, n);
  }
  SEDGE_INLINE static void store(std::uint8_t* to, B b) { _mm512_storeu_si512(to, b); }
  SEDGE_INLINE static B even_words(B a, B b) {
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0x88));
  }
  SEDGE_INLINE static B odd_words(B a, B b) {
    return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0xDD));
  }
  SEDGE_INLINE static B signed_codes(B values, B signs) {
    const B zero = _mm512_set1_epi8(64), plus = _mm512_add_epi8(zero, values);
    return _mm512_mask_sub_epi8(plus, _mm512_movepi8_mask(signs), zero, values);
  }
};

// The integer of each code from a table of sixteen bytes, aligned to sixteen.
template <class Table>
SEDGE_INLINE inline __m512i look_up(const Table& table, __m512i codes) {
  const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(table.data()));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), codes);
}

}  // namespace sedge::kernels::avx512vnni
