#include "kernels/simd_neon.h"

#include "kernels/matmul/bytes_neon.h"
#include "kernels/matmul/decoded_simd.h"
#include "kernels/matmul/matmul_simd.h"

namespace sedge::kernels::neon {
namespace {

// Products in 16 bits (2 · 127 · 128 fits), neighbours added twice: sums of four.
template <BlockCoding C>
struct Products : SignedProducts<C> {
  using X = int8x16_t;
  SEDGE_INLINE static X spread(const std::int8_t* x) {
    std::int32_t four = 0;
    __builtin_memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  SEDGE_INLINE static int32x4_t dot(int32x4_t sums, int8x16_t w, int8x16_t x) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vpadalq_s16(sums, vpaddq_s16(low, high));
  }
};

// Sixteen columns of a row in a register, eight products and the next eight in 16 bits; neighbours meet at the end. So
// multiplications, of which a Cortex-A72 begins one a cycle, are half of what there is to do.
struct Decoded : DecodedBytes {
  SEDGE_INLINE static void weave(uint8x16_t* rows) {
    uint32x4_t four[4];
    simd::unroll<4>([&](auto i) SEDGE_INLINE { four[i] = vreinterpretq_u32_u8(rows[i]); });
    simd::unroll<2>([&](auto i) SEDGE_INLINE {
      const uint32x4_t left = i == 0 ? vzip1q_u32(four[0], four[1]) : vzip2q_u32(four[0], four[1]);
      const uint32x4_t right = i == 0 ? vzip1q_u32(four[2], four[3]) : vzip2q_u32(four[2], four[3]);
      const uint64x2_t a = vreinterpretq_u64_u32(left), b = vreinterpretq_u64_u32(right);
      rows[2 * i] = vreinterpretq_u8_u64(vzip1q_u64(a, b)), rows[2 * i + 1] = vreinterpretq_u8_u64(vzip2q_u64(a, b));
    });
  }

  struct Sums {
    int32x4_t of[2][4];  // tokens, rows; not yet summed across
  };
  SEDGE_INLINE static Sums none() {
    Sums sums;
    simd::unroll<8>([&](auto i) SEDGE_INLINE { sums.of[i / 4][i % 4] = vdupq_n_s32(0); });
    return sums;
  }
  SEDGE_INLINE static void add(Sums& sums, const uint8x16_t* rows, const Pair& pair) {
    simd::unroll<8>([&](auto i) SEDGE_INLINE {
      const int8x16_t w = vreinterpretq_s8_u8(rows[i / 2]), x = pair.x[i % 2];
      int32x4_t& sum = sums.of[i % 2][i / 2];
      sum = vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x));
    });
  }
  template <std::size_t token>
  SEDGE_INLINE static V::F total(const Sums& sums) {
    const auto& of = sums.of[token];
    return vcvtq_f32_s32(vpaddq_s32(vpaddq_s32(of[0], of[1]), vpaddq_s32(of[2], of[3])));
  }
};

namespace tiles {
SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)
}

}  // namespace

void matmul_f32(const MatmulArgs& m) { simd::matmul<V, simd::WeightF32<V>>(m); }
void matmul_f16(const MatmulArgs& m) { simd::matmul<V, simd::WeightF16<V>>(m); }
void matmul_bf16(const MatmulArgs& m) { simd::matmul<V, simd::WeightBF16<V>>(m); }
SEDGE_BLOCK_ROWS(SEDGE_DECODED_MATMUL)

}  // namespace sedge::kernels::neon
