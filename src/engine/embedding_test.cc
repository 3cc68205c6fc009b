#include "engine/embedding.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/prng.h"
#include "engine/generation.h"
#include "model/import.h"
#include "model/random.h"

namespace sedge::engine {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using model::Pooling;
using Ids = std::vector<std::int32_t>;

constexpr const char* kEncoders[] = {"tiny-bert", "tiny-nomic-bert"};

fs::path scratch(const std::string& name) {
  return fs::path(::testing::TempDir()) / fmt::format("embedding_{}_{}", ::getpid(), name);
}

std::shared_ptr<const Model> random_model(const std::string& shape, DType type = DType::kF32) {
  const fs::path path = scratch("m.gguf");
  EXPECT_TRUE(model::write_random(path, {.shape = shape, .type = {.type = type}, .seed = 3, .progress = {}}));
  auto loaded = Model::load(path);
  EXPECT_TRUE(loaded) << loaded.error().message;
  fs::remove(path);  // it is mapped
  return *loaded;
}

Ids some_ids(std::size_t count, std::uint64_t seed = 9) {
  Prng prng(seed);
  Ids ids(count);
  for (auto& id : ids) id = static_cast<std::int32_t>(prng.below(512));
  return ids;
}

std::vector<float> states_of(const Model& model, const Ids& ids, unsigned threads = 1, std::size_t chunk = 96) {
  Engine engine({.threads = threads, .chunk_tokens = chunk});
  Sequence sequence = Sequence::make(model).value();
  std::vector<float> hidden(ids.size() * model.config().dim);
  EXPECT_TRUE(engine.embed(model, ids, hidden));
  const Slice slice{&sequence, ids.size()};
  EXPECT_TRUE(engine.forward(model, {&slice, 1}, 0, model.config().layers, hidden));
  return hidden;
}

// BERT as its paper writes it, in doubles, one token and one head after the other: from the file's tensors by name.
class PlainBert {
 public:
  using Row = std::vector<double>;

  explicit PlainBert(const Model& model) : config_(model.config()) {
    for (const model::TensorView& tensor : model.file().tensors()) {
      const auto* values = reinterpret_cast<const float*>(tensor.data.data());
      tensors_[tensor.name] = Row(values, values + tensor.values());
    }
  }

  std::vector<Row> states(const Ids& ids) const {
    std::vector<Row> x;
    for (std::size_t t = 0; t < ids.size(); ++t) {
      Row row(config_.dim);
      for (std::size_t d = 0; d < config_.dim; ++d) {
        row[d] = at("token_embd.weight")[static_cast<std::size_t>(ids[t]) * config_.dim + d] +
                 at("position_embd.weight")[t * config_.dim + d] + at("token_types.weight")[d];
      }
      x.push_back(norm(row, "token_embd_norm"));
    }
    for (std::size_t layer = 0; layer < config_.layers; ++layer) x = block(x, fmt::format("blk.{}.", layer));
    return x;
  }

 private:
  const Row& at(const std::string& name) const { return tensors_.at(name); }

  Row norm(const Row& x, const std::string& name) const {
    double mean = 0, variance = 0;
    for (const double v : x) mean += v / static_cast<double>(x.size());
    for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
    Row y(x.size());
    for (std::size_t d = 0; d < x.size(); ++d) {
      const double scaled = (x[d] - mean) / std::sqrt(variance + static_cast<double>(config_.norm_eps));
      y[d] = scaled * at(name + ".weight")[d] + at(name + ".bias")[d];
    }
    return y;
  }

  Row linear(const Row& x, const std::string& name) const {
    const Row& w = at(name + ".weight");
    Row y = at(name + ".bias");
    for (std::size_t r = 0; r < y.size(); ++r) {
      for (std::size_t c = 0; c < x.size(); ++c) y[r] += w[r * x.size() + c] * x[c];
    }
    return y;
  }

  std::vector<Row> block(const std::vector<Row>& x, const std::string& name) const {
    std::vector<Row> q, k, v, out;
    for (const Row& row : x) {
      q.push_back(linear(row, name + "attn_q")), k.push_back(linear(row, name + "attn_k"));
      v.push_back(linear(row, name + "attn_v"));
    }
    for (std::size_t t = 0; t < x.size(); ++t) {
      const Row mixed = linear(attend(q[t], k, v), name + "attn_output");
      const Row middle = norm(sum(x[t], mixed), name + "attn_output_norm");
      Row wide = linear(middle, name + "ffn_up");
      for (double& u : wide) u = u / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (u + 0.044715 * u * u * u)));
      out.push_back(norm(sum(middle, linear(wide, name + "ffn_down")), name + "layer_output_norm"));
    }
    return out;
  }

  Row attend(const Row& q, const std::vector<Row>& keys, const std::vector<Row>& values) const {
    Row mixed(q.size());
    for (std::size_t head = 0; head < q.size(); head += config_.head_dim) {
      Row weights;
      double total = 0;
      for (const Row& key : keys) {
        double score = 0;
        for (std::size_t d = 0; d < config_.head_dim; ++d) score += q[head + d] * key[head + d];
        weights.push_back(std::exp(score / std::sqrt(static_cast<double>(config_.head_dim))));
        total += weights.back();
      }
      for (std::size_t t = 0; t < values.size(); ++t) {
        for (std::size_t d = 0; d < config_.head_dim; ++d) mixed[head + d] += weights[t] / total * values[t][head + d];
      }
    }
    return mixed;
  }

  static Row sum(Row x, const Row& y) {
    for (std::size_t d = 0; d < x.size(); ++d) x[d] += y[d];
    return x;
  }

  const model::LlamaConfig& config_;
  std::map<std::string, Row> tensors_;
};

TEST(Encoder, a_bert_gives_the_states_that_its_equations_give) {
  const auto model = random_model("tiny-bert");
  const Ids ids = some_ids(61);  // more than a tile of queries, and no multiple of sixteen
  const auto wanted = PlainBert(*model).states(ids);
  const std::vector<float> states = states_of(*model, ids);
  const std::size_t dim = model->config().dim;
  for (std::size_t i = 0; i < states.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(states[i]), wanted[i / dim][i % dim], 1e-4) << "token " << i / dim;
  }
}

TEST(Encoder, a_later_token_changes_the_states_of_those_before_it) {
  for (const std::string shape : kEncoders) {
    const auto model = random_model(shape);
    const std::size_t dim = model->config().dim;
    Ids ids = some_ids(30);
    const std::vector<float> before = states_of(*model, ids);
    ids.back() = (ids.back() + 1) % 512;
    const std::vector<float> after = states_of(*model, ids);
    EXPECT_FALSE(std::equal(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(dim), after.begin())) << shape;
  }
}

TEST(Encoder, threads_chunks_and_batch_mates_do_not_change_a_bit) {
  for (const std::string shape : kEncoders) {
    for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0}) {
      const auto model = random_model(shape, type);
      const std::vector<Ids> texts = {some_ids(100, 1), some_ids(7, 2), some_ids(1, 3), some_ids(120, 4)};
      EXPECT_EQ(states_of(*model, texts[0], 2, 16), states_of(*model, texts[0], 1, 96)) << shape;
      Engine one, two({.threads = 2, .chunk_tokens = 50});
      const auto together = embed_texts(one, *model, texts).value();
      ASSERT_EQ(together.size(), texts.size());
      for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto alone = embed_texts(two, *model, {&texts[i], 1}).value();
        EXPECT_EQ(alone[0], together[i]) << shape << " text " << i;
        for (const float x : alone[0]) ASSERT_TRUE(std::isfinite(x));
      }
    }
  }
}

TEST(Encoder, a_text_is_computed_at_once_and_predicts_nothing) {
  const auto model = random_model("tiny-bert");
  const model::LlamaConfig& config = model->config();
  Engine engine;
  Sequence sequence = Sequence::make(*model).value();
  const Ids ids = some_ids(4);
  std::vector<float> hidden(ids.size() * config.dim), logits(ids.size() * config.vocab);
  const Slice slice{&sequence, ids.size()};
  ASSERT_TRUE(engine.embed(*model, ids, hidden));
  ASSERT_TRUE(engine.forward(*model, {&slice, 1}, 0, 1, hidden));
  const Status again = engine.forward(*model, {&slice, 1}, 0, 1, hidden);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kFailedPrecondition);
  const Status head = engine.head(*model, hidden, logits);
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, Code::kInvalidArgument);
  const auto text = Generation::start(model, ids);
  ASSERT_FALSE(text);
  EXPECT_TRUE(text.error().message.contains("embeddings")) << text.error().message;
}

TEST(Encoder, imported_from_a_hugging_face_directory_it_gives_the_vectors_of_its_gguf) {
  for (const std::string shape : kEncoders) {
    const model::RandomOptions options{.shape = shape, .type = {.type = DType::kF32}, .seed = 3, .progress = {}};
    fs::remove_all(scratch("hf"));
    ASSERT_TRUE(model::write_random_hf(scratch("hf"), options));
    const auto imported = model::import_model(scratch("hf"), scratch("imported.gguf"), {});
    ASSERT_TRUE(imported) << shape << ": " << imported.error().message;
    const auto direct = random_model(shape);
    const auto through = Model::load(scratch("imported.gguf"));
    ASSERT_TRUE(through) << shape << ": " << through.error().message;
    fs::remove_all(scratch("hf")), fs::remove(scratch("imported.gguf"));
    const std::string text = "Plays w300, then (stops)!";
    const Ids ids = encode_for_embedding(*direct, text).value();
    EXPECT_EQ(ids.front(), direct->tokenizer().vocab().bos);
    EXPECT_EQ(ids.back(), direct->tokenizer().vocab().sep);
    EXPECT_EQ(encode_for_embedding(**through, text).value(), ids) << shape;
    Engine engine;
    EXPECT_EQ(embed_texts(engine, **through, {&ids, 1}).value(), embed_texts(engine, *direct, {&ids, 1}).value());
  }
}

TEST(Encoder, pools_as_the_folder_says_that_it_came_from) {
  const model::RandomOptions options{.shape = "tiny-bert", .type = {.type = DType::kF32}, .seed = 3, .progress = {}};
  const fs::path folder = scratch("pooled"), file = scratch("pooled.gguf");
  ASSERT_TRUE(model::write_random_hf(folder, options));
  fs::create_directories(folder / "1_Pooling");
  const auto import_with = [&](std::string_view switches) {
    std::ofstream(folder / "1_Pooling" / "config.json") << "{\"word_embedding_dimension\": 64, " << switches << "}";
    return model::import_model(folder, file, {});
  };
  ASSERT_TRUE(import_with(R"("pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false)"));
  const auto model = Model::load(file).value();
  EXPECT_EQ(pooling_of(model->config()), Pooling::kFirst);
  const Ids ids = some_ids(9);
  Engine engine;
  const auto vector = embed_texts(engine, *model, {&ids, 1}, {.normalize = false}).value()[0];
  const std::vector<float> states = states_of(*model, ids);
  EXPECT_TRUE(std::equal(vector.begin(), vector.end(), states.begin()));
  const auto refused = import_with(R"("pooling_mode_max_tokens": true)");
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().message.contains("pooling_mode_max_tokens")) << refused.error().message;
  EXPECT_FALSE(import_with(R"("pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true)"));
  fs::remove_all(folder), fs::remove(file);
}

TEST(Pooling, takes_the_mean_the_first_or_the_last_state) {
  const std::vector<float> states = {3, 4, 8, 1, 2, 1, 3, 4};  // four tokens of two
  const auto of = [&](Pooling pooling, bool normalize = false, std::size_t dimensions = 0) {
    return pool(states, 2, {.pooling = pooling, .normalize = normalize, .dimensions = dimensions});
  };
  using Vector = std::vector<float>;
  EXPECT_EQ(of(Pooling::kMean), (Vector{4, 2.5f}));
  EXPECT_EQ(of(Pooling::kFirst), (Vector{3, 4}));
  EXPECT_EQ(of(Pooling::kLast), (Vector{3, 4}));
  EXPECT_EQ(of(Pooling::kFirst, true), (Vector{0.6f, 0.8f}));
  EXPECT_EQ(of(Pooling::kMean, false, 1), (Vector{4}));
  EXPECT_EQ(of(Pooling::kMean, true, 1), (Vector{1}));
  EXPECT_EQ(pool(Vector{0, 0}, 2, {.pooling = Pooling::kMean}), (Vector{0, 0}));
  EXPECT_EQ(pool(Vector{1, 2, 5, 6}, 2, {.pooling = Pooling::kLast, .normalize = false}), (Vector{5, 6}));
}

TEST(Embedding, of_a_model_that_generates_is_its_last_normed_state) {
  const auto model = random_model("tiny");
  const Ids ids = some_ids(20);
  EXPECT_EQ(pooling_of(model->config()), Pooling::kLast);
  Engine engine;
  std::vector<float> states = states_of(*model, ids);
  ASSERT_TRUE(engine.final_norm(*model, states));
  const std::size_t dim = model->config().dim;
  const std::vector<float> last(states.end() - static_cast<std::ptrdiff_t>(dim), states.end());
  EXPECT_EQ(embed_texts(engine, *model, {&ids, 1}, {.normalize = false}).value()[0], last);
}

TEST(Embedding, what_cannot_be_embedded_is_refused_with_the_reason) {
  const auto model = random_model("tiny-bert");
  Engine engine;
  const auto refused = [&](std::vector<Ids> texts, EmbeddingOptions options, std::string_view words) {
    const auto result = embed_texts(engine, *model, texts, options);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::kInvalidArgument);
    EXPECT_TRUE(result.error().message.contains(words)) << result.error().message;
  };
  refused({some_ids(3), {}}, {}, "text 1: an empty text");
  refused({some_ids(129)}, {}, "129 tokens, the model's context is 128");
  refused({{5, 512}}, {}, "the vocabulary has 512");
  refused({some_ids(3)}, {.dimensions = 65}, "the model has 64");
  EXPECT_TRUE(embed_texts(engine, *model, std::vector<Ids>{some_ids(128)}));
  EXPECT_TRUE(embed_texts(engine, *model, {}).value().empty());
  EXPECT_FALSE(encode_for_embedding(*model, ""));
  EXPECT_FALSE(encode_for_embedding(*model, std::string(300, '!')));
  Control cancel{true};
  const std::vector<Ids> text = {some_ids(3)};
  EXPECT_EQ(embed_texts(engine, *model, text, {}, &cancel).error().code, Code::kCancelled);
}

}  // namespace
}  // namespace sedge::engine
