// AVX-VNNI: AVX2 with vpdpbusd on 256 bits. Everything but the products of blocks is AVX2's.
#include "kernels/simd_avx2.h"

#include "kernels/matmul/bytes_avx2.h"
#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::avxvnni {
namespace {

using avx2::Bytes;
using avx2::V;

// vpdpbusd multiplies unsigned weights: what is added to each level (kOffset) leaves through the sums' start.
template <BlockCoding C>
struct Products {
  using W = __m256i;
  using X = __m256i;
  using A = __m256i;  // eight sums
  static constexpr std::size_t kTileGroups = 1, kTileTokens = 4;
  static constexpr int kOffset = C.levels == Levels::kLinear ? C.offset : 128;

  SEDGE_INLINE static W operand(__m256i codes) {
    if constexpr (C.levels == Levels::kLinear) {
      return codes;
    } else {
      static constexpr auto kTable = unsigned_levels(C);
      return avx2::look_up(kTable, codes);
    }
  }
  SEDGE_INLINE static X spread(const std::int8_t* x) { return avx2::spread_four(x); }
  SEDGE_INLINE static A start(std::int32_t sum) { return _mm256_set1_epi32(-kOffset * sum); }
  SEDGE_INLINE static A dot(A sums, W w, X x) { return _mm256_dpbusd_avx_epi32(sums, w, x); }
  SEDGE_INLINE static V::F total(A sums, std::int32_t) { return _mm256_cvtepi32_ps(sums); }
};

}  // namespace

SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)

}  // namespace sedge::kernels::avxvnni
