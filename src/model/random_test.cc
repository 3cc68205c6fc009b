#include "model/random.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <unistd.h>

#include "model/gguf.h"
#include "model/llama.h"
#include "model/vocab.h"

namespace sedge::model {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(RandomModelFile, is_a_model_of_its_shape_and_type_and_the_same_for_the_same_seed) {
  const fs::path path = fs::path(::testing::TempDir()) / fmt::format("random_{}.gguf", ::getpid());
  for (const TypeChoice choice : {TypeChoice{DType::kF16}, TypeChoice{DType::kQ8_0}, TypeChoice{DType::kQ4_K, true}}) {
    const DType type = chosen_type(choice, "blk.1.ffn_down.weight", 96, 2);
    ASSERT_TRUE(write_random(path, {.shape = "tiny", .type = choice, .seed = 7, .progress = {}}));
    const std::string first = bytes_of(path);
    const GgufFile file = GgufFile::open(path).value();
    const LlamaModel model = load_llama(file).value();
    EXPECT_EQ(model.config.dim, 64u);
    EXPECT_EQ(model.weights.layers[1].down.type, type);
    EXPECT_EQ(vocab_from_gguf(file).value().tokens.size(), 512u);
    ASSERT_TRUE(write_random(path, {.shape = "tiny", .type = choice, .seed = 7, .progress = {}}));
    EXPECT_EQ(bytes_of(path), first);
    ASSERT_TRUE(write_random(path, {.shape = "tiny", .type = choice, .seed = 8, .progress = {}}));
    EXPECT_NE(bytes_of(path), first);
  }
  fs::remove(path);
}

TEST(RandomModelFile, a_shape_that_is_not_there_is_refused_with_those_that_are) {
  const Status refused = write_random("/nowhere", {.shape = "huge", .type = {}, .seed = 1, .progress = {}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_TRUE(refused.error().message.contains("TinyLlama-1.1B"));
}

}  // namespace
}  // namespace sedge::model
