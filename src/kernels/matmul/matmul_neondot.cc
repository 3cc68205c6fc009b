// NEON with the dot product extension (ARMv8.2: Cortex-A55 and A76 on, so a Raspberry Pi 5 or a Jetson): four products
// a lane and their sum in one instruction. Everything but the products of blocks is NEON's.
#include "kernels/simd_neon.h"

#include "kernels/matmul/bytes_neon.h"
#include "kernels/matmul/packed_simd.h"

namespace sedge::kernels::neondot {
namespace {

using neon::Bytes;
using neon::V;

template <BlockCoding C>
struct Products {
  using W = int8x16_t;
  using X = int8x16_t;
  using A = int32x4_t;
  static constexpr std::size_t kTileGroups = 1, kTileTokens = 3;
  SEDGE_INLINE static W operand(uint8x16_t codes) { return neon::levels_of<C>(codes); }
  SEDGE_INLINE static X spread(const std::int8_t* x) { return neon::spread_four(x); }
  SEDGE_INLINE static A start(std::int32_t) { return vdupq_n_s32(0); }
  SEDGE_INLINE static A dot(A sums, W w, X x) { return vdotq_s32(sums, w, x); }
  SEDGE_INLINE static V::F total(A sums, std::int32_t) { return vcvtq_f32_s32(sums); }
};

}  // namespace

SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)

}  // namespace sedge::kernels::neondot
