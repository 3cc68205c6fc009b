#include "kernels/simd_avx512.h"

#include "kernels/matmul/matmul_simd.h"
#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::avx512vnni {
namespace {

// vpdpbusd multiplies unsigned weights: what is added to each (Offset) leaves through the sums' start.
// Of 32 registers two groups by six tokens take 12 for sums and 12 for outputs.
template <int Offset>
struct Products {
  using W = __m512i;
  using X = __m512i;
  using A = __m512i;  // sixteen sums
  static constexpr std::size_t kTileGroups = 2, kTileTokens = 6;
  SEDGE_INLINE static X spread(const std::int8_t* x) {
    std::int32_t four = 0;
    std::memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
  }
  SEDGE_INLINE static A start(std::int32_t offset) { return _mm512_set1_epi32(-Offset * offset); }
  SEDGE_INLINE static A dot(A sums, W w, X x) { return _mm512_dpbusd_epi32(sums, w, x); }
  SEDGE_INLINE static V::F sum(A sums, std::int32_t) { return _mm512_cvtepi32_ps(sums); }
};

struct Q8 : Products<128> {
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ8_0), kGroups = 1;
  SEDGE_INLINE static void load(const std::uint8_t* at, W* w) { w[0] = _mm512_loadu_si512(at); }
};

struct Q4 : Products<8> {
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ4_0), kGroups = 2;
  SEDGE_INLINE static void load(const std::uint8_t* at, W* w) {
    const __m512i bytes = _mm512_loadu_si512(at), low = _mm512_set1_epi8(15);
    w[0] = _mm512_and_si512(bytes, low);
    w[1] = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low);
  }
};

}  // namespace

void matmul_f32(const MatmulArgs& m) { simd::matmul<V, simd::WeightF32<V>>(m); }
void matmul_f16(const MatmulArgs& m) { simd::matmul<V, simd::WeightF16<V>>(m); }
void matmul_bf16(const MatmulArgs& m) { simd::matmul<V, simd::WeightBF16<V>>(m); }
void matmul_q8_0(const MatmulArgs& m) { simd::packed_matmul<V, Q8>(m); }
void matmul_q4_0(const MatmulArgs& m) { simd::packed_matmul<V, Q4>(m); }

}  // namespace sedge::kernels::avx512vnni
