#include "kernels/simd_neon.h"

#include "kernels/matmul/bytes_neon.h"
#include "kernels/matmul/matmul_simd.h"
#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::neon {
namespace {

// Products in 16 bits (2 · 127 · 128 fits), neighbours added twice: sums of four.
template <BlockCoding C>
struct Products : SignedProducts<C> {
  SEDGE_INLINE static int32x4_t dot(int32x4_t sums, int8x16_t w, int8x16_t x) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vpadalq_s16(sums, vpaddq_s16(low, high));
  }
};

}  // namespace

void matmul_f32(const MatmulArgs& m) { simd::matmul<V, simd::WeightF32<V>>(m); }
void matmul_f16(const MatmulArgs& m) { simd::matmul<V, simd::WeightF16<V>>(m); }
void matmul_bf16(const MatmulArgs& m) { simd::matmul<V, simd::WeightBF16<V>>(m); }
SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)

}  // namespace sedge::kernels::neon
