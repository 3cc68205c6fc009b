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
struct Products : neon::SignedProducts<C> {
  SEDGE_INLINE static int32x4_t dot(int32x4_t sums, int8x16_t w, int8x16_t x) { return vdotq_s32(sums, w, x); }
};

}  // namespace

SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)

}  // namespace sedge::kernels::neondot
