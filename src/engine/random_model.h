// A small model with random weights, made in memory: for tests and benchmarks that need no file.
#pragma once

#include <string>
#include <vector>

#include "base/prng.h"
#include "engine/model.h"
#include "kernels/formats/formats.h"
#include "model/gguf.h"
#include "model/testing/tiny_llama.h"
#include "model/vocab.h"

namespace sedge::engine {

struct RandomModelOptions {
  kernels::DType type = kernels::DType::kF32;
  std::size_t layers = 3, dim = 64, heads = 4, kv_heads = 2, ffn_dim = 96, context = 64;
  std::uint64_t seed = 1;
  ModelOptions model{};
  std::string chat_template = {};
  std::vector<std::string> control_tokens = {};  // behind the bytes
};

class RandomModel {
 public:
  // Rows of 256 at least where the type's blocks are that long.
  explicit RandomModel(RandomModelOptions options = {}) : prng_(options.seed) {
    if (kernels::format_of(options.type).block_values > 32) options.dim = options.ffn_dim = 256;
    options_ = options;
    model::Vocab vocab = model::testing::byte_vocab();
    vocab.add_bos = true;
    vocab.chat_template = options.chat_template;
    for (const std::string& token : options.control_tokens) {
      vocab.tokens.push_back(token);
      vocab.types.push_back(static_cast<std::int32_t>(model::TokenType::kControl));
      vocab.scores.push_back(0);
    }
    describe();
    model::write_vocab(writer_, vocab);
    const std::size_t kv_dim = options.dim / options.heads * options.kv_heads;
    add("token_embd.weight", options.dim, vocab.tokens.size(), 1.0);
    add("output_norm.weight", options.dim, 0, 0);
    for (std::size_t layer = 0; layer < options.layers; ++layer) {
      const auto name = [&](const char* part) { return fmt::format("blk.{}.{}.weight", layer, part); };
      add(name("attn_norm"), options.dim, 0, 0);
      add(name("attn_q"), options.dim, options.dim, 0.5);
      add(name("attn_k"), options.dim, kv_dim, 0.5);
      add(name("attn_v"), options.dim, kv_dim, 0.5);
      add(name("attn_output"), options.dim, options.dim, 0.5);
      add(name("ffn_norm"), options.dim, 0, 0);
      add(name("ffn_gate"), options.dim, options.ffn_dim, 0.5);
      add(name("ffn_up"), options.dim, options.ffn_dim, 0.5);
      add(name("ffn_down"), options.ffn_dim, options.dim, 0.5);
    }
    auto bytes = writer_.to_bytes();
    SEDGE_ASSERT(bytes.has_value());
    file_ = *std::move(bytes);
    auto parsed = model::GgufFile::parse(file_);
    SEDGE_ASSERT(parsed.has_value());
    auto made = Model::from(*std::move(parsed), options.model);
    SEDGE_ASSERT(made.has_value());
    model_ = *std::move(made);
  }

  // Valid while this object lives.
  const std::shared_ptr<const Model>& model() const { return model_; }
  // The same as a GGUF file would have it.
  Bytes file() const { return file_; }

 private:
  void describe() {
    writer_.set("general.architecture", "llama");
    const auto set = [&](const char* key, std::size_t value) {
      writer_.set(std::string("llama.") + key, static_cast<std::uint32_t>(value));
    };
    set("block_count", options_.layers);
    set("embedding_length", options_.dim);
    set("feed_forward_length", options_.ffn_dim);
    set("context_length", options_.context);
    set("attention.head_count", options_.heads);
    set("attention.head_count_kv", options_.kv_heads);
    writer_.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  }

  // rows 0: a norm, near 1. Matrices: uniform within ±span.
  void add(std::string name, std::size_t cols, std::size_t rows, double span) {
    const bool is_norm = rows == 0;
    const kernels::Format& format = kernels::format_of(is_norm ? kernels::DType::kF32 : options_.type);
    std::vector<float> values(cols * (is_norm ? 1 : rows));
    for (float& v : values)
      v = static_cast<float>(is_norm ? 0.9 + 0.2 * prng_.uniform() : span * (2 * prng_.uniform() - 1));
    Buffer& bytes = tensors_.emplace_back(values.size() / format.block_values * format.block_bytes);
    format.quantize(values.data(), bytes.data(), values.size());
    std::vector<std::uint64_t> shape = {cols};
    if (!is_norm) shape.push_back(rows);
    writer_.add_tensor(std::move(name), format.type, std::move(shape), Bytes(bytes));
  }

  RandomModelOptions options_;
  Prng prng_;
  model::GgufWriter writer_;
  std::vector<Buffer> tensors_;
  Buffer file_;
  std::shared_ptr<const Model> model_;
};

}  // namespace sedge::engine
