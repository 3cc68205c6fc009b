#include "model/tokenizer.h"

#include <fstream>
#include <iterator>
#include <sstream>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/json.h"
#include "model/bpe_words.h"
#include "model/gguf.h"
#include "model/tokenizer_pieces.h"
#include "model/unicode.h"
#include "support/test_data.h"

namespace sedge::model {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  for (std::size_t at; (at = text.find(separator, from)) != std::string::npos; from = at + separator.size()) {
    parts.push_back(text.substr(from, at - from));
  }
  parts.push_back(text.substr(from));
  return parts;
}

std::vector<std::int32_t> ids_of_line(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::int32_t>(stream), std::istream_iterator<std::int32_t>()};
}

Tokenizer tokenizer_of(const std::filesystem::path& gguf) {
  auto file = GgufFile::open(gguf);
  EXPECT_TRUE(file) << file.error().message;
  auto vocab = vocab_from_gguf(*file);
  EXPECT_TRUE(vocab) << vocab.error().message;
  auto tokenizer = Tokenizer::make(std::move(*vocab));
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return std::move(*tokenizer);
}

std::filesystem::path vector_file(const std::string& name, const std::string& ending) {
  return test::data_dir() / "tokenizers" / "llama.cpp" / ("ggml-vocab-" + name + ".gguf" + ending);
}

class TokenizerVectors : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerVectors, ids_are_those_of_the_reference_and_decode_gives_the_text_back) {
  if (!std::filesystem::exists(vector_file(GetParam(), ""))) GTEST_SKIP() << "needs " << vector_file(GetParam(), "");
  const Tokenizer tokenizer = tokenizer_of(vector_file(GetParam(), ""));
  const auto inputs = split(read_file(vector_file(GetParam(), ".inp")), "\n__ggml_vocab_test__\n");
  const auto outputs = split(read_file(vector_file(GetParam(), ".out")), "\n");
  ASSERT_GE(inputs.size(), 40u);
  ASSERT_GE(outputs.size(), inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (const bool parse_special : {false, true}) {
      const auto ids = tokenizer.encode(inputs[i], {.add_special = false, .parse_special = parse_special});
      EXPECT_EQ(ids, ids_of_line(outputs[i])) << "input " << i << ": " << inputs[i];
      EXPECT_EQ(tokenizer.decode(ids), inputs[i]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(LlamaCpp, TokenizerVectors, testing::Values("gpt-2", "llama-spm", "phi-3", "mpt"),
                         [](const auto& each) {
                           std::string name = each.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace sedge::model
