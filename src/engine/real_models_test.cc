// Real models against what other programs computed from them. The data lies outside the project: each test skips
// where it is absent.
#include <cmath>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/json.h"
#include "engine/generation.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/testing.h"
#include "engine/perplexity.h"
#include "engine/prompt.h"
#include "model/import.h"
#include "support/test_data.h"

namespace sedge::engine {
namespace {

using kernels::DType;
namespace fs = std::filesystem;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSlow = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif
#else
constexpr bool kSlow = false;
#endif

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Imported into a file that goes when the test does; the mapping outlives its name.
std::shared_ptr<const Model> imported(const fs::path& in, model::ImportOptions options = {}) {
  const fs::path out = fs::temp_directory_path() / fmt::format("sedge_real_models_{}.gguf", ::getpid());
  const auto report = model::import_model(in, out, options);
  EXPECT_TRUE(report) << report.error().message;
  auto model = Model::load(out);
  fs::remove(out);
  EXPECT_TRUE(model) << model.error().message;
  return model.value_or(nullptr);
}

struct Greedy {
  std::string text;
  std::vector<std::int32_t> tokens;
  std::vector<float> first_logits;
};

Greedy greedy(const std::shared_ptr<const Model>& model, std::span<const std::int32_t> prompt, std::size_t tokens_max,
              unsigned threads = 1) {
  Engine engine({.threads = threads});
  auto generation = Generation::start(model, prompt, {}, {.sampling = {}, .tokens_max = tokens_max, .stops = {}});
  EXPECT_TRUE(generation) << generation.error().message;
  Greedy out;
  while (generation && generation->finish() == Finish::kNone) {
    const Step step = generation->step(engine).value();
    if (out.first_logits.empty() && step.token)
      out.first_logits.assign(generation->logits().begin(), generation->logits().end());
    out.text += step.text;
  }
  out.tokens.assign(generation->tokens().begin(), generation->tokens().end());
  return out;
}

std::vector<std::int32_t> ints(const json::Value& array) {
  std::vector<std::int32_t> out;
  for (const json::Value& value : array.as_array()) out.push_back(static_cast<std::int32_t>(value.to_number<int>()));
  return out;
}

// llama2.c stops after 200 positions, the first of which is the beginning token; it prints a newline at the end.
void expect_stories(const std::shared_ptr<const Model>& model, const fs::path& expected) {
  ASSERT_NE(model, nullptr);
  const auto prompt = encode_prompt(*model, "").value();
  ASSERT_EQ(prompt, std::vector<std::int32_t>{1});
  std::string text = read_text(expected);
  while (text.ends_with('\n')) text.pop_back();
  std::string ours = greedy(model, prompt, 200).text;
  EXPECT_TRUE(ours.starts_with(text)) << ours;
  EXPECT_LT(ours.size(), text.size() + 16);  // a token or two past the end, at most
}

TEST(RealModels, stories260K_bin_tells_the_story_that_llama2c_tells) {
  SEDGE_NEED_DATA(path, "llm/stories260K");
  expect_stories(
      imported(path / "stories260K.bin", {.type = {}, .tokenizer = path / "tok512.bin", .name = {}, .progress = {}}),
      path / "expected_greedy_200steps.txt");
}

TEST(RealModels, stories260K_gguf_tells_the_same_story) {
  SEDGE_NEED_DATA(path, "llm/stories260K");
  const auto model = Model::load(path / "stories260K.gguf");
  ASSERT_TRUE(model) << model.error().message;
  expect_stories(*model, path / "expected_greedy_200steps.txt");
}

void expect_tiny_stories(const std::shared_ptr<const Model>& model, const fs::path& path) {
  ASSERT_NE(model, nullptr);
  const json::Value expected = json::parse(read_text(path / "expected_greedy.json"), "expected_greedy.json").value();
  const auto prompt = ints(expected.at("prompt_ids"));
  const auto prompt_text = std::string(expected.at("prompt").as_string());
  EXPECT_EQ(encode_prompt(*model, prompt_text).value(), prompt);
  auto ids = ints(expected.at("greedy_ids"));
  const Greedy run = greedy(model, prompt, ids.size() - prompt.size(), 2);
  ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(prompt.size()));
  EXPECT_EQ(run.tokens, ids);
  const json::Array& logits = expected.at("logits_after_prompt_first16").as_array();
  for (std::size_t i = 0; i < logits.size(); ++i)
    EXPECT_NEAR(run.first_logits[i], logits[i].as_double(), 1e-3) << "logit " << i;
}

TEST(RealModels, tiny_stories_from_f32_safetensors_gives_the_reference_ids_and_logits) {
  SEDGE_NEED_DATA(path, "llm/TinyStories-656K-hf");
  expect_tiny_stories(imported(path), path);
}

// The same model in half precision, in a directory of its own as Hugging Face would have it.
TEST(RealModels, tiny_stories_from_half_safetensors_gives_the_reference_ids_and_logits) {
  SEDGE_NEED_DATA(path, "llm/TinyStories-656K-hf");
  const fs::path half = fs::temp_directory_path() / fmt::format("sedge_half_{}", ::getpid());
  fs::create_directory(half);
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}) {
    fs::create_symlink(path / name, half / name);
  }
  fs::create_symlink(path / "model.half.safetensors", half / "model.safetensors");
  const auto model = imported(half);
  fs::remove_all(half);
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->weights().layers[0].q.type, DType::kBF16);
  expect_tiny_stories(model, path);
}

TEST(RealModels, tiny_stories_q8_gguf_runs_and_so_do_our_quantized_ones) {
  SEDGE_NEED_DATA(path, "llm/TinyStories-656K-hf");
  const auto theirs = Model::load(path / "TinyStories-656K-Q8_0.gguf");
  ASSERT_TRUE(theirs) << theirs.error().message;
  const auto prompt = encode_prompt(**theirs, "Once upon a time").value();
  const Greedy run = greedy(*theirs, prompt, 24);
  EXPECT_EQ(run.tokens.size(), 24u);
  const Greedy exact = greedy(imported(path), prompt, 1);
  for (const DType type : {DType::kF16, DType::kQ8_0, DType::kQ4_0, DType::kQ5_1, DType::kIQ4_NL}) {
    const Greedy ours = greedy(
        imported(path, {.type = model::TypeChoice{type}, .tokenizer = {}, .name = {}, .progress = {}}), prompt, 24);
    double squares = 0, scale = 0;
    for (std::size_t i = 0; i < exact.first_logits.size(); ++i) {
      const double apart = static_cast<double>(ours.first_logits[i]) - static_cast<double>(exact.first_logits[i]);
      squares += apart * apart;
      scale += static_cast<double>(exact.first_logits[i]) * static_cast<double>(exact.first_logits[i]);
    }
    EXPECT_LT(std::sqrt(squares / scale), type == DType::kF16 || type == DType::kQ8_0 ? 0.02 : 0.4)
        << kernels::format_of(type).name;
    EXPECT_TRUE(type != DType::kQ8_0 || ours.tokens == run.tokens);
  }
}

// A story-teller wants to tell stories; what it must say is JSON.
TEST(RealModels, a_story_teller_held_to_a_schema_writes_json_that_satisfies_it) {
  SEDGE_NEED_DATA(path, "llm/stories260K");
  const auto model = Model::load(path / "stories260K.gguf").value();
  const char* schema = R"({"type": "object", "properties": {"hero": {"type": "string", "minLength": 1, "maxLength": 20},
      "age": {"type": "integer", "minimum": 0, "maximum": 12}, "friends": {"type": "array", "items": {"type": "string",
      "pattern": "^[A-Z][a-z]{1,8}$"}, "maxItems": 3}}, "required": ["hero", "age", "friends"]})";
  const auto grammar = read_json_schema(schema).value();
  const auto prompt = encode_prompt(*model, "Once upon a time").value();
  Engine engine;
  for (std::uint64_t seed = 0; seed < (kSlow ? 3 : 40); ++seed) {
    GenerationOptions options{
        .sampling = {.temperature = seed == 0 ? 0.0f : 1.0f, .seed = seed}, .tokens_max = 300, .grammar = grammar};
    auto generation = Generation::start(model, prompt, {}, options).value();
    std::string text;
    while (generation.finish() == Finish::kNone) text += generation.step(engine).value().text;
    ASSERT_EQ(generation.finish(), Finish::kStop) << text;
    ASSERT_EQ(SchemaJudge(schema).complaint(text), "") << text;
  }
}

std::vector<std::int32_t> read_u16(const fs::path& path) {
  const std::string bytes = read_text(path);
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    ids.push_back(static_cast<unsigned char>(bytes[i]) | static_cast<unsigned char>(bytes[i + 1]) << 8);
  }
  return ids;
}

TEST(RealModels, wren_gives_its_perplexity) {
  SEDGE_NEED_DATA(path, "llm/wren-15m-hf");
  const json::Value expected = json::parse(read_text(path / "expected.json"), "expected.json").value();
  const auto model = imported(path);
  ASSERT_NE(model, nullptr);
  const auto ids = read_u16(path / "valid_ids.u16");
  Engine engine({.threads = 2});
  Sequence sequence = Sequence::make(*model).value();
  Perplexity perplexity;
  for (const auto window : cut_windows(ids, 256, kSlow ? 4 : 200)) {
    perplexity.add(window_loss(engine, *model, sequence, window).value());
  }
  const double value = expected.at("ppl").at("value").as_double();
  EXPECT_NEAR(perplexity.value(), value, kSlow ? value / 2 : 0.002 * value);
}

// As many ids as rounding cannot change: min_margin is the smallest gap between the two best logits along the way.
TEST(RealModels, wren_gives_its_first_greedy_ids) {
  SEDGE_NEED_DATA(path, "llm/wren-15m-hf");
  const json::Value expected = json::parse(read_text(path / "expected.json"), "expected.json").value();
  const auto model = imported(path);
  ASSERT_NE(model, nullptr);
  for (const json::Value& one : expected.at("greedy").as_array()) {
    const auto prompt = ints(one.at("prompt_ids"));
    EXPECT_EQ(encode_prompt(*model, std::string(one.at("prompt").as_string())).value(), prompt);
    auto ids = ints(one.at("greedy_ids"));
    if (one.at("min_margin").as_double() < 0.002) ids.resize(8);
    EXPECT_EQ(greedy(model, prompt, ids.size(), 2).tokens, ids);
  }
}

}  // namespace
}  // namespace sedge::engine
