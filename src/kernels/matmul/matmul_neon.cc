#include "kernels/simd_neon.h"

#include "kernels/matmul/matmul_simd.h"
#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::neon {
namespace {

// Products in 16 bits (2 · 127 · 128 fits), neighbours added twice: sums of four, as one sdot would give.
struct Products {
  using W = int8x16_t;
  using X = int8x16_t;
  using A = int32x4_t;
  static constexpr std::size_t kTileGroups = 1, kTileTokens = 3;
  SEDGE_INLINE static X spread(const std::int8_t* x) {
    std::int32_t four = 0;
    std::memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  SEDGE_INLINE static A start(std::int32_t) { return vdupq_n_s32(0); }
  SEDGE_INLINE static A dot(A sums, W w, X x) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vpadalq_s16(sums, vpaddq_s16(low, high));
  }
  SEDGE_INLINE static V::F sum(A sums, std::int32_t) { return vcvtq_f32_s32(sums); }
};

struct Q8 : Products {
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ8_0), kGroups = 1;
  SEDGE_INLINE static void load(const std::uint8_t* at, W* w) {
    w[0] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(at), vdupq_n_u8(0x80)));
  }
};

struct Q4 : Products {
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ4_0), kGroups = 2;
  SEDGE_INLINE static void load(const std::uint8_t* at, W* w) {
    const uint8x16_t bytes = vld1q_u8(at);
    const int8x16_t eight = vdupq_n_s8(8);
    w[0] = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15))), eight);
    w[1] = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4)), eight);
  }
};

}  // namespace

void matmul_f32(const MatmulArgs& m) { simd::matmul<V, simd::WeightF32<V>>(m); }
void matmul_f16(const MatmulArgs& m) { simd::matmul<V, simd::WeightF16<V>>(m); }
void matmul_bf16(const MatmulArgs& m) { simd::matmul<V, simd::WeightBF16<V>>(m); }
void matmul_q8_0(const MatmulArgs& m) { simd::packed_matmul<V, Q8>(m); }
void matmul_q4_0(const MatmulArgs& m) { simd::packed_matmul<V, Q4>(m); }

}  // namespace sedge::kernels::neon
