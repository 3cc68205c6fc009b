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

// One row of a block of a group.
template <BlockCoding C>
class BlockRow {
 public:
  BlockRow(const std::uint8_t* block, std::size_t r) : steps_(block + header_bytes(C)), r_(r) {}

  float sub(std::size_t k) const { return sub_at(k, 0); }
  float sub_min(std::size_t k) const { return sub_at(k, spans_of(C)); }
  std::uint8_t code(std::size_t i) const {
    return code_at<C>(steps_ + i / kPackedCols * step_bytes(C) + subs_bytes(C), r_, i % kPackedCols);
  }

 private:
  float sub_at(std::size_t k, std::size_t first) const {
    const std::uint8_t* const subs = steps_ + k / spans_of(C) * step_bytes(C);
    return static_cast<float>(static_cast<std::int8_t>(subs[(first + k % spans_of(C)) * kPackedRows + r_]));
  }

  const std::uint8_t* steps_;
  std::size_t r_;
};

// The same of words.
template <BlockCoding C>
  requires(find_book(C.type) != nullptr)
class BlockRow<C> {
 public:
  BlockRow(const std::uint8_t* block, std::size_t r) : block_(block), r_(r) {}

  float sub(std::size_t k) const { return static_cast<float>(2 * field(kAt.subs, k, 4) + 1); }
  float sub_min(std::size_t) const { return 0; }
  std::uint8_t code(std::size_t i) const {
    const std::size_t w = i / kBook.word_values, at = i % kBook.word_values * 8;
    const unsigned above = kAt.field_bits == 0 ? 0 : field(kAt.fields, w, kAt.field_bits);
    const unsigned index = (field(kAt.lows, w, 8) | above << 8) % kBook.count();
    const std::uint64_t word = kBook.word_values == 8 ? words_of_eight(C.type)[index] : words_of_four(C.type)[index];
    const auto value = static_cast<unsigned>(word >> at & 255);
    if (!kBook.has_signs()) return static_cast<std::uint8_t>(above >> kBook.high.bits != 0 ? value - 1 : value + 1);
    const std::size_t in_step = i % kPackedCols;
    const std::uint8_t signs = block_[kAt.signs + i / kPackedCols * kPlane + 4 * r_ + i % 4];
    return static_cast<std::uint8_t>((signs >> in_step / 4 & 1) != 0 ? C.offset - value : C.offset + value);
  }

 private:
  static constexpr BookCoding kBook = *find_book(C.type);
  static constexpr BookLayout kAt = layout_of(kBook);

  unsigned field(std::size_t from, std::size_t i, std::size_t bits) const {
    const std::size_t bit = i * bits;
    return static_cast<unsigned>(block_[from + bit / 8 * kPackedRows + r_]) >> bit % 8 & ((1u << bits) - 1);
  }

  const std::uint8_t* block_;
  std::size_t r_;
};

// The integer products of a sub-block are summed exactly; the sum, scaled by the product of the weights' scale and the
// activations', goes to one chain of multiply-adds, blocks in ascending order, each followed by its minimum's share.
template <BlockCoding C>
float dot_blocks(const std::uint8_t* group, std::size_t r, const std::int8_t* quants, const float* scales,
                 std::size_t cols) {
  constexpr std::size_t kSpan = kPackedCols / spans_of(C);
  float y = 0.0f;
  for (std::size_t b = 0; b < cols; b += C.values, group += packed_block_bytes(C)) {
    const BlockRow<C> row(group, r);
    const auto d = read<std::uint16_t>(group + 2 * r);
    const float scale = C.bf16_scale ? bf16_to_f32(d) : f16_to_f32(d) * C.unit();
    const float min = C.has_min ? f16_to_f32(read<std::uint16_t>(group + 2 * (kPackedRows + r))) : 0.0f;
    for (std::size_t k = 0; k < C.values / kSpan; ++k) {
      const float x_scale = scales[(b + k * kSpan) / kPackedCols];
      int sum = 0, total = 0;
      for (std::size_t i = k * kSpan; i < (k + 1) * kSpan; ++i) {
        const auto quant = static_cast<int>(quants[b + i]);
        sum += C.level(row.code(i)) * quant;
        total += quant;
      }
      const float weight = C.sub == 0 ? scale : scale * row.sub(k);
      y = std::fma(weight * x_scale, static_cast<float>(sum), y);
      if (!C.has_min) continue;
      const float least = C.sub == 0 ? min : -(min * row.sub_min(k));
      y = std::fma(least, x_scale * static_cast<float>(total), y);
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
