#include "kernels/simd_avx512.h"

#include "kernels/matmul/bytes_avx512.h"
#include "kernels/matmul/matmul_simd.h"
#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::avx512vnni {
namespace {

// vpdpbusd multiplies unsigned weights: what is added to each level (kOffset) leaves through the sums' start.
// Of 32 registers two groups by six tokens take 12 for sums and 12 for outputs.
template <BlockCoding C>
struct Products {
  using W = __m512i;
  using X = __m512i;
  using A = __m512i;  // sixteen sums
  static constexpr std::size_t kTileGroups = 2, kTileTokens = 6;
  static constexpr int kOffset = C.levels == Levels::kLinear ? C.offset : 128;

  SEDGE_INLINE static W operand(__m512i codes) {
    if constexpr (C.levels == Levels::kLinear) {
      return codes;
    } else {
      alignas(16) static constexpr auto kTable = unsigned_levels(C);
      return look_up(kTable, codes);
    }
  }
  SEDGE_INLINE static X spread(const std::int8_t* x) {
    std::int32_t four = 0;
    std::memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
  }
  SEDGE_INLINE static A start(std::int32_t sum) { return _mm512_set1_epi32(-kOffset * sum); }
  SEDGE_INLINE static A dot(A sums, W w, X x) { return _mm512_dpbusd_epi32(sums, w, x); }
  SEDGE_INLINE static V::F total(A sums, std::int32_t) { return _mm512_cvtepi32_ps(sums); }
};

}  // namespace

void matmul_f32(const MatmulArgs& m) { simd::matmul<V, simd::WeightF32<V>>(m); }
void matmul_f16(const MatmulArgs& m) { simd::matmul<V, simd::WeightF16<V>>(m); }
void matmul_bf16(const MatmulArgs& m) { simd::matmul<V, simd::WeightBF16<V>>(m); }
SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)

}  // namespace sedge::kernels::avx512vnni
