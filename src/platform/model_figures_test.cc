#include "platform/model_figures.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

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

class ModelFile : public testing::Test {
 protected:
  ModelFile() { std::ofstream(path_, std::ios::binary) << as_text(random_.file()); }
  ~ModelFile() override { std::filesystem::remove(path_); }

  const RandomModel random_{{.type = DType::kQ8_0}};
  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / fmt::format("sedge_model_{}.gguf", ::getpid());
};

TEST_F(ModelFile, is_refused_where_its_packed_weights_would_end_the_process) {
  const std::uint64_t packed = memory_of(random_, DType::kF32).packed;
  ASSERT_GT(packed, 0u);
  EXPECT_TRUE(load_model(path_, {}, packed));
  EXPECT_TRUE(load_model(path_, {}, 0)) << "nobody counts";
  const auto refused = load_model(path_, {}, packed - 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
  EXPECT_NE(refused.error().message.find(path_.string()), std::string::npos) << refused.error().message;
}

TEST(ModelFigures, floats_are_read_where_they_lie_and_take_no_memory_that_cannot_be_had_back) {
  const RandomModel floats({.type = DType::kF16}), blocks({.type = DType::kQ8_0});
  EXPECT_EQ(memory_of(floats, DType::kF32).packed, 0u);
  EXPECT_EQ(floats.model()->packed_bytes(), 0u) << "a model beside it has all the room";
  EXPECT_GE(blocks.model()->packed_bytes(), memory_of(blocks, DType::kF32).packed);
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
