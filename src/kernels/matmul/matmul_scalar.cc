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

// The code of column i (of 32) of row r (of 16), as pack.h lays them.
template <BlockCoding C>
std::uint8_t code_at(const std::uint8_t* planes, std::size_t r, std::size_t i) {
  const std::size_t half = i / 16, step = i % 16 / 4, at = 4 * r + i % 4;
  const auto field = [&](std::size_t plane, std::size_t shift, unsigned bits) {
    return static_cast<unsigned>(planes[plane * kPlane + at]) >> shift & ((1u << bits) - 1);
  };
  unsigned code = 0;
  switch (low_bits(C)) {
    case 8:
      code = field(4 * half + step, 0, 8);
      break;
    case 4:
      code = field(step, 4 * half, 4);
      break;
    default:
      code = field(half, 2 * step, 2);
      break;
  }
  switch (high_planes(C)) {
    case 1:
      code |= field(low_planes(C), 4 * half + step, 1) << low_bits(C);
      break;
    case 2:
      code |= field(low_planes(C) + half, 2 * step, 2) << low_bits(C);
      break;
    default:
      break;
  }
  return static_cast<std::uint8_t>(code);
}

// The integer products of a sub-block are summed exactly; the sum, scaled by the product of the weights' scale and the
// activations', goes to one chain of multiply-adds, blocks in ascending order, each followed by its minimum's share.
template <BlockCoding C>
float dot_blocks(const std::uint8_t* group, std::size_t r, const std::int8_t* quants, const float* scales,
                 std::size_t cols) {
  constexpr std::size_t kSpans = spans_of(C), kSpan = kPackedCols / kSpans;
  const auto sub_at = [r](const std::uint8_t* subs, std::size_t i) {
    return static_cast<float>(static_cast<std::int8_t>(subs[i * kPackedRows + r]));
  };
  float y = 0.0f;
  for (std::size_t b = 0; b < cols; b += C.values) {
    const auto d = read<std::uint16_t>(group + 2 * r);
    const float scale = C.bf16_scale ? bf16_to_f32(d) : f16_to_f32(d);
    const float min = C.has_min ? f16_to_f32(read<std::uint16_t>(group + 2 * (kPackedRows + r))) : 0.0f;
    group += header_bytes(C);
    for (std::size_t at = 0; at < C.values; at += kPackedCols, group += step_bytes(C), ++scales) {
      for (std::size_t span = 0; span < kSpans; ++span) {
        int sum = 0, total = 0;
        for (std::size_t i = span * kSpan; i < (span + 1) * kSpan; ++i) {
          const int quant = quants[b + at + i];
          sum += C.level(code_at<C>(group + subs_bytes(C), r, i)) * quant;
          total += quant;
        }
        const float weight = C.sub == 0 ? scale : scale * sub_at(group, span);
        y = std::fma(weight * *scales, static_cast<float>(sum), y);
        if (!C.has_min) continue;
        const float least = C.sub == 0 ? min : -(min * sub_at(group, kSpans + span));
        y = std::fma(least, *scales * static_cast<float>(total), y);
      }
    }
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

template <BlockCoding C>
void matmul_blocks(const MatmulArgs& m) {
  for_each_output(m, [&](std::size_t r, std::size_t t) {
    return dot_blocks<C>(m.weights + r / kPackedRows * kPackedRows * m.row_bytes, r % kPackedRows,
                         m.quants + t * m.cols, m.scales + t * (m.cols / 32), m.cols);
  });
}

}  // namespace

void matmul_f32(const MatmulArgs& m) { matmul_float<F32>(m); }
void matmul_f16(const MatmulArgs& m) { matmul_float<F16>(m); }
void matmul_bf16(const MatmulArgs& m) { matmul_float<BF16>(m); }
#define SEDGE_BLOCK_MATMUL(name, Args, format) \
  void name(const Args& m) { matmul_blocks<*find_coding(format)>(m); }
SEDGE_BLOCK_ROWS(SEDGE_BLOCK_MATMUL)

}  // namespace sedge::kernels::scalar
