#include "platform/model_figures.h"

#include <gtest/gtest.h>

#include "engine/random_model.h"
#include "engine/sequence.h"
#include "kernels/pack/pack.h"

namespace sedge::platform {
namespace {

using engine::RandomModel;
using kernels::DType;

ModelMemory memory_of(const RandomModel& random, DType cache) {
  const model::GgufFile& file = random.model()->file();
  return platform::memory_of(file, *model::load_llama(file), cache);
}

std::uint64_t file_bytes(const RandomModel& random) {
  std::uint64_t bytes = 0;
  for (const model::TensorView& tensor : random.model()->file().tensors()) bytes += tensor.data.size();
  return bytes;
}

TEST(ModelFigures, floats_take_what_they_take_in_the_file) {
  const RandomModel random({.type = DType::kF16});
  EXPECT_EQ(memory_of(random, DType::kF32).weights, file_bytes(random));
}

// 259 rows, packed as 272, beside the embedding of the file; all other matrices have whole groups of rows.
TEST(ModelFigures, a_tied_head_is_packed_beside_the_embedding_whose_rows_are_looked_up) {
  const RandomModel random({.type = DType::kQ8_0});
  const auto& embedding = *random.model()->file().find_tensor("token_embd.weight");
  const std::uint64_t head = kernels::packed_bytes(DType::kQ8_0, 259, embedding.cols());
  EXPECT_EQ(memory_of(random, DType::kF32).weights, file_bytes(random) + head);
}

TEST(ModelFigures, a_position_takes_what_a_sequence_takes_for_it) {
  const RandomModel random;
  const auto sequence = engine::Sequence::make(*random.model());
  ASSERT_TRUE(sequence);
  EXPECT_EQ(memory_of(random, DType::kF32).position, sequence->bytes_per_position());
  EXPECT_EQ(memory_of(random, DType::kF16).position * 2, memory_of(random, DType::kF32).position);
}

TEST(ModelFigures, what_is_asked_for_beyond_the_context_is_cut_to_it) {
  const RandomModel random;
  const auto speed = measure_speed(random.model(), 1, {.prompt = 1'000'000, .tokens = 1'000'000});
  ASSERT_TRUE(speed) << speed.error().message;
  EXPECT_GT(speed->prompt_tok_s, 0);
  EXPECT_GT(speed->generate_tok_s, 0);
}

}  // namespace
}  // namespace sedge::platform
