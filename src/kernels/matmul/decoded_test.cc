// The products with decoded weights (decoded_simd.h) on every machine: the same algorithm over arrays.
#include "kernels/matmul/decoded_simd.h"

#include <bit>

#include <gtest/gtest.h>

#include "kernels/kernel_cases.h"
#include "kernels/matmul/arrays.h"

namespace sedge::kernels {
namespace {

// As smmla has it: eight columns of a row side by side.
struct ArrayPairs {
  using V = arrays::V<4>;
  using Bytes = arrays::Bytes<16>;
  using B = Bytes::B;

  template <BlockCoding C>
  static B levels(const B& codes) {
    return Bytes::each([&](std::size_t i) { return C.level(codes[i]); });
  }
  static void weave(B* rows) {
    for (std::size_t i = 0; i < 4; i += 2) {
      const B a = rows[i], b = rows[i + 1];
      rows[i] = zip(a, b, 0), rows[i + 1] = zip(a, b, 8);
    }
  }
  struct Pair {
    const std::int8_t *x0, *x1;
  };
  static Pair pair(const std::int8_t* x0, const std::int8_t* x1) { return {x0, x1}; }
  using Sums = std::array<std::int32_t, 8>;  // [4 rows, 2 tokens]
  static Sums none() { return {}; }
  // Register i has eight columns of rows 2·(i mod 2) and the next.
  static void add(Sums& sums, const B* rows, const Pair& x) {
    for (std::size_t i = 0; i < std::size_t{4} * 16 * 2; ++i) {
      const std::size_t c = i % 16, row = i / 16 % 4, token = i / 64;
      const auto weight = std::bit_cast<std::int8_t>(rows[c / 8 * 2 + row / 2][row % 2 * 8 + c % 8]);
      sums[2 * row + token] += weight * (token == 0 ? x.x0 : x.x1)[c];
    }
  }
  template <std::size_t token>
  static V::F total(const Sums& sums) {
    return V::each([&](std::size_t row) { return static_cast<float>(sums[2 * row + token]); });
  }

 private:
  // Words of a and b in turns.
  static B zip(const B& a, const B& b, std::size_t first) {
    return Bytes::each([&](std::size_t i) { return (i / 4 % 2 == 0 ? a : b)[first + i / 8 * 4 + i % 4]; });
  }
};

// Rows of one group, of several and of a part of one; tokens that fill tiles, that do not, whose last has no neighbour,
// and more than the decoded weights serve; columns of a single step, whole runs and a rest.
constexpr cases::Size kSizes[] = {{1, 32, 1},  {16, 32, 2},   {19, 288, 3}, {33, 512, 4},
                                  {15, 96, 5}, {20, 160, 98}, {7, 768, 101}};

#define SEDGE_SAME_BITS(name, Args, format)                                                                \
  TEST(Decoded, give_the_bits_of_the_definition_##name) {                                                  \
    Prng prng(37);                                                                                         \
    for (const cases::Size& size : kSizes) {                                                               \
      cases::Case<Args> random(prng, size, format);                                                        \
      const Buffer expected = random.run(&scalar::name);                                                   \
      EXPECT_TRUE((random.run(&simd::DecodedProducts<ArrayPairs, *find_coding(format)>::run) == expected)) \
          << size.rows << " rows, " << random.args.cols << " columns, " << size.tokens << " tokens";       \
    }                                                                                                      \
  }
SEDGE_BLOCK_ROWS(SEDGE_SAME_BITS)
#undef SEDGE_SAME_BITS

// The definition's y is a part of a larger matrix, whose other rows and tokens are not touched.
TEST(Decoded, write_only_the_rows_and_tokens_that_are_there) {
  Prng prng(38);
  cases::Case<MatmulArgs> random(prng, {.rows = 19, .cols = 64, .tokens = 5}, DType::kQ4_0);
  MatmulArgs m = random.args;
  m.y_stride = 40;
  const auto run = [&](Kernels::Matmul matmul) {
    std::vector<float> y(8 * m.y_stride, -7.0f);
    m.y = y.data() + m.y_stride + 3;
    matmul(m);
    return cases::bits_of(y);
  };
  EXPECT_EQ(run(&simd::DecodedProducts<ArrayPairs, *find_coding(DType::kQ4_0)>::run), run(&scalar::matmul_q4_0));
}

}  // namespace
}  // namespace sedge::kernels
