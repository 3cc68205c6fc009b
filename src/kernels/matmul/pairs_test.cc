// The products of pairs (pairs_simd.h) wherever no instruction makes them: the same algorithm over arrays.
#include "kernels/matmul/pairs_simd.h"

#include <bit>

#include <gtest/gtest.h>

#include "kernels/kernel_cases.h"
#include "kernels/matmul/arrays.h"

namespace sedge::kernels {
namespace {

struct ArrayPairs {
  using V = arrays::V<4>;
  using Bytes = arrays::Bytes<16>;
  using B = Bytes::B;
  using A = std::array<std::int32_t, 4>;

  template <BlockCoding C>
  static B levels(const B& codes) {
    return Bytes::each([&](std::size_t i) { return C.level(codes[i]); });
  }
  static B rows_0_1(const B& a, const B& b) { return zip(a, b, 0); }
  static B rows_2_3(const B& a, const B& b) { return zip(a, b, 8); }
  static B pair(const std::int8_t* x0, const std::int8_t* x1) {
    return Bytes::each([&](std::size_t i) { return (i < 8 ? x0 : x1)[i % 8]; });
  }
  static A none() { return {}; }
  // sums[row, token] += a[row, c] · b[token, c]: smmla.
  static A dot(A sums, const B& a, const B& b) {
    for (std::size_t i = 0; i < 4 * 8; ++i) {
      const std::size_t row = i / 16, token = i / 8 % 2, c = i % 8;
      sums[2 * row + token] +=
          std::bit_cast<std::int8_t>(a[8 * row + c]) * std::bit_cast<std::int8_t>(b[8 * token + c]);
    }
    return sums;
  }
  template <std::size_t token>
  static V::F total(const A& rows_0_1, const A& rows_2_3) {
    return V::each([&](std::size_t i) { return static_cast<float>((i < 2 ? rows_0_1 : rows_2_3)[i % 2 * 2 + token]); });
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

#define SEDGE_SAME_BITS(name, Args, format)                                                             \
  TEST(Pairs, give_the_bits_of_the_definition_##name) {                                                 \
    Prng prng(37);                                                                                      \
    for (const cases::Size& size : kSizes) {                                                            \
      cases::Case<Args> random(prng, size, format);                                                     \
      const Buffer expected = random.run(&scalar::name);                                                \
      EXPECT_TRUE((random.run(&simd::PairProducts<ArrayPairs, *find_coding(format)>::run) == expected)) \
          << size.rows << " rows, " << random.args.cols << " columns, " << size.tokens << " tokens";    \
    }                                                                                                   \
  }
SEDGE_BLOCK_ROWS(SEDGE_SAME_BITS)
#undef SEDGE_SAME_BITS

// The definition's y is a part of a larger matrix, whose other rows and tokens are not touched.
TEST(Pairs, write_only_the_rows_and_tokens_that_are_there) {
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
  EXPECT_EQ(run(&simd::PairProducts<ArrayPairs, *find_coding(DType::kQ4_0)>::run), run(&scalar::matmul_q4_0));
}

}  // namespace
}  // namespace sedge::kernels
