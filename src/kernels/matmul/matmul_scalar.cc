// The definition of every matmul: one dot product at a time, in the order of lanes.h.
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/kernels.h"
#include "kernels/lanes.h"

namespace sedge::kernels::scalar {
namespace {

template <class Stored>
Stored read(const std::uint8_t* at) {  // weights need no alignment
  Stored value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Each weight format as a float: the bytes a value takes and its meaning.
struct F32 {
  static constexpr std::size_t kBytes = 4;
  static float load(const std::uint8_t* at) { return read<float>(at); }
};
struct F16 {
  static constexpr std::size_t kBytes = 2;
  static float load(const std::uint8_t* at) { return f16_to_f32(read<std::uint16_t>(at)); }
};
struct BF16 {
  static constexpr std::size_t kBytes = 2;
  static float load(const std::uint8_t* at) { return bf16_to_f32(read<std::uint16_t>(at)); }
};

template <class Weight>
float dot(const std::uint8_t* row, const float* x, std::size_t cols) {
  Lanes lanes;
  for (std::size_t c = 0; c < cols; ++c) lanes.fma(c % kLanes, Weight::load(row + c * Weight::kBytes), x[c]);
  lanes.close(cols);
  return lanes.sum();
}

// The integer of weight i in a block, and where its block keeps them.
struct Q8 {
  using Block = BlockQ8_0;
  static int value(const Block& block, std::size_t i) { return block.quants[i]; }
};
struct Q4 {
  using Block = BlockQ4_0;
  static int value(const Block& block, std::size_t i) {
    const int byte = block.nibbles[i % 16];
    return (i < 16 ? byte & 15 : byte >> 4) - 8;
  }
};

// A block of 32 integer products makes eight exact sums of four neighbours. Even blocks use lanes 0 to 7, odd ones
// 8 to 15; each sum is scaled by the product of the two blocks' scales.
template <class Weight>
float dot_blocks(const std::uint8_t* row, const std::int8_t* quants, const float* scales, std::size_t cols) {
  using Block = typename Weight::Block;
  Lanes lanes;
  const std::size_t blocks = cols / 32;
  for (std::size_t b = 0; b < blocks; ++b) {
    const Block block = read<Block>(row + b * sizeof(Block));
    const float scale = f16_to_f32(block.scale) * scales[b];
    for (std::size_t lane = 0; lane < 8; ++lane) {
      int sum = 0;
      for (std::size_t i = 4 * lane; i < 4 * lane + 4; ++i) sum += Weight::value(block, i) * quants[b * 32 + i];
      lanes.fma(b % 2 * 8 + lane, scale, static_cast<float>(sum));
    }
  }
  return lanes.sum();
}

template <class Dot>
void for_each_output(const MatmulArgs& m, const Dot& dot_of) {
  for (std::size_t r = 0; r < m.rows; ++r) {
    for (std::size_t t = 0; t < m.tokens; ++t) m.y[t * m.y_stride + r] = dot_of(m.weights + r * m.row_bytes, t);
  }
}

template <class Weight>
void matmul_float(const MatmulArgs& m) {
  for_each_output(m,
                  [&](const std::uint8_t* row, std::size_t t) { return dot<Weight>(row, m.x + t * m.cols, m.cols); });
}

template <class Weight>
void matmul_blocks(const MatmulArgs& m) {
  for_each_output(m, [&](const std::uint8_t* row, std::size_t t) {
    return dot_blocks<Weight>(row, m.quants + t * m.cols, m.scales + t * (m.cols / 32), m.cols);
  });
}

}  // namespace

void matmul_f32(const MatmulArgs& m) { matmul_float<F32>(m); }
void matmul_f16(const MatmulArgs& m) { matmul_float<F16>(m); }
void matmul_bf16(const MatmulArgs& m) { matmul_float<BF16>(m); }
void matmul_q8_0(const MatmulArgs& m) { matmul_blocks<Q8>(m); }
void matmul_q4_0(const MatmulArgs& m) { matmul_blocks<Q4>(m); }

}  // namespace sedge::kernels::scalar
