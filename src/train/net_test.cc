#include "train/net.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "train/muon.h"

namespace sedge::train {
namespace {

constexpr NetConfig kSmall{.dim = 64, .layers = 2, .heads = 2, .kv_heads = 1, .ffn = 96, .vocab = 50, .context = 48};
constexpr std::size_t kRows = 128;

// Sequences of uneven length (one longer than an attention block), some rows counted, the rest filler.
Batch some_batch(std::uint64_t seed) {
  Prng prng(seed);
  Batch batch;
  batch.tokens.assign(kRows, 0);
  std::uint32_t at = 0;
  for (const std::uint32_t length : {5U, 41U, 1U, 17U}) {
    batch.sequences.push_back({at, length});
    for (std::uint32_t i = at; i < at + length; ++i) {
      batch.tokens[i] = static_cast<std::int32_t>(prng.below(kSmall.vocab));
      if (prng.chance(0.4)) continue;
      batch.rows.push_back(i);
      batch.targets.push_back(static_cast<std::int32_t>(prng.below(kSmall.vocab)));
    }
    at += length;
  }
  return batch;
}

struct Fixture {
  std::unique_ptr<Backend> backend = make_plain_backend();
  std::unique_ptr<Net> net;
  explicit Fixture(Precision precision = Precision::kF32) : net(make_net(kSmall, kRows, precision, *backend)) {
    initialize(kSmall, 7, net->weights());
    for (const WeightSlot& slot : weight_slots(kSmall)) {
      if (!slot.decays) continue;
      for (float& w : net->weights().subspan(slot.offset, slot.count())) w *= 4;  // else attention is all but flat
    }
    net->refresh();
  }
};

TEST(Net, gradients_are_those_of_finite_differences_in_every_tensor) {
  Fixture f;
  const Batch batch = some_batch(1);
  f.net->forward(batch);
  f.net->backward(batch);
  const std::vector<float> gradients(f.net->gradients().begin(), f.net->gradients().end());
  for (const WeightSlot& slot : weight_slots(kSmall)) {
    const std::span<const float> gradient = std::span(gradients).subspan(slot.offset, slot.count());
    double expected = 0;  // the slope along the gradient is its length
    for (const float g : gradient) expected += static_cast<double>(g) * static_cast<double>(g);
    expected = std::sqrt(expected);
    ASSERT_GT(expected, 0) << slot.name;
    const auto loss_at = [&](float distance) {
      const auto weights = f.net->weights().subspan(slot.offset, slot.count());
      for (std::size_t i = 0; i < slot.count(); ++i) weights[i] += distance * gradient[i];
      const double loss = f.net->forward(batch).loss;
      for (std::size_t i = 0; i < slot.count(); ++i) weights[i] -= distance * gradient[i];
      return loss;
    };
    // The shortest way to a change of the loss by 0.005, four digits above its rounding in float.
    const auto distance = static_cast<float>(0.005 / (expected * expected));
    const double found = (loss_at(distance) - loss_at(-distance)) / 0.01;
    EXPECT_NEAR(found, 1.0, 0.01) << slot.name;
  }
}

TEST(Net, a_sequence_sees_neither_its_neighbours_nor_its_future) {
  Fixture f;
  Batch batch = some_batch(2);
  batch.rows = {10};  // in the second sequence, which holds rows 5..45
  batch.targets = {3};
  const double before = f.net->forward(batch).loss;
  batch.tokens[2] = (batch.tokens[2] + 1) % 50;
  batch.tokens[11] = (batch.tokens[11] + 1) % 50;
  batch.tokens[50] = (batch.tokens[50] + 1) % 50;
  EXPECT_EQ(f.net->forward(batch).loss, before);
  batch.tokens[5] = (batch.tokens[5] + 1) % 50;
  EXPECT_NE(f.net->forward(batch).loss, before);
}

TEST(Net, bf16_gives_the_same_loss_and_gradient_to_its_precision) {
  Fixture exact, half(Precision::kBf16);
  const Batch batch = some_batch(4);
  const double loss = exact.net->forward(batch).loss;
  EXPECT_NEAR(half.net->forward(batch).loss, loss, 0.02 * loss);
  exact.net->backward(batch);
  half.net->backward(batch);
  double dot = 0, left = 0, right = 0;
  for (std::size_t i = 0; i < exact.net->gradients().size(); ++i) {
    const double a = static_cast<double>(exact.net->gradients()[i]), b = static_cast<double>(half.net->gradients()[i]);
    dot += a * b;
    left += a * a;
    right += b * b;
  }
  EXPECT_GT(dot / std::sqrt(left * right), 0.995);
}

class Learning : public testing::TestWithParam<bool> {};

TEST_P(Learning, gets_a_batch_by_heart) {
  Fixture f;
  const Batch batch = some_batch(5);
  std::vector<float> m(f.net->weights().size()), v(m.size());
  const double before = f.net->forward(batch).loss;
  for (int step = 1; step <= 60; ++step) {
    f.net->forward(batch);
    f.net->backward(batch);
    AdamW op{};
    op.lr = 3e-3F, op.beta1 = 0.9F, op.beta2 = 0.95F, op.epsilon = 1e-8F, op.clip = 1.0F;
    op.unbias1 = 1.0F / (1.0F - std::pow(0.9F, static_cast<float>(step)));
    op.unbias2 = 1.0F / (1.0F - std::pow(0.95F, static_cast<float>(step)));
    const Muon muon{op.lr, 0.95F, 0.0F, op.clip, nullptr, nullptr, nullptr, nullptr};
    f.net->update(op, GetParam() ? std::optional(muon) : std::nullopt, m, v);
  }
  const StepResult after = f.net->forward(batch);
  EXPECT_LT(after.loss, 0.1 * before);
  EXPECT_EQ(after.hits, batch.rows.size());
}

INSTANTIATE_TEST_SUITE_P(By, Learning, testing::Bool(),
                         [](const auto& muon) { return std::string(muon.param ? "muon" : "adamw"); });

// Whatever a matrix' singular values were, the step's are about 1, and the directions stay: tall, wide and square.
TEST(Muon, a_step_goes_all_directions_of_the_momentum_alike) {
  const auto backend = make_plain_backend();
  Prng prng(3);
  for (const auto& [rows, cols] : {std::pair{24UZ, 16UZ}, {16UZ, 24UZ}, {16UZ, 16UZ}}) {
    std::vector<float> values(rows * cols);
    double squares = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double stretch = i % cols == 0 ? 20 : 1;  // one direction far longer than the others
      values[i] = static_cast<float>(stretch * (prng.uniform() - 0.5));
      squares += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    }
    for (float& x : values) x /= static_cast<float>(std::sqrt(squares));
    const std::vector<float> before = values;
    Orthogonalizer<float> orthogonalizer(*backend, values.size(), std::min(rows, cols));
    orthogonalizer.run(matrix(values.data(), rows, cols));
    // |xᵀu| of a unit vector u along the smaller side lies between the smallest and the largest singular value.
    const bool tall = rows > cols;
    for (int trial = 0; trial < 50; ++trial) {
      std::vector<double> u(std::min(rows, cols)), image(std::max(rows, cols), 0.0);
      double length = 0, image_length = 0;
      for (double& x : u) {
        x = prng.uniform() - 0.5;
        length += x * x;
      }
      for (std::size_t i = 0; i < image.size(); ++i) {
        for (std::size_t k = 0; k < u.size(); ++k) {
          const std::size_t at = tall ? i * cols + k : k * cols + i;
          image[i] += static_cast<double>(values[at]) * u[k] / std::sqrt(length);
        }
        image_length += image[i] * image[i];
      }
      EXPECT_GT(std::sqrt(image_length), 0.5) << rows << " x " << cols;
      EXPECT_LT(std::sqrt(image_length), 1.3) << rows << " x " << cols;
    }
    double dot = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      dot += static_cast<double>(before[i]) * static_cast<double>(values[i]);
    EXPECT_GT(dot, 0);  // downhill stays downhill
  }
}

// Every row of the table against the portable one: one step's loss and gradient need all kernels.
class FusedRow : public testing::TestWithParam<const char*> {};

TEST_P(FusedRow, agrees_with_the_portable_row) {
  const Fused* row = fused(GetParam());
  if (row == nullptr) GTEST_SKIP() << "this processor does not run " << GetParam();
  const Fused& plain = *fused("portable");
  Prng prng(9);
  const auto random = [&prng](std::size_t count) {
    std::vector<float> values(count);
    for (float& x : values) x = static_cast<float>(prng.uniform() * 4 - 2);
    return values;
  };
  constexpr std::size_t kLength = 45, kHeads = 4, kKv = 2, kHead = 32, kWidth = (kHeads + 2 * kKv) * kHead;
  const std::vector<float> qkv = random(kLength * kWidth), dout = random(kLength * kHeads * kHead);
  const std::vector<float> angles = random(kLength * kHead);
  std::vector<float> scratch(attention_scratch_floats(kLength, kHead));
  const auto attend = [&](const Fused& set) {
    std::vector<float> both(kLength * kHeads * kHead + kLength * kWidth);
    const Attention<float> op{kHeads,        kKv,         kHead,       qkv.data(),
                              angles.data(), both.data(), dout.data(), both.data() + kLength * kHeads * kHead};
    for (std::size_t kv = 0; kv < kKv; ++kv) {
      set.f32.attention(op, 0, kLength, kv, scratch.data());
      set.f32.attention_backward(op, 0, kLength, kv, scratch.data());
    }
    return both;
  };
  const auto gate = [&](const Fused& set) {
    std::vector<float> gate_up = qkv, s(kLength * kWidth / 2);
    const Gate<float> op{kWidth / 2, gate_up.data(), s.data(), dout.data()};
    set.f32.gate(op, 0, kLength);
    set.f32.gate_backward(op, 0, kLength / 2);
    gate_up.insert(gate_up.end(), s.begin(), s.end());
    return gate_up;
  };
  const auto loss = [&](const Fused& set) {
    std::vector<float> logits = qkv, losses(kLength);
    const std::vector<std::int32_t> targets(kLength, 17);
    std::vector<std::uint8_t> hits(kLength);
    set.f32.cross_entropy({kWidth, 0.1F, logits.data(), targets.data(), losses.data(), hits.data()}, 0, kLength);
    logits.insert(logits.end(), losses.begin(), losses.end());
    return logits;
  };
  const std::function<std::vector<float>(const Fused&)> kOperations[] = {attend, gate, loss};
  for (const auto& operation : kOperations) {
    const std::vector<float> expected = operation(plain), found = operation(*row);
    ASSERT_EQ(expected.size(), found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], expected[i], 1e-4 * (1 + std::fabs(static_cast<double>(expected[i])))) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, FusedRow, testing::Values("avx2", "avx512"),
                         [](const auto& row) { return std::string(row.param); });

TEST(Fused, cross_entropy_is_the_logarithm_of_the_sum_of_exponentials) {
  Prng prng(11);
  std::vector<float> logits(100);
  for (float& x : logits) x = static_cast<float>(prng.uniform() * 40 - 20);
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x));
  const double expected = std::log(sum) - static_cast<double>(logits[42]);
  const double share = std::exp(static_cast<double>(logits[7])) / sum;
  const std::int32_t target = 42;
  float loss = 0;
  std::uint8_t hit = 0;
  fused().f32.cross_entropy({100, 1.0F, logits.data(), &target, &loss, &hit}, 0, 1);
  EXPECT_NEAR(static_cast<double>(loss), expected, 1e-5 * expected);
  EXPECT_NEAR(static_cast<double>(logits[7]), share, 1e-5 * share);
}

TEST(Fused, rounding_to_bf16_goes_to_the_nearest_even) {
  EXPECT_EQ(from_float<Bf16>(1.0F).bits, 0x3f80);
  EXPECT_EQ(from_float<Bf16>(std::bit_cast<float>(0x3f808000U)).bits, 0x3f80);  // halfway: the even one
  EXPECT_EQ(from_float<Bf16>(std::bit_cast<float>(0x3f818000U)).bits, 0x3f82);
  EXPECT_EQ(from_float<Bf16>(std::bit_cast<float>(0x3f808001U)).bits, 0x3f81);
  EXPECT_EQ(to_float(from_float<Bf16>(-2.5F)), -2.5F);
}

}  // namespace
}  // namespace sedge::train
