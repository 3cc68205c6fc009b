// AVX-VNNI: AVX2 with vpdpbusd on 256 bits. Everything but the products of blocks is AVX2's.
#include "kernels/simd_avx2.h"

#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::avxvnni {
namespace {

using avx2::V;

// vpdpbusd multiplies unsigned weights: what is added to each (Offset) leaves through the sums' start.
template <int Offset>
struct Products {
  using W = __m256i;
  using X = __m256i;
  using A = __m256i;  // eight sums
  SEDGE_INLINE static X spread(const std::int8_t* x) {
    std::int32_t four = 0;
    std::memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
  }
  SEDGE_INLINE static A start(std::int32_t offset) { return _mm256_set1_epi32(-Offset * offset); }
  SEDGE_INLINE static A dot(A sums, W w, X x) { return _mm256_dpbusd_avx_epi32(sums, w, x); }
  SEDGE_INLINE static V::F sum(A sums, std::int32_t) { return _mm256_cvtepi32_ps(sums); }
};

struct Q8 : Products<128> {
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ8_0), kGroups = 1, kTileGroups = 1, kTileTokens = 4;
  SEDGE_INLINE static void load(const std::uint8_t* at, W* w) {
    w[0] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  }
};

struct Q4 : Products<8> {
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ4_0), kGroups = 2, kTileGroups = 1, kTileTokens = 4;
  SEDGE_INLINE static void load(const std::uint8_t* at, W* w) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)), low = _mm256_set1_epi8(15);
    w[0] = _mm256_and_si256(bytes, low);
    w[1] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low);
  }
};

}  // namespace

void matmul_q8_0(const MatmulArgs& m) { simd::packed_matmul<V, Q8>(m); }
void matmul_q4_0(const MatmulArgs& m) { simd::packed_matmul<V, Q4>(m); }

}  // namespace sedge::kernels::avxvnni
