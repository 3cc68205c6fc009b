#include "kernels/simd_avx2.h"

#include "kernels/matmul/matmul_simd.h"
#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::avx2 {
namespace {

SEDGE_INLINE inline __m256i bytes_at(const std::uint8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

SEDGE_INLINE inline __m256i spread_four(const std::int8_t* x) {
  std::int32_t four = 0;
  std::memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}

// maddubs wants one unsigned side: |w| (128 included) with x carrying the sign; 2 · 128 · 127 fits 16 bits.
struct Q8 {
  struct W {
    __m256i value, magnitude;
  };
  using X = __m256i;
  using A = __m256i;  // eight sums
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ8_0), kGroups = 1, kTileGroups = 1, kTileTokens = 3;
  SEDGE_INLINE static void load(const std::uint8_t* at, W* w) {
    const __m256i value = _mm256_xor_si256(bytes_at(at), _mm256_set1_epi8(-128));
    w[0] = {value, _mm256_abs_epi8(value)};
  }
  SEDGE_INLINE static X spread(const std::int8_t* x) { return spread_four(x); }
  SEDGE_INLINE static A start(std::int32_t) { return _mm256_setzero_si256(); }
  SEDGE_INLINE static A dot(A sums, const W& w, X x) {
    const __m256i pairs = _mm256_maddubs_epi16(w.magnitude, _mm256_sign_epi8(x, w.value));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  SEDGE_INLINE static V::F sum(A sums, std::int32_t) { return _mm256_cvtepi32_ps(sums); }
};

// Nibbles are unsigned as they are. A block's pairs stay in 16 bits: 8 · 2 · 15 · 127 = 30480.
struct Q4 {
  using W = __m256i;
  using X = __m256i;
  using A = __m256i;  // eight pairs of sums
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ4_0), kGroups = 2, kTileGroups = 1, kTileTokens = 4;
  SEDGE_INLINE static void load(const std::uint8_t* at, W* w) {
    const __m256i bytes = bytes_at(at), low = _mm256_set1_epi8(15);
    w[0] = _mm256_and_si256(bytes, low);
    w[1] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low);
  }
  SEDGE_INLINE static X spread(const std::int8_t* x) { return spread_four(x); }
  SEDGE_INLINE static A start(std::int32_t) { return _mm256_setzero_si256(); }
  SEDGE_INLINE static A dot(A sums, W w, X x) { return _mm256_add_epi16(sums, _mm256_maddubs_epi16(w, x)); }
  SEDGE_INLINE static V::F sum(A sums, std::int32_t offset) {
    const __m256i whole = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(whole, _mm256_set1_epi32(8 * offset)));
  }
};

}  // namespace

void matmul_f32(const MatmulArgs& m) { simd::matmul<V, simd::WeightF32<V>>(m); }
void matmul_f16(const MatmulArgs& m) { simd::matmul<V, simd::WeightF16<V>>(m); }
void matmul_bf16(const MatmulArgs& m) { simd::matmul<V, simd::WeightBF16<V>>(m); }
void matmul_q8_0(const MatmulArgs& m) { simd::packed_matmul<V, Q8>(m); }
void matmul_q4_0(const MatmulArgs& m) { simd::packed_matmul<V, Q4>(m); }

}  // namespace sedge::kernels::avx2
