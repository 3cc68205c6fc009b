#include "kernels/simd_neon.h"

#include "kernels/matmul/bytes_neon.h"
#include "kernels/matmul/matmul_simd.h"
#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::neon {
namespace {

// Products in 16 bits (2 · 127 · 128 fits), neighbours added twice: sums of four.
template <BlockCoding C>
struct Products {
  using W = int8x16_t;
  using X = int8x16_t;
  using A = int32x4_t;
  static constexpr std::size_t kTileGroups = 1, kTileTokens = 3;
  SEDGE_INLINE static W operand(uint8x16_t codes) { return levels_of<C>(codes); }
  SEDGE_INLINE static X spread(const std::int8_t* x) { return spread_four(x); }
  SEDGE_INLINE static A start(std::int32_t) { return vdupq_n_s32(0); }
  SEDGE_INLINE static A dot(A sums, W w, X x) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vpadalq_s16(sums, vpaddq_s16(low, high));
  }
  SEDGE_INLINE static V::F total(A sums, std::int32_t) { return vcvtq_f32_s32(sums); }
};

}  // namespace

void matmul_f32(const MatmulArgs& m) { simd::matmul<V, simd::WeightF32<V>>(m); }
void matmul_f16(const MatmulArgs& m) { simd::matmul<V, simd::WeightF16<V>>(m); }
void matmul_bf16(const MatmulArgs& m) { simd::matmul<V, simd::WeightBF16<V>>(m); }
SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)

}  // namespace sedge::kernels::neon
