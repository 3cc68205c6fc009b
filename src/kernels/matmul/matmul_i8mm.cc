// NEON with products of small matrices (ARMv8.6: Neoverse V1 and N2, Cortex-A510, A710 and X2): two rows by two tokens,
// eight columns of each, in one instruction. Everything but the products of blocks with several tokens is that of NEON
// with dot products.
#include "kernels/simd_neon.h"

#include "kernels/matmul/bytes_neon.h"
#include "kernels/matmul/decoded_simd.h"

namespace sedge::kernels::i8mm {
namespace {

struct Decoded : neon::DecodedBytes {
  // Two registers of four columns of four rows become one of eight columns of rows 0 and 1, and one of rows 2 and 3.
  SEDGE_INLINE static void weave(uint8x16_t* rows) {
    simd::unroll<2>([&](auto i) SEDGE_INLINE {
      const auto a = vreinterpretq_u32_u8(rows[2 * i]), b = vreinterpretq_u32_u8(rows[2 * i + 1]);
      rows[2 * i] = vreinterpretq_u8_u32(vzip1q_u32(a, b));
      rows[2 * i + 1] = vreinterpretq_u8_u32(vzip2q_u32(a, b));
    });
  }

  struct Pair {
    int8x16_t eight[2];  // quants of one token, then of another
  };
  SEDGE_INLINE static Pair pair(const std::int8_t* x0, const std::int8_t* x1) {
    const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(x0)), b = vreinterpretq_s64_s8(vld1q_s8(x1));
    return {{vreinterpretq_s8_s64(vzip1q_s64(a, b)), vreinterpretq_s8_s64(vzip2q_s64(a, b))}};
  }

  struct Sums {
    int32x4_t of[2];  // rows 0 and 1, 2 and 3: each (row, token 0), (row, token 1)
  };
  SEDGE_INLINE static Sums none() { return {{neon::start_sums(0), neon::start_sums(0)}}; }
  SEDGE_INLINE static void add(Sums& sums, const uint8x16_t* rows, const Pair& pair) {
    simd::unroll<4>([&](auto i) SEDGE_INLINE {
      sums.of[i % 2] = vmmlaq_s32(sums.of[i % 2], vreinterpretq_s8_u8(rows[i]), pair.eight[i / 2]);
    });
  }
  template <std::size_t token>
  SEDGE_INLINE static V::F total(const Sums& sums) {
    return neon::floats_of(token == 0 ? vuzp1q_s32(sums.of[0], sums.of[1]) : vuzp2q_s32(sums.of[0], sums.of[1]));
  }
};

}  // namespace

namespace tiles = neondot;
SEDGE_BLOCK_ROWS(SEDGE_DECODED_MATMUL)

}  // namespace sedge::kernels::i8mm
