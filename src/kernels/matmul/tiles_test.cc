// The products on tiles (tiles_simd.h) wherever there are none: the same algorithm over tiles that are plain arrays,
// which know what a processor's would do with the wrong shapes, and over vectors that are arrays too.
#include "kernels/matmul/tiles_simd.h"

#include <bit>

#include <gtest/gtest.h>

#include "kernels/kernel_cases.h"
#include "kernels/matmul/arrays.h"

namespace sedge::kernels {
namespace {

// Eight tiles. What was not loaded since they were configured is rubbish, and so is what lies beside a tile's shape.
struct ArrayTiles {
  using V = arrays::V<16>;
  using Bytes = arrays::Bytes<kPlane>;
  struct Tile {
    std::size_t rows, row_bytes;
    std::uint8_t bytes[16][64];
  };
  static inline std::array<Tile, 8> tiles;

  static void configure(std::size_t sub_cols) {
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      std::memset(tiles[i].bytes, 0x5A, sizeof tiles[i].bytes);
      tiles[i].rows = i < 6 ? 16 : sub_cols / 4;
      tiles[i].row_bytes = i == 4 || i == 5 ? sub_cols : 64;
    }
  }
  static void release() { tiles.fill(Tile{}); }

  template <std::size_t i>
  static void zero() {
    std::memset(tiles[i].bytes, 0, sizeof tiles[i].bytes);
  }
  template <std::size_t i>
  static void load(const void* from, std::size_t stride) {
    ASSERT_GT(tiles[i].rows, 0u) << "tiles are not configured";
    const auto* const at = static_cast<const std::uint8_t*>(from);
    for (std::size_t r = 0; r < tiles[i].rows; ++r) std::memcpy(tiles[i].bytes[r], at + r * stride, tiles[i].row_bytes);
  }
  template <std::size_t i>
  static void store(void* to, std::size_t stride) {
    ASSERT_GT(tiles[i].rows, 0u) << "tiles are not configured";
    auto* const at = static_cast<std::uint8_t*>(to);
    for (std::size_t r = 0; r < tiles[i].rows; ++r) std::memcpy(at + r * stride, tiles[i].bytes[r], tiles[i].row_bytes);
  }
  // sums[t][r] += a[t][4k + j] · b[k][4r + j]: tdpbssd.
  template <std::size_t i, std::size_t a, std::size_t b>
  static void dot() {
    ASSERT_EQ(tiles[a].row_bytes, tiles[b].rows * 4) << "a fault on a real machine";
    for (std::size_t t = 0; t < tiles[a].rows; ++t) {
      for (std::size_t r = 0; r < 16; ++r) {
        std::int32_t sum = 0;
        std::memcpy(&sum, tiles[i].bytes[t] + 4 * r, sizeof sum);
        for (std::size_t c = 0; c < tiles[a].row_bytes; ++c) {
          sum += std::bit_cast<std::int8_t>(tiles[a].bytes[t][c]) *
                 std::bit_cast<std::int8_t>(tiles[b].bytes[c / 4][4 * r + c % 4]);
        }
        std::memcpy(tiles[i].bytes[t] + 4 * r, &sum, sizeof sum);
      }
    }
  }

  template <BlockCoding C>
  static Bytes::B levels(const Bytes::B& codes) {
    return Bytes::each([&](std::size_t i) { return C.level(codes[i]); });
  }
  static V::F floats(const std::int32_t* sums) {
    return V::each([&](std::size_t i) { return static_cast<float>(sums[i]); });
  }
};

// Rows of one group, a whole pair, an odd group and more than one part; tokens that fill tiles, that do not, and more
// than the decoded weights serve; columns of a single step, whole runs and a rest.
constexpr cases::Size kSizes[] = {{1, 32, 1},    {16, 32, 16}, {33, 288, 17}, {45, 512, 40},
                                  {150, 96, 23}, {290, 32, 9}, {20, 160, 97}, {7, 768, 193}};

#define SEDGE_SAME_BITS(name, Args, format)                                                             \
  TEST(Tiles, give_the_bits_of_the_definition_##name) {                                                 \
    Prng prng(31);                                                                                      \
    for (const cases::Size& size : kSizes) {                                                            \
      cases::Case<Args> random(prng, size, format);                                                     \
      const Buffer expected = random.run(&scalar::name);                                                \
      EXPECT_TRUE((random.run(&simd::TileProducts<ArrayTiles, *find_coding(format)>::run) == expected)) \
          << size.rows << " rows, " << random.args.cols << " columns, " << size.tokens << " tokens";    \
    }                                                                                                   \
  }
SEDGE_BLOCK_ROWS(SEDGE_SAME_BITS)
#undef SEDGE_SAME_BITS

// The definition's y is a part of a larger matrix, whose other rows are not touched.
TEST(Tiles, write_only_the_rows_and_tokens_that_are_there) {
  Prng prng(32);
  cases::Case<MatmulArgs> random(prng, {.rows = 19, .cols = 64, .tokens = 18}, DType::kQ4_0);
  MatmulArgs m = random.args;
  m.y_stride = 40;
  const auto run = [&](Kernels::Matmul matmul) {
    std::vector<float> y(20 * m.y_stride, -7.0f);
    m.y = y.data() + m.y_stride + 3;
    matmul(m);
    return cases::bits_of(y);
  };
  EXPECT_EQ(run(&simd::TileProducts<ArrayTiles, *find_coding(DType::kQ4_0)>::run), run(&scalar::matmul_q4_0));
}

// The least level of a byte, which no quantizer makes but a file may hold, against the largest quants.
TEST(Tiles, and_every_instruction_set_take_a_level_of_minus_128) {
  Prng prng(33);
  cases::Case<MatmulArgs> random(prng, {.rows = 16, .cols = 64, .tokens = 16}, DType::kQ8_0);
  for (std::size_t at = 0; at < random.packed.size(); at += block_bytes(*find_coding(DType::kQ8_0))) {
    std::memset(random.packed.data() + at + 2 * kPackedRows, 0, 8 * kPlane);
  }
  std::ranges::fill(random.quants, std::int8_t{-127});
  std::ranges::fill(random.sums, -127 * 16);
  const Buffer expected = random.run(&scalar::matmul_q8_0);
  EXPECT_EQ(random.run(&simd::TileProducts<ArrayTiles, *find_coding(DType::kQ8_0)>::run), expected);
  for (const Kernels& kernels : available_kernels())
    EXPECT_EQ(random.run(kernels.matmul_q8_0), expected) << kernels.isa;
}

}  // namespace
}  // namespace sedge::kernels
