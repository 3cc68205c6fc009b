// What an adapter adds is what adding it to the weights would give, and no row's bits depend on its neighbours.
#include "engine/adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>

#include "engine/batch.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "model/import.h"
#include "model/random.h"
#include "model/testing/tiny_lora.h"
#include "support/temp_folder.h"

namespace sedge::engine {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using model::GgufFile;
using model::testing::NamedValues;

std::vector<std::int32_t> some_ids(std::size_t count, std::uint64_t seed = 9) {
  Prng prng(seed);
  std::vector<std::int32_t> ids(count);
  for (auto& id : ids) id = static_cast<std::int32_t>(3 + prng.below(256));
  return ids;
}

struct Text {
  std::vector<std::int32_t> ids;
  std::vector<AdapterUse> adapters;
};

// Logits of every position of all texts, each given `piece` tokens a pass, side by side.
std::vector<std::vector<float>> logits_of(const Model& model, std::span<const Text> texts, std::size_t piece = 1000,
                                          EngineOptions options = {}) {
  Engine engine(options);
  const std::size_t dim = model.config().dim, vocab = model.config().vocab, count = texts.size();
  std::vector<Sequence> sequences;
  for (std::size_t i = 0; i < count; ++i) sequences.push_back(Sequence::make(model).value());
  std::vector<std::vector<float>> all(count);
  for (std::size_t at = 0;; at += piece) {
    std::vector<std::int32_t> ids;
    std::vector<Slice> slices;
    std::vector<std::size_t> whose;
    for (std::size_t i = 0; i < count; ++i) {
      if (at >= texts[i].ids.size()) continue;
      const auto part = std::span(texts[i].ids).subspan(at, std::min(piece, texts[i].ids.size() - at));
      ids.insert(ids.end(), part.begin(), part.end());
      slices.push_back({&sequences[i], part.size(), texts[i].adapters});
      whose.push_back(i);
    }
    if (ids.empty()) return all;
    std::vector<float> hidden(ids.size() * dim), logits(ids.size() * vocab);
    EXPECT_TRUE(engine.embed(model, ids, hidden));
    EXPECT_TRUE(engine.forward(model, slices, 0, model.config().layers, hidden));
    EXPECT_TRUE(engine.head(model, hidden, logits));
    auto row = logits.begin();
    for (std::size_t s = 0; s < slices.size(); ++s) {
      const auto end = row + static_cast<std::ptrdiff_t>(slices[s].tokens * vocab);
      all[whose[s]].insert(all[whose[s]].end(), row, end);
      row = end;
    }
  }
}

std::vector<float> logits_of(const Model& model, const Text& text) { return logits_of(model, {&text, 1})[0]; }

// Largest distance, as a part of the range.
double apart(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  const auto [low, high] = std::ranges::minmax(a);
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(double{a[i]} - double{b[i]}));
  return most / (double{high} - double{low});
}

std::vector<float> values_of(const model::TensorView& view) {
  std::vector<float> values(view.values());
  kernels::format_of(view.type).dequantize(view.data.data(), values.data(), values.size());
  return values;
}

// weights [rows, cols] += scale · b [rows, rank] · a [rank, cols]
void add_product(std::vector<float>& weights, const std::vector<float>& a, const std::vector<float>& b,
                 std::size_t rank, double scale) {
  const std::size_t cols = a.size() / rank, rows = b.size() / rank;
  ASSERT_EQ(weights.size(), cols * rows);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < cols; ++c) {
      double sum = 0;
      for (std::size_t k = 0; k < rank; ++k) sum += double{b[r * rank + k]} * double{a[k * cols + c]};
      weights[r * cols + c] += static_cast<float>(scale * sum);
    }
  }
}

// The F32 model `in` with these adapters added to its weights, by the names that the files have.
void merge(const fs::path& in, const std::vector<std::pair<fs::path, float>>& adapters, const fs::path& out) {
  const GgufFile file = GgufFile::open(in).value();
  model::GgufWriter writer;
  for (const model::GgufEntry& entry : file.metadata()) writer.copy(entry);
  std::vector<std::vector<float>> values;
  for (const model::TensorView& tensor : file.tensors()) values.push_back(values_of(tensor));
  for (const auto& [path, scale] : adapters) {
    const GgufFile lora = GgufFile::open(path).value();
    const double alpha = lora.get_float("adapter.lora.alpha").value();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::string& name = file.tensors()[i].name;
      const model::TensorView *a = lora.find_tensor(name + ".lora_a"), *b = lora.find_tensor(name + ".lora_b");
      if (a == nullptr) continue;
      const std::size_t rank = a->rows();
      add_product(values[i], values_of(*a), values_of(*b), rank, double{scale} * alpha / static_cast<double>(rank));
    }
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Bytes bytes(reinterpret_cast<const std::uint8_t*>(values[i].data()), values[i].size() * sizeof(float));
    writer.add_tensor(file.tensors()[i].name, DType::kF32, file.tensors()[i].shape, bytes);
  }
  ASSERT_TRUE(writer.write(out));
}

std::shared_ptr<const Model> random_model(const fs::path& path, std::string_view shape, DType type = DType::kF32) {
  EXPECT_TRUE(
      model::write_random(path, {.shape = std::string(shape), .type = {.type = type}, .seed = 3, .progress = {}}));
  return Model::load(path).value();
}

std::shared_ptr<const Adapter> random_adapter(const fs::path& path, const std::shared_ptr<const Model>& base,
                                              const model::RandomLoraOptions& options) {
  EXPECT_TRUE(model::write_random_lora(path, base->config(), options));
  return Adapter::load(path, base).value();
}

bool generates(std::string_view shape) { return shape.starts_with("tiny") && !shape.ends_with("bert"); }

TEST(Adapter, gives_what_adding_it_to_the_weights_gives_in_every_architecture_alone_and_stacked) {
  const test::TempFolder scratch;
  const fs::path base_path = scratch / "base.gguf", one_path = scratch / "one.gguf", two_path = scratch / "two.gguf";
  for (const std::string_view shape : model::random_shapes()) {
    if (!generates(shape)) continue;
    const auto base = random_model(base_path, shape);
    const auto one = random_adapter(one_path, base, {.rank = 8, .seed = 4});
    const auto two = random_adapter(two_path, base, {.rank = 20, .type = DType::kF16, .seed = 5});
    const std::vector<std::int32_t> ids = some_ids(40);
    const std::vector<float> plain = logits_of(*base, {ids, {}});
    merge(base_path, {{one_path, 1.0f}}, scratch / "merged.gguf");
    const auto with_one = Model::load(scratch / "merged.gguf").value();
    const std::vector<float> expected = logits_of(*with_one, {ids, {}});
    EXPECT_GT(apart(plain, expected), 0.05) << shape;
    EXPECT_LT(apart(expected, logits_of(*base, {ids, {{one, 1}}})), 1e-4) << shape;
    merge(base_path, {{one_path, 0.5f}, {two_path, -0.75f}}, scratch / "merged.gguf");
    const auto with_both = Model::load(scratch / "merged.gguf").value();
    EXPECT_LT(apart(logits_of(*with_both, {ids, {}}), logits_of(*base, {ids, {{one, 0.5f}, {two, -0.75f}}})), 1e-4)
        << shape;
    EXPECT_EQ(logits_of(*base, {ids, {}}), plain) << "the weights are as they were";
    EXPECT_EQ(logits_of(*base, {ids, {{one, 0}}}), plain) << "nothing of it is nothing";
  }
}

TEST(Adapter, a_text_has_the_bits_it_has_alone_whoever_stands_beside_it_and_however_it_is_cut) {
  const test::TempFolder scratch;
  for (const auto& [shape, type] : {std::pair("tiny", DType::kF32),
                                    {"tiny", DType::kQ8_0},
                                    {"tiny-qwen2", DType::kF16},
                                    {"tiny-phi", DType::kF32},
                                    {"tiny-gemma2", DType::kBF16},
                                    {"tiny-gpt2", DType::kF32},
                                    {"tiny-mixtral", DType::kF32}}) {
    const auto base = random_model(scratch / "base.gguf", shape, type);
    const auto one = random_adapter(scratch / "one.gguf", base, {.rank = 3, .seed = 4});
    const auto two = random_adapter(scratch / "two.gguf", base, {.rank = 33, .type = DType::kBF16, .seed = 5});
    const std::vector<Text> texts = {{some_ids(41, 1), {{one, 1}}},   {some_ids(30, 2), {}},
                                     {some_ids(7, 3), {{two, 0.5f}}}, {some_ids(50, 4), {{one, 1}}},
                                     {some_ids(20, 5), {{one, 1}}},   {some_ids(33, 6), {{two, 2}, {one, -1}}},
                                     {some_ids(5, 7), {{one, 0.25f}}}};
    std::vector<std::vector<float>> alone;
    for (const Text& text : texts) alone.push_back(logits_of(*base, text));
    for (const unsigned threads : {1u, 2u, 3u}) {
      for (const std::size_t piece : {1u, 5u, 64u}) {
        ASSERT_EQ(logits_of(*base, texts, piece, {.threads = threads, .chunk_tokens = 37}), alone)
            << shape << ", " << threads << " threads, pieces of " << piece;
      }
    }
  }
}

TEST(Adapter, requests_share_steps_with_those_of_others_and_keep_their_own_text) {
  const test::TempFolder scratch;
  const auto base = random_model(scratch / "base.gguf", "tiny", DType::kQ8_0);
  const auto one = random_adapter(scratch / "one.gguf", base, {.rank = 8, .seed = 4});
  const auto two = random_adapter(scratch / "two.gguf", base, {.rank = 16, .seed = 5});
  const std::vector<std::vector<AdapterUse>> wanted = {{}, {{one, 1}}, {{two, 1}}, {{one, 1}, {two, 1}}, {{one, 1}}};
  const std::vector<std::int32_t> prompt = some_ids(12);
  const auto begin = [&](const std::vector<AdapterUse>& adapters) {
    return Generation::start(base, prompt, {}, {.tokens_max = 24, .draft_max = 3, .adapters = adapters}).value();
  };
  const auto tokens_of = [](const Generation& text) {
    return std::vector<std::int32_t>(text.tokens().begin(), text.tokens().end());
  };
  std::vector<std::vector<std::int32_t>> alone;
  Engine engine({.threads = 2});
  for (const auto& adapters : wanted) {  // one after the other: swapped from request to request
    Generation text = begin(adapters);
    while (!text.ended()) ASSERT_TRUE(text.step(engine));
    alone.push_back(tokens_of(text));
  }
  EXPECT_EQ(alone[1], alone[4]);
  for (const std::size_t other : {1u, 2u, 3u}) EXPECT_NE(alone[0], alone[other]);
  std::vector<Generation> texts;
  for (const auto& adapters : wanted) texts.push_back(begin(adapters));
  Batch batch;
  for (;;) {
    std::vector<Member> members;
    for (Generation& text : texts) {
      if (!text.ended()) members.push_back({.generation = &text, .drafts = 2});
    }
    if (members.empty()) break;
    ASSERT_TRUE(batch.step(engine, members, 9));
  }
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(tokens_of(texts[i]), alone[i]) << i;
}

// Of a Hugging Face directory: what importing it with the adapter added to its weights gives.
TEST(Adapter, a_peft_adapter_fits_the_imported_model) {
  const test::TempFolder scratch;
  const fs::path hf = scratch / "hf", peft = scratch / "peft", imported = scratch / "imported.gguf";
  fs::create_directories(peft);
  const auto write = [](const fs::path& path, Bytes bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  };
  constexpr std::size_t kRank = 4;
  for (const std::string_view shape : {"tiny", "tiny-qwen3", "tiny-phi", "tiny-gpt2", "tiny-gemma3"}) {
    ASSERT_TRUE(model::write_random_hf(hf, {.shape = std::string(shape), .type = {}, .seed = 3, .progress = {}}));
    ASSERT_TRUE(model::import_model(hf, imported, {}));
    const auto base = Model::load(imported).value();
    const auto weights = model::SafetensorsFile::open(hf / "model.safetensors").value();
    std::vector<NamedValues> merged, halves;
    std::uint64_t seed = 50;
    for (const model::SafeTensor& tensor : weights.tensors()) {
      NamedValues& made = merged.emplace_back(NamedValues{tensor.name, tensor.shape, {}});
      made.values.resize(tensor.data.size() / sizeof(float));
      std::memcpy(made.values.data(), tensor.data.data(), tensor.data.size());
      const bool in_layer = tensor.name.contains("layers.") || tensor.name.starts_with("h.");
      if (tensor.shape.size() != 2 || !in_layer) continue;
      const bool transposed = shape == "tiny-gpt2";
      const std::size_t rows = tensor.shape[transposed ? 1 : 0], cols = tensor.shape[transposed ? 0 : 1];
      const std::string module = tensor.name.substr(0, tensor.name.size() - std::strlen(".weight"));
      const auto a = model::testing::peft_half(module, 'A', kRank, cols, seed++, 0.1f);
      const auto b = model::testing::peft_half(module, 'B', rows, kRank, seed++, 0.5f);
      halves.push_back(a), halves.push_back(b);
      std::vector<float> added(rows * cols);
      add_product(added, a.values, b.values, kRank, 2.0);
      for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t c = 0; c < cols; ++c)
          made.values[transposed ? c * rows + r : r * cols + c] += added[r * cols + c];
      }
    }
    ASSERT_GE(halves.size(), 16u) << shape;
    write(peft / "adapter_model.safetensors", model::testing::safetensors_of(halves));
    write(peft / "adapter_config.json", as_bytes(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8})"));
    write(hf / "model.safetensors", model::testing::safetensors_of(merged));
    ASSERT_TRUE(model::import_model(hf, scratch / "merged.gguf", {}));
    const auto whole = Model::load(scratch / "merged.gguf").value();
    const auto adapter = Adapter::load(peft, base).value();
    const std::vector<std::int32_t> ids = some_ids(40);
    const std::vector<float> expected = logits_of(*whole, {ids, {}});
    EXPECT_GT(apart(expected, logits_of(*base, {ids, {}})), 0.02) << shape;
    EXPECT_LT(apart(expected, logits_of(*base, {ids, {{adapter, 1}}})), 1e-4) << shape;
  }
}

TEST(Adapter, one_of_another_model_too_many_and_a_scale_that_is_none_are_refused) {
  const test::TempFolder scratch;
  const auto base = random_model(scratch / "base.gguf", "tiny");
  const auto other = random_model(scratch / "other.gguf", "tiny");
  const auto adapter = random_adapter(scratch / "one.gguf", base, {});
  const auto error_of = [&](const std::shared_ptr<const Model>& model, const std::vector<AdapterUse>& adapters) {
    const auto text = Generation::start(model, some_ids(3), {}, {.adapters = adapters});
    return text ? std::string("none") : text.error().message;
  };
  EXPECT_EQ(error_of(base, std::vector<AdapterUse>(kAdaptersMax, {adapter, 1})), "none");
  EXPECT_TRUE(error_of(base, std::vector<AdapterUse>(kAdaptersMax + 1, {adapter, 1})).contains("at most 8"));
  EXPECT_TRUE(error_of(other, {{adapter, 1}}).contains("for another model"));
  EXPECT_TRUE(error_of(base, {{nullptr, 1}}).contains("for another model"));
  EXPECT_TRUE(error_of(base, {{adapter, std::nanf("")}}).contains("scale is nan"));
  Engine engine;
  Sequence sequence = Sequence::make(*other).value();
  std::vector<float> hidden(other->config().dim);
  const AdapterUse use{adapter, 1};
  const Slice slice{&sequence, 1, {&use, 1}};
  EXPECT_EQ(engine.forward(*other, {&slice, 1}, 0, 1, hidden).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace sedge::engine
