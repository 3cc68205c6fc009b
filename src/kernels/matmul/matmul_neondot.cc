// NEON with the dot product extension (ARMv8.2: Cortex-A55 and A76 on, so a Raspberry Pi 5 or a Jetson): four products
// a lane and their sum in one instruction. Everything but the products of blocks is NEON's.
#include "kernels/simd_neon.h"

#include "kernels/matmul/bytes_neon.h"
#include "kernels/matmul/decoded_simd.h"

namespace sedge::kernels::neondot {
namespace {

using neon::Bytes;
using neon::V;

template <BlockCoding C>
struct Products : neon::SignedProducts<C> {
  template <std::size_t step>
  struct X {
    int8x16_t sixteen;
  };
  template <std::size_t step>
  SEDGE_INLINE static X<step> pick(const std::int8_t* sixteen) {
    return {vld1q_s8(sixteen)};
  }
  template <std::size_t step>
  SEDGE_INLINE static int32x4_t dot(int32x4_t sums, int8x16_t w, X<step> x) {
    return vdotq_laneq_s32(sums, w, x.sixteen, step);
  }
};

struct Decoded : neon::DecodedBytes {
  SEDGE_INLINE static void weave(uint8x16_t*) {}  // four columns of four rows: as they lie

  struct Sums {
    int32x4_t of[2];  // a token each
  };
  SEDGE_INLINE static Sums none() { return {{neon::start_sums(0), neon::start_sums(0)}}; }
  SEDGE_INLINE static void add(Sums& sums, const uint8x16_t* rows, const Pair& pair) {
    simd::unroll<4>([&](auto i) SEDGE_INLINE {
      const int8x16_t four = vreinterpretq_s8_u8(rows[i]);
      simd::unroll<2>([&](auto t) SEDGE_INLINE { sums.of[t] = vdotq_laneq_s32(sums.of[t], four, pair.x[t], i); });
    });
  }
  template <std::size_t token>
  SEDGE_INLINE static V::F total(const Sums& sums) {
    return neon::floats_of(sums.of[token]);
  }
};

namespace tiles {
SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)
}

}  // namespace

SEDGE_BLOCK_ROWS(SEDGE_DECODED_MATMUL)

}  // namespace sedge::kernels::neondot
