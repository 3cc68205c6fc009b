// NEON with products of small matrices (ARMv8.6: Neoverse V1 and N2, Cortex-A510, A710 and X2): products of blocks with
// several tokens in pairs (pairs_simd.h). Everything else is that of NEON with dot products.
#include "kernels/simd_neon.h"

#include "kernels/matmul/bytes_neon.h"
#include "kernels/matmul/pairs_simd.h"

namespace sedge::kernels::i8mm {
namespace {

// With fewer tokens decoding weights into memory takes what pairs save. Nothing was measured, for lack of such a
// processor. Counted (objdump, g++ 12 -O2) are instructions for sixteen rows by 32 columns of Q4_0: 155 to decode, then
// 251 for four tokens and 110 for two; the tiles of NEON with dot products, decoding included, take 461 for three, 300
// for two and 179 for one. So two and three tokens are near each other, four are 406 to 640, and 96 are 64 to 154 each.
constexpr std::size_t kTokensMin = 4;

struct Pairs {
  using V = neon::V;
  using Bytes = neon::Bytes;
  using A = int32x4_t;

  template <BlockCoding C>
  SEDGE_INLINE static uint8x16_t levels(uint8x16_t codes) {
    return vreinterpretq_u8_s8(neon::SignedProducts<C>::operand(codes));
  }
  SEDGE_INLINE static uint8x16_t rows_0_1(uint8x16_t a, uint8x16_t b) {
    return vreinterpretq_u8_u32(vzip1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  }
  SEDGE_INLINE static uint8x16_t rows_2_3(uint8x16_t a, uint8x16_t b) {
    return vreinterpretq_u8_u32(vzip2q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  }
  SEDGE_INLINE static uint8x16_t pair(const std::int8_t* x0, const std::int8_t* x1) {
    return vreinterpretq_u8_s8(vcombine_s8(vld1_s8(x0), vld1_s8(x1)));
  }
  SEDGE_INLINE static A none() { return vdupq_n_s32(0); }
  SEDGE_INLINE static A dot(A sums, uint8x16_t rows, uint8x16_t pair) {
    return vmmlaq_s32(sums, vreinterpretq_s8_u8(rows), vreinterpretq_s8_u8(pair));
  }
  template <std::size_t token>
  SEDGE_INLINE static V::F total(A rows_0_1, A rows_2_3) {
    return vcvtq_f32_s32(token == 0 ? vuzp1q_s32(rows_0_1, rows_2_3) : vuzp2q_s32(rows_0_1, rows_2_3));
  }
};

}  // namespace

#define SEDGE_PAIR_MATMUL(name, Args, format)                \
  void name(const Args& m) {                                 \
    if (m.tokens < kTokensMin) return neondot::name(m);      \
    simd::PairProducts<Pairs, *find_coding(format)>::run(m); \
  }
SEDGE_BLOCK_ROWS(SEDGE_PAIR_MATMUL)

}  // namespace sedge::kernels::i8mm
