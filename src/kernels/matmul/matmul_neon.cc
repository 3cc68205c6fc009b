#include "kernels/simd_neon.h"

#include "kernels/matmul/matmul_simd.h"

namespace sedge::kernels::neon {

void matmul_f32(const MatmulArgs& m) { simd::matmul<V, simd::FloatTile, simd::WeightF32<V>>(m); }
void matmul_f16(const MatmulArgs& m) { simd::matmul<V, simd::FloatTile, simd::WeightF16<V>>(m); }
void matmul_bf16(const MatmulArgs& m) { simd::matmul<V, simd::FloatTile, simd::WeightBF16<V>>(m); }
void matmul_q8_0(const MatmulArgs& m) { simd::matmul<V, simd::BlockTile, simd::WeightQ8<V>>(m); }
void matmul_q4_0(const MatmulArgs& m) { simd::matmul<V, simd::BlockTile, simd::WeightQ4<V>>(m); }

}  // namespace sedge::kernels::neon
