// The definition of every matmul: one dot product at a time, in the order of lanes.h or of dot_blocks.
#include <cmath>
#include <cstring>

#include "kernels/kernels.h"
#include "kernels/lanes.h"
#include "kernels/pack/pack.h"

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

// The integer of weight i of row r in a packed block of sixteen rows (pack.h), `bytes` being what follows the scales.
struct Q8 {
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ8_0);
  static int value(const std::uint8_t* bytes, std::size_t r, std::size_t i) {
    return bytes[i / 4 * 64 + r * 4 + i % 4] - 128;
  }
};
struct Q4 {
  static constexpr std::size_t kBlockBytes = sizeof(BlockQ4_0);
  static int value(const std::uint8_t* bytes, std::size_t r, std::size_t i) {
    const int byte = bytes[i % 16 / 4 * 64 + r * 4 + i % 4];
    return (i < 16 ? byte & 15 : byte >> 4) - 8;
  }
};

// The 32 integer products of a block are summed exactly; the sum, scaled by the product of the two blocks' scales,
// goes to one chain of multiply-adds, blocks in ascending order.
template <class Weight>
float dot_blocks(const std::uint8_t* group, std::size_t r, const std::int8_t* quants, const float* scales,
                 std::size_t cols) {
  float y = 0.0f;
  for (std::size_t b = 0; b < cols / 32; ++b, group += kPackedRows * Weight::kBlockBytes) {
    const float scale = f16_to_f32(read<std::uint16_t>(group + 2 * r)) * scales[b];
    int sum = 0;
    for (std::size_t i = 0; i < 32; ++i) sum += Weight::value(group + 2 * kPackedRows, r, i) * quants[b * 32 + i];
    y = std::fma(scale, static_cast<float>(sum), y);
  }
  return y;
}

template <class Dot>
void for_each_output(const MatmulArgs& m, const Dot& dot_of) {
  for (std::size_t r = 0; r < m.rows; ++r) {
    for (std::size_t t = 0; t < m.tokens; ++t) m.y[t * m.y_stride + r] = dot_of(r, t);
  }
}

template <class Weight>
void matmul_float(const MatmulArgs& m) {
  for_each_output(m, [&](std::size_t r, std::size_t t) {
    return dot<Weight>(m.weights + r * m.row_bytes, m.x + t * m.cols, m.cols);
  });
}

template <class Weight>
void matmul_blocks(const MatmulArgs& m) {
  for_each_output(m, [&](std::size_t r, std::size_t t) {
    return dot_blocks<Weight>(m.weights + r / kPackedRows * kPackedRows * m.row_bytes, r % kPackedRows,
                              m.quants + t * m.cols, m.scales + t * (m.cols / 32), m.cols);
  });
}

}  // namespace

void matmul_f32(const MatmulArgs& m) { matmul_float<F32>(m); }
void matmul_f16(const MatmulArgs& m) { matmul_float<F16>(m); }
void matmul_bf16(const MatmulArgs& m) { matmul_float<BF16>(m); }
void matmul_q8_0(const MatmulArgs& m) { matmul_blocks<Q8>(m); }
void matmul_q4_0(const MatmulArgs& m) { matmul_blocks<Q4>(m); }

}  // namespace sedge::kernels::scalar
