#include "kernels/simd_avx2.h"

#include "kernels/matmul/bytes_avx2.h"
#include "kernels/matmul/matmul_simd.h"
#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::avx2 {
namespace {

// maddubs multiplies unsigned by signed bytes and adds pairs in 16 bits.
template <BlockCoding C>
struct Products;

// Codes of at most four bits: all pairs of 32 columns stay in 16 bits, 8 · 2 · 15 · 127 = 30480 at the most.
template <BlockCoding C>
  requires(C.levels == Levels::kLinear && C.bits <= 4)
struct Products<C> {
  using W = __m256i;
  using X = __m256i;
  using A = __m256i;  // sixteen sums of pairs
  static constexpr std::size_t kTileGroups = 1, kTileTokens = 4;
  SEDGE_INLINE static W operand(__m256i codes) { return codes; }
  SEDGE_INLINE static X spread(const std::int8_t* x) { return spread_four(x); }
  SEDGE_INLINE static A start(std::int32_t) { return _mm256_setzero_si256(); }
  SEDGE_INLINE static A dot(A sums, W w, X x) { return _mm256_add_epi16(sums, _mm256_maddubs_epi16(w, x)); }
  SEDGE_INLINE static V::F total(A sums, std::int32_t sum) {
    const __m256i whole = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(whole, _mm256_set1_epi32(C.offset * sum)));
  }
};

// Five to seven bits: a pair fits, 2 · 127 · 127, but not many of them.
template <BlockCoding C>
  requires(C.levels == Levels::kLinear && C.bits >= 5 && C.bits <= 7)
struct Products<C> {
  using W = __m256i;
  using X = __m256i;
  using A = __m256i;  // eight sums
  static constexpr std::size_t kTileGroups = 1, kTileTokens = 4;
  SEDGE_INLINE static W operand(__m256i codes) { return codes; }
  SEDGE_INLINE static X spread(const std::int8_t* x) { return spread_four(x); }
  SEDGE_INLINE static A start(std::int32_t sum) { return _mm256_set1_epi32(-C.offset * sum); }
  SEDGE_INLINE static A dot(A sums, W w, X x) {
    return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
  }
  SEDGE_INLINE static V::F total(A sums, std::int32_t) { return _mm256_cvtepi32_ps(sums); }
};

// Whole bytes and tables: |w| (128 included) with x carrying the sign; 2 · 128 · 127 fits 16 bits.
template <BlockCoding C>
  requires(C.levels != Levels::kLinear || C.bits == 8)
struct Products<C> {
  struct W {
    __m256i value, magnitude;
  };
  using X = __m256i;
  using A = __m256i;  // eight sums
  static constexpr std::size_t kTileGroups = 1, kTileTokens = 3;
  SEDGE_INLINE static W operand(__m256i codes) {
    __m256i value;
    if constexpr (C.levels == Levels::kLinear) {
      value = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
    } else {
      static constexpr auto kTable = signed_levels(C);
      value = look_up(kTable, codes);
    }
    return {value, _mm256_abs_epi8(value)};
  }
  SEDGE_INLINE static X spread(const std::int8_t* x) { return spread_four(x); }
  SEDGE_INLINE static A start(std::int32_t) { return _mm256_setzero_si256(); }
  SEDGE_INLINE static A dot(A sums, const W& w, X x) {
    const __m256i pairs = _mm256_maddubs_epi16(w.magnitude, _mm256_sign_epi8(x, w.value));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  SEDGE_INLINE static V::F total(A sums, std::int32_t) { return _mm256_cvtepi32_ps(sums); }
};

}  // namespace

void matmul_f32(const MatmulArgs& m) { simd::matmul<V, simd::WeightF32<V>>(m); }
void matmul_f16(const MatmulArgs& m) { simd::matmul<V, simd::WeightF16<V>>(m); }
void matmul_bf16(const MatmulArgs& m) { simd::matmul<V, simd::WeightBF16<V>>(m); }
SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)

}  // namespace sedge::kernels::avx2
