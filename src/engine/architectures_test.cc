// Every architecture by the same laws, on its random shape: one loop over the table.
#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/prefix_cache.h"
#include "model/import.h"
#include "model/random.h"
#include "model/testing/tiny_llama.h"
#include "model/vocab.h"

namespace sedge::engine {
namespace {

namespace fs = std::filesystem;
using kernels::DType;

class Scratch {
 public:
  Scratch() : path_(fs::path(::testing::TempDir()) / fmt::format("architectures_{}", ::getpid())) {
    fs::create_directories(path_);
  }
  ~Scratch() { fs::remove_all(path_); }
  fs::path operator/(std::string_view name) const { return path_ / name; }

 private:
  fs::path path_;
};

// Those that generate; encoders have laws of their own (embedding_test.cc).
std::vector<std::string> tiny_shapes() {
  std::vector<std::string> names;
  for (const std::string_view name : model::random_shapes()) {
    if (name.starts_with("tiny") && !name.ends_with("bert")) names.emplace_back(name);
  }
  return names;
}

model::RandomOptions options_of(const std::string& shape, DType type = DType::kF32) {
  return {.shape = shape, .type = {.type = type}, .seed = 3, .progress = {}};
}

std::vector<std::int32_t> some_ids(std::size_t count) {
  Prng prng(9);
  std::vector<std::int32_t> ids(count);
  for (auto& id : ids) id = static_cast<std::int32_t>(prng.below(512));
  return ids;
}

// Logits of every position, the ids in pieces and the layers cut at `middle`.
std::vector<float> logits_of(const Model& model, std::span<const std::int32_t> ids, std::size_t piece, unsigned threads,
                             std::size_t middle = 1) {
  Engine engine({.threads = threads, .chunk_tokens = 24});
  Sequence sequence = Sequence::make(model).value();
  const std::size_t dim = model.config().dim, layers = model.config().layers;
  std::vector<float> all;
  for (std::size_t at = 0; at < ids.size(); at += piece) {
    const auto part = ids.subspan(at, std::min(piece, ids.size() - at));
    std::vector<float> hidden(part.size() * dim), logits(part.size() * model.config().vocab);
    EXPECT_TRUE(engine.embed(model, part, hidden));
    const Slice slice{&sequence, part.size()};
    EXPECT_TRUE(engine.forward(model, {&slice, 1}, 0, middle, hidden));
    EXPECT_TRUE(engine.forward(model, {&slice, 1}, middle, layers, hidden));
    EXPECT_TRUE(engine.head(model, hidden, logits));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

// 41 tokens: past the windows of the shapes that have one.
TEST(EveryArchitecture, prefill_equals_decode_steps_bit_for_bit) {
  const Scratch scratch;
  const auto ids = some_ids(41);
  for (const std::string& shape : tiny_shapes()) {
    for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0, DType::kIQ2_XS}) {
      ASSERT_TRUE(model::write_random(scratch / "m.gguf", options_of(shape, type)));
      const auto loaded = Model::load(scratch / "m.gguf");
      ASSERT_TRUE(loaded) << shape << ": " << loaded.error().message;
      const std::vector<float> whole = logits_of(**loaded, ids, ids.size(), 1);
      for (const float logit : whole) ASSERT_TRUE(std::isfinite(logit)) << shape;
      EXPECT_EQ(logits_of(**loaded, ids, 1, 2), whole) << shape;
      EXPECT_EQ(logits_of(**loaded, ids, 7, 3), whole) << shape;
    }
  }
}

TEST(EveryArchitecture, a_sequence_in_a_batch_gives_its_bits_alone) {
  const Scratch scratch;
  const auto ids = some_ids(20);
  for (const std::string& shape : tiny_shapes()) {
    ASSERT_TRUE(model::write_random(scratch / "m.gguf", options_of(shape)));
    const auto model = Model::load(scratch / "m.gguf").value();
    const std::size_t dim = model->config().dim, layers = model->config().layers;
    const auto hidden_of = [&](std::span<const std::int32_t> first, std::span<const std::int32_t> second) {
      Engine engine({.threads = 2});
      Sequence a = Sequence::make(*model).value(), b = Sequence::make(*model).value();
      std::vector<std::int32_t> both(first.begin(), first.end());
      both.insert(both.end(), second.begin(), second.end());
      std::vector<float> hidden(both.size() * dim);
      EXPECT_TRUE(engine.embed(*model, both, hidden));
      const Slice slices[] = {{&a, first.size()}, {&b, second.size()}};
      EXPECT_TRUE(engine.forward(*model, {slices, second.empty() ? 1u : 2u}, 0, layers, hidden));
      return hidden;
    };
    const auto first = std::span(ids).first(13), second = std::span(ids).subspan(13);
    std::vector<float> apart = hidden_of(first, {});
    const std::vector<float> alone = hidden_of(second, {});
    apart.insert(apart.end(), alone.begin(), alone.end());
    EXPECT_EQ(hidden_of(first, second), apart) << shape;
  }
}

// 100 tokens of which 96 are remembered: past the small windows, so that what is copied and never looked at again is
// among them.
TEST(EveryArchitecture, a_remembered_beginning_gives_the_same_tokens) {
  const Scratch scratch;
  const auto prompt = some_ids(100);
  for (const std::string& shape : tiny_shapes()) {
    ASSERT_TRUE(model::write_random(scratch / "m.gguf", options_of(shape)));
    const auto model = Model::load(scratch / "m.gguf").value();
    GenerationOptions options{.sampling = {.temperature = 1, .seed = 4}, .tokens_max = 12};
    const auto say = [&](std::size_t cached) {
      Engine engine({.threads = 2});
      Generation text = Generation::start(model, prompt, {}, options).value();
      while (text.finish() == Finish::kNone) EXPECT_TRUE(text.step(engine));
      EXPECT_EQ(text.cached(), cached) << shape;
      return std::vector(text.tokens().begin(), text.tokens().end());
    };
    const auto expected = say(0);
    options.cache = std::make_shared<PrefixCache>(std::size_t{1} << 24);
    EXPECT_EQ(say(0), expected) << shape;
    EXPECT_EQ(say(96), expected) << shape;
  }
}

TEST(EveryArchitecture, imported_from_a_hugging_face_directory_it_gives_the_logits_of_its_gguf) {
  const Scratch scratch;
  const auto ids = some_ids(33);
  for (const std::string& shape : tiny_shapes()) {
    fs::remove_all(scratch / "hf");
    ASSERT_TRUE(model::write_random(scratch / "m.gguf", options_of(shape)));
    ASSERT_TRUE(model::write_random_hf(scratch / "hf", options_of(shape)));
    model::ImportOptions options;
    options.name = fmt::format("random {}", shape);
    const auto imported = model::import_model(scratch / "hf", scratch / "imported.gguf", options);
    ASSERT_TRUE(imported) << shape << ": " << imported.error().message;
    const auto direct = Model::load(scratch / "m.gguf"), through = Model::load(scratch / "imported.gguf");
    ASSERT_TRUE(direct && through) << shape;
    EXPECT_EQ((*through)->config().arch, (*direct)->config().arch);
    EXPECT_EQ((*through)->config().window, (*direct)->config().window);
    EXPECT_EQ(logits_of(**through, ids, ids.size(), 1), logits_of(**direct, ids, ids.size(), 1)) << shape;
    EXPECT_EQ((*through)->tokenizer().encode("a b"), (*direct)->tokenizer().encode("a b")) << shape;
  }
}

// One layer whose positions see four: what stands further back is as if it had never been.
TEST(Window, a_position_sees_its_own_and_those_before_it_within_the_window_and_no_other) {
  model::LlamaConfig config = model::testing::tiny_config();
  config.layers = 1;
  config.vocab = 259;
  config.window = 4;
  model::GgufWriter writer = model::testing::tiny_writer(config);
  model::write_vocab(writer, model::testing::byte_vocab());
  const Buffer bytes = writer.to_bytes().value();
  const auto loaded = Model::from(model::GgufFile::parse(bytes).value());
  ASSERT_TRUE(loaded) << loaded.error().message;
  const Model& model = **loaded;
  const auto hidden_of = [&](std::vector<std::int32_t> ids) {
    Engine engine;
    Sequence sequence = Sequence::make(model).value();
    std::vector<float> hidden(ids.size() * config.dim);
    EXPECT_TRUE(engine.embed(model, ids, hidden));
    const Slice slice{&sequence, ids.size()};
    EXPECT_TRUE(engine.forward(model, {&slice, 1}, 0, 1, hidden));
    return hidden;
  };
  const auto first = hidden_of({10, 11, 12, 13, 14, 15}), other = hidden_of({99, 11, 12, 13, 14, 15});
  const auto at = [&](const std::vector<float>& hidden, std::size_t t) {
    return std::vector<float>(hidden.begin() + static_cast<std::ptrdiff_t>(t * config.dim),
                              hidden.begin() + static_cast<std::ptrdiff_t>((t + 1) * config.dim));
  };
  EXPECT_NE(at(first, 3), at(other, 3));
  EXPECT_EQ(at(first, 4), at(other, 4));
  EXPECT_EQ(at(first, 5), at(other, 5));
}

// Phi of 256 tokens, or of 512 with other factors of RoPE: another text, so another class.
TEST(EveryArchitecture, a_long_context_is_another_model_of_the_same_file) {
  const Scratch scratch;
  ASSERT_TRUE(model::write_random(scratch / "m.gguf", options_of("tiny-phi")));
  const auto usual = Model::load(scratch / "m.gguf").value();
  const auto wide = Model::load(scratch / "m.gguf", {.long_context = true}).value();
  EXPECT_EQ(usual->config().context, 256u);
  EXPECT_EQ(wide->config().context, 512u);
  EXPECT_EQ(wide->numeric_class(), std::string(usual->numeric_class()) + "/long");
  const auto ids = some_ids(41);
  EXPECT_NE(logits_of(*usual, ids, 41, 1), logits_of(*wide, ids, 41, 1));
  const auto long_ids = some_ids(300);
  EXPECT_EQ(logits_of(*wide, long_ids, 300, 1), logits_of(*wide, long_ids, 7, 2));
  ASSERT_TRUE(model::write_random(scratch / "m.gguf", options_of("tiny")));
  const auto other = Model::load(scratch / "m.gguf", {.long_context = true}).value();
  EXPECT_EQ(other->numeric_class(), usual->numeric_class()) << "it has no other factors";
}

}  // namespace
}  // namespace sedge::engine
