#include "kernels/kernels.h"

#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "kernels/attention/rotation.h"
#include "kernels/kernel_cases.h"
#include "kernels/lanes.h"
#include "kernels/math.h"
#include "kernels/norm/centre.h"
#include "kernels/numeric_class.h"
#include "kernels/pack/pack.h"
#include "kernels/rope/rope.h"

namespace sedge::kernels {
namespace {

using cases::Case;
using cases::Size;

Size any_size() {
  return {.rows = *rc::gen::inRange<std::size_t>(1, 40),
          .cols = *rc::gen::inRange<std::size_t>(1, 200),
          .tokens = *rc::gen::inRange<std::size_t>(1, 9)};
}

// One test a row of the table: every instruction set of this machine gives the definition's bits.
#define SEDGE_SAME_BITS(name, Args, format)                                                               \
  TEST(EveryInstructionSet, gives_the_bits_of_the_definition_##name) {                                    \
    EXPECT_TRUE(rc::check([](std::uint64_t seed) {                                                        \
      Prng prng(seed);                                                                                    \
      Case<Args> random(prng, any_size(), format);                                                        \
      const Buffer expected = random.run(&scalar::name);                                                  \
      for (const Kernels& kernels : available_kernels()) RC_ASSERT(random.run(kernels.name) == expected); \
    }));                                                                                                  \
  }
SEDGE_KERNEL_ROWS(SEDGE_SAME_BITS)
#undef SEDGE_SAME_BITS

// Tiles of every height and width, and what is left beside them.
TEST(EveryInstructionSet, gives_the_bits_of_the_definition_for_many_rows_and_tokens) {
  constexpr std::size_t kTokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 31, 47, 48, 97};
  Prng prng(11);
  for (const Format& format : formats()) {
    for (const std::size_t tokens : kTokens) {
      Case<MatmulArgs> random(prng, {.rows = 23 + 5 * (tokens % 32), .cols = 96, .tokens = tokens}, format.type);
      const Buffer expected = random.run(Kernels(available_kernels().front()).matmul(format.type));
      for (const Kernels& kernels : available_kernels()) {
        EXPECT_EQ(random.run(kernels.matmul(format.type)), expected)
            << format.name << " on " << kernels.isa << ", " << tokens << " tokens";
      }
    }
  }
}

TEST(NumericClass, every_instruction_set_of_this_machine_belongs_to_it) {
  for (const Kernels& kernels : available_kernels()) {
    EXPECT_EQ(numeric_fingerprint(kernels), kNumericFingerprint) << kernels.isa << " of class " << kNumericClass;
  }
}

// One test a matmul: several tokens at once give the bits of each alone, so a prefill equals its decode steps.
#define SEDGE_TOKENS_ALONE(name, Args, format)                                \
  TEST(Matmul, several_tokens_give_the_bits_of_each_alone_##name) {           \
    EXPECT_TRUE(rc::check([](std::uint64_t seed) {                            \
      Prng prng(seed);                                                        \
      Case<Args> together(prng, any_size(), format);                          \
      const Kernels::Matmul matmul = active_kernels().name;                   \
      (void)together.run(matmul);                                             \
      const std::vector<float> expected = together.y;                         \
      for (std::size_t t = 0; t < together.args.tokens; ++t) {                \
        MatmulArgs one = together.args;                                       \
        one.tokens = 1;                                                       \
        one.x += t * one.cols;                                                \
        if (one.scales != nullptr) {                                          \
          one.quants += t * one.cols;                                         \
          one.scales += t * (one.cols / 32), one.sums += t * (one.cols / 16); \
        }                                                                     \
        one.y += t * one.y_stride;                                            \
        matmul(one);                                                          \
      }                                                                       \
      RC_ASSERT(together.y == expected);                                      \
    }));                                                                      \
  }
SEDGE_MATMUL_ROWS(SEDGE_TOKENS_ALONE)
#undef SEDGE_TOKENS_ALONE

// The definition itself, against plain double arithmetic on the dequantized weights.
TEST(Matmul, is_the_product_it_says) {
  Prng prng(3);
  for (const Format& format : formats()) {
    Case<MatmulArgs> c(prng, {.rows = 9, .cols = 96, .tokens = 3}, format.type);
    (void)c.run(Kernels(available_kernels().front()).matmul(format.type));
    std::vector<float> row(c.args.cols);
    for (std::size_t r = 0; r < c.args.rows; ++r) {
      format.dequantize(c.weights.data() + r * (c.weights.size() / c.args.rows), row.data(), row.size());
      for (std::size_t t = 0; t < c.args.tokens; ++t) {
        double expected = 0;
        for (std::size_t i = 0; i < row.size(); ++i) {
          const std::size_t at = t * row.size() + i;
          expected += static_cast<double>(row[i]) * (is_quantized(format.type)
                                                         ? static_cast<double>(c.scales[at / 32]) * c.quants[at]
                                                         : static_cast<double>(c.x[at]));
        }
        EXPECT_NEAR(c.y[t * c.args.rows + r], expected, 2e-5) << format.name << " row " << r << " token " << t;
      }
    }
  }
}

TEST(Matmul, the_most_negative_weights_do_not_saturate) {
  BlockQ8_0 block{.scale = f32_to_f16(1.0f), .quants = {}};
  std::int8_t quants[32];
  for (int i = 0; i < 32; ++i) block.quants[i] = -128, quants[i] = static_cast<std::int8_t>(i % 2 == 0 ? -127 : 127);
  quants[1] = -127;
  const float scale = 1.0f;
  const std::int32_t sums[2] = {-2 * 127, 0};
  std::uint8_t packed[kPackedRows * sizeof block];
  pack(DType::kQ8_0, reinterpret_cast<const std::uint8_t*>(&block), 1, 32, packed);
  for (const Kernels& kernels : available_kernels()) {
    float y = 0;
    kernels.matmul_q8_0({.weights = packed,
                         .row_bytes = sizeof block,
                         .rows = 1,
                         .cols = 32,
                         .x = nullptr,
                         .quants = quants,
                         .scales = &scale,
                         .sums = sums,
                         .tokens = 1,
                         .y = &y,
                         .y_stride = 1});
    EXPECT_EQ(y, 2.0f * 128 * 127) << kernels.isa;
  }
}

// The largest sums of nibbles: AVX2 keeps a block's pairs in 16 bits.
TEST(Matmul, the_largest_nibbles_do_not_saturate) {
  BlockQ4_0 block{.scale = f32_to_f16(1.0f), .nibbles = {}};
  std::int8_t quants[32];
  for (std::uint8_t& nibbles : block.nibbles) nibbles = 0xFF;
  for (std::int8_t& quant : quants) quant = 127;
  const float scale = 1.0f;
  const std::int32_t sums[2] = {16 * 127, 16 * 127};
  std::uint8_t packed[kPackedRows * sizeof block];
  pack(DType::kQ4_0, reinterpret_cast<const std::uint8_t*>(&block), 1, 32, packed);
  for (const Kernels& kernels : available_kernels()) {
    float y = 0;
    kernels.matmul_q4_0({packed, sizeof block, 1, 32, nullptr, quants, &scale, sums, 1, &y, 1});
    EXPECT_EQ(y, 32.0f * 7 * 127) << kernels.isa;
  }
}

// The definition itself, against plain double arithmetic on what the format makes of keys and values.
TEST(Attention, is_the_weighted_sum_it_says) {
  constexpr std::size_t kDim = 64, kPositions = 37, kPlaces = 48;
  Prng prng(5);
  for (const Format& format : formats()) {
    if (!is_cache_format(format.type)) continue;
    const std::size_t row_bytes = cache_row_bytes(format.type, kDim);
    const std::vector<float> q = cases::random_floats(prng, kDim, 2.0);
    std::vector<float> key(kDim), value(kDim), scores(kPlaces), out(kDim);
    std::vector<double> expected(kDim, 0.0);
    Buffer keys(kPlaces * row_bytes), values(kPlaces * row_bytes), row(row_bytes);
    double total = 0;
    for (std::size_t p = 0; p < kPositions; ++p) {
      key = cases::random_floats(prng, kDim, 4.0), value = cases::random_floats(prng, kDim, 4.0);
      const std::size_t at = p / kCacheGroup * kCacheGroup * row_bytes;
      keep_position(format.type, key.data(), value.data(), kDim, p % kCacheGroup, &keys[at], &values[at]);
      for (std::vector<float>* numbers : {&key, &value}) {
        format.quantize(numbers->data(), row.data(), kDim);
        format.dequantize(row.data(), numbers->data(), kDim);
      }
      double score = 0;
      for (std::size_t d = 0; d < kDim; ++d) score += static_cast<double>(q[d]) * static_cast<double>(key[d]);
      const double weight = std::exp(0.3 * score);
      total += weight;
      for (std::size_t d = 0; d < kDim; ++d) expected[d] += weight * static_cast<double>(value[d]);
    }
    Kernels(available_kernels().front())
        .attend(format.type)({.q = q.data(),
                              .keys = keys.data(),
                              .values = values.data(),
                              .tokens = 1,
                              .group = 1,
                              .positions = kPositions,
                              .window = 0,
                              .head_dim = kDim,
                              .scale = 0.3f,
                              .scores = scores.data(),
                              .score_stride = kPlaces,
                              .out = out.data(),
                              .q_stride = kDim});
    for (std::size_t d = 0; d < kDim; ++d) {
      EXPECT_NEAR(out[d], expected[d] / total, 2e-5) << format.name << " dimension " << d;
    }
  }
}

TEST(Quantize, hostile_floats_give_defined_integers_everywhere) {
  std::vector<float> x(64, 1.0f);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  x[40] = std::numeric_limits<float>::infinity();
  for (const Kernels& kernels : available_kernels()) {
    std::int8_t quants[64];
    float scales[2];
    std::int32_t sums[4];
    kernels.quantize_q8({x.data(), x.size(), quants, scales, sums});
    EXPECT_EQ(quants[3], -127) << kernels.isa;
    EXPECT_EQ(quants[4], 127) << kernels.isa;
    EXPECT_TRUE(std::isinf(scales[1])) << kernels.isa;
  }
}

TEST(Lanes, fold_in_halves) {
  scalar::Lanes lanes;
  for (std::size_t i = 0; i < 16; ++i) lanes.lane[i] = 1.0f;
  lanes.lane[0] = 0x1p24f;  // absorbs a single 1: only an order that adds the ones first keeps them
  EXPECT_EQ(lanes.sum(), ((0x1p24f + 1) + 2 + 4) + 8);
}

// From `first`, `step` apart, below `end`.
std::vector<double> steps(double first, double end, double step) {
  std::vector<double> all(static_cast<std::size_t>(std::ceil((end - first) / step)));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = first + static_cast<double>(i) * step;
  return all;
}

TEST(Math, agrees_with_the_library_within_its_bounds) {
  for (const double x : steps(-87, 88, 0.0371)) {
    EXPECT_NEAR(exp_f32(static_cast<float>(x)) / std::exp(static_cast<double>(static_cast<float>(x))), 1.0, 2e-7) << x;
  }
  for (const double power : steps(std::log(1e-3), std::log(1e12), std::log(1.37))) {
    const double x = std::exp(power);
    EXPECT_NEAR(log_f64(x), std::log(x), 1e-14 * std::max(1.0, std::fabs(std::log(x)))) << x;
    EXPECT_NEAR(pow_f64(x, -0.375) / std::pow(x, -0.375), 1.0, 1e-13) << x;
  }
  for (const double x : steps(-1e7, 1e7, 12345.678)) {
    EXPECT_NEAR(sin_cos(x).sin, std::sin(x), 1e-10) << x;
    EXPECT_NEAR(sin_cos(x).cos, std::cos(x), 1e-10) << x;
  }
  EXPECT_EQ(exp_f32(0.0f), 1.0f);
  EXPECT_EQ(exp_f32(-1e30f), exp_f32(kExpMin));
}

TEST(Math, gelu_and_the_cap_are_what_they_say) {
  for (const double x : steps(-12, 12, 0.0173)) {
    float y = static_cast<float>(x), one = 1.0f;
    const double exact = static_cast<double>(y);
    active_kernels().gelu_mul({&y, &one, 1});
    const double u = std::sqrt(2 / std::numbers::pi) * (exact + 0.044715 * exact * exact * exact);
    EXPECT_NEAR(y, 0.5 * exact * (1 + std::tanh(u)), 3e-6) << x;
    float capped = static_cast<float>(20 * x);
    active_kernels().softcap({&capped, 1, 0.25f, 30.0f});
    EXPECT_NEAR(capped, 30 * std::tanh(20 * x * 0.25 / 30), 1e-5) << x;
  }
}

TEST(Norm, centred_values_sum_to_nothing_and_keep_their_distances) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    std::vector<float> x = cases::random_floats(prng, *rc::gen::inRange<std::size_t>(1, 200), 8.0), y(x.size());
    centre(x, y.data());
    double sum = 0;
    for (const float v : y) sum += static_cast<double>(v);
    RC_ASSERT(std::fabs(sum) < 1e-4 * static_cast<double>(x.size()));
    RC_ASSERT(std::fabs((y.back() - y.front()) - (x.back() - x.front())) < 1e-5f);
    centre(x, x.data());
    RC_ASSERT(x == y);
  }));
}

// Pairs 1 apart, then 2, 4, ...: the order of numeric_class.md §5, bit for bit, and the matrix that it makes.
TEST(Rotation, is_the_walsh_hadamard_transform_of_the_largest_power_of_two_in_the_head) {
  Prng prng(8);
  for (const auto& [head_dim, piece] : {std::pair<std::size_t, std::size_t>{32, 32}, {64, 64}, {96, 32}, {256, 256}}) {
    const std::vector<float> before = cases::random_floats(prng, 3 * head_dim, 4.0);
    std::vector<float> rotated = before, ordered = before;
    rotate(rotated.data(), 3, head_dim);
    for (std::size_t apart = 1; apart < piece; apart *= 2) {
      for (std::size_t i = 0; i < ordered.size(); ++i) {
        if ((i % piece & apart) != 0) continue;
        const float a = ordered[i], b = ordered[i + apart];
        ordered[i] = a + b, ordered[i + apart] = a - b;
      }
    }
    for (float& value : ordered) value *= 1.0f / std::sqrt(static_cast<float>(piece));
    EXPECT_EQ(rotated, ordered) << "heads of " << head_dim;
    for (std::size_t i = 0; i < rotated.size(); ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < piece; ++j) {
        const double value = static_cast<double>(before[i / piece * piece + j]);
        sum += std::popcount(i % piece & j) % 2 == 0 ? value : -value;
      }
      EXPECT_NEAR(rotated[i], sum / std::sqrt(static_cast<double>(piece)), 1e-5) << "heads of " << head_dim;
    }
  }
}

TEST(Rotation, is_its_own_inverse_and_keeps_products) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    const std::size_t dim = 32 * *rc::gen::inRange<std::size_t>(1, 9);
    const auto product = [&](const std::vector<float>& a, const std::vector<float>& b) {
      double sum = 0;
      for (std::size_t d = 0; d < dim; ++d) sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
      return sum;
    };
    const std::vector<float> q = cases::random_floats(prng, dim, 4.0), k = cases::random_floats(prng, dim, 4.0);
    std::vector<float> rotated_q = q, rotated_k = k;
    rotate(rotated_q.data(), 1, dim), rotate(rotated_k.data(), 1, dim);
    RC_ASSERT(rotated_q != q);
    RC_ASSERT(std::fabs(product(rotated_q, rotated_k) - product(q, k)) < 1e-6 * static_cast<double>(dim) * 4);
    rotate(rotated_q.data(), 1, dim);
    for (std::size_t d = 0; d < dim; ++d) RC_ASSERT(std::fabs(rotated_q[d] - q[d]) < 4e-6f);
  }));
}

TEST(Rotation, leaves_levels_to_the_dimensions_beside_a_large_one) {
  constexpr std::size_t kDim = 64, kLarge = 7;
  const Format& format = format_of(DType::kQ4_0);
  Prng prng(9);
  double loss[2] = {0, 0};  // of the other dimensions: as they are, and rotated
  for (std::size_t round = 0; round < 100; ++round) {
    std::vector<float> key = cases::random_floats(prng, kDim, 2.0);
    key[kLarge] = 20.0f;
    std::vector<float> kept = key;
    Buffer row(cache_row_bytes(DType::kQ4_0, kDim));
    if (round % 2 == 1) rotate(kept.data(), 1, kDim);
    format.quantize(kept.data(), row.data(), kDim);
    format.dequantize(row.data(), kept.data(), kDim);
    if (round % 2 == 1) rotate(kept.data(), 1, kDim);
    for (std::size_t d = 0; d < kDim; ++d) {
      if (d != kLarge) loss[round % 2] += std::pow(static_cast<double>(kept[d] - key[d]), 2);
    }
  }
  EXPECT_LT(loss[1], loss[0] / 2);
}

TEST(Rope, both_layouts_turn_the_same_pairs_by_the_same_angles) {
  const std::vector<double> frequencies = rope_frequencies(6, 10000.0, {});
  EXPECT_EQ(frequencies[0], 1.0);
  EXPECT_NEAR(frequencies[2], std::pow(10000.0, -4.0 / 6.0), 1e-15);
  float cosines[3], sines[3];
  rope_angles(frequencies, 5, 1.0, cosines, sines);
  std::vector<float> interleaved = {1, 4, 2, 5, 3, 6, 7, 8}, half = {1, 2, 3, 4, 5, 6, 7, 8};  // 8: two stay unturned
  rope({interleaved.data(), 1, 8, 3, cosines, sines, true});
  rope({half.data(), 1, 8, 3, cosines, sines, false});
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(interleaved[2 * i], half[i]);
    EXPECT_EQ(interleaved[2 * i + 1], half[i + 3]);
  }
  EXPECT_NEAR(half[0], std::cos(5.0) - 4 * std::sin(5.0), 1e-6);
  EXPECT_EQ(half[6], 7.0f);
  EXPECT_EQ(half[7], 8.0f);
}

}  // namespace
}  // namespace sedge::kernels
