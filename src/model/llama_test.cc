#include "model/llama.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "model/testing/tiny_llama.h"
#include "support/test_data.h"

namespace sedge::model {
namespace {

using testing::tiny_config;
using testing::tiny_writer;

// The error of loading what a writer writes; empty when it loads.
std::string load_error(const GgufWriter& writer) {
  const Buffer bytes = writer.to_bytes().value();
  const auto file = GgufFile::parse(bytes);
  if (!file) return file.error().message;
  const auto model = load_llama(*file);
  return model ? "" : model.error().message;
}

// A tiny model's file with tensors replaced, renamed or left out by name.
std::string with_tensors(const std::function<void(std::string&, std::vector<std::uint64_t>&, DType&)>& change) {
  const LlamaConfig config = tiny_config();
  GgufWriter writer;
  write_llama_config(writer, config);
  for (auto [name, shape] : testing::tensor_list(config)) {
    DType type = DType::kF32;
    change(name, shape, type);
    if (name.empty()) continue;
    writer.add_tensor(name, type, shape,
                      [data = testing::random_tensor(type, shape, 1)](const ByteSink& sink) { return sink(data); });
  }
  return load_error(writer);
}

TEST(Llama, sizes_that_are_written_are_read_and_every_view_has_its_shape) {
  for (const bool tied : {true, false}) {
    LlamaConfig config = tiny_config();
    config.tied = tied;
    config.head_dim = 16;  // wider than its share: needs key_length
    config.rope_dim = 6;
    const Buffer bytes = tiny_writer(config, DType::kQ8_0).to_bytes().value();
    const GgufFile file = GgufFile::parse(bytes).value();
    const LlamaModel model = load_llama(file).value();
    EXPECT_EQ(model.config.head_dim, 16u);
    EXPECT_EQ(model.config.rope_dim, 6u);
    EXPECT_EQ(model.config.name, "tiny");
    EXPECT_EQ(model.config.tied, tied);
    EXPECT_EQ(model.config.features.rope, RopeLayout::kInterleaved);
    EXPECT_EQ(model.weights.output.data.data() == model.weights.token_embd.data.data(), tied);
    ASSERT_EQ(model.weights.layers.size(), 2u);
    EXPECT_EQ(model.weights.layers[1].k.shape, (std::vector<std::uint64_t>{32, 32}));
    EXPECT_EQ(model.weights.layers[1].o.shape, (std::vector<std::uint64_t>{64, 32}));
    EXPECT_EQ(model.weights.layers[0].down.name, "blk.0.ffn_down.weight");
  }
}

TEST(Llama, a_missing_surplus_or_misshapen_tensor_is_named) {
  EXPECT_EQ(with_tensors([](auto&, auto&, auto&) {}), "");
  EXPECT_EQ(with_tensors([](auto& name, auto&, auto&) { name = name == "blk.1.ffn_up.weight" ? "" : name; }),
            "tensor 'blk.1.ffn_up.weight' is missing");
  EXPECT_EQ(with_tensors([](auto& name, auto& shape, auto&) {
              if (name == "blk.0.attn_k.weight") shape = {16, 32};
            }),
            "tensor 'blk.0.attn_k.weight' has shape [16, 32], the metadata asks for [32, 16]");
  EXPECT_EQ(with_tensors([](auto& name, auto&, auto& type) {
              if (name == "output_norm.weight") type = DType::kF16;
            }),
            "tensor 'output_norm.weight' is F16, norms and biases are read as F32");
  GgufWriter writer = tiny_writer(tiny_config());
  writer.add_tensor("blk.0.attn_q.bias", DType::kF32, {1}, as_bytes("0000"));
  EXPECT_EQ(load_error(writer), "tensor 'blk.0.attn_q.bias' has no place in a llama of 2 layers");
}

TEST(Llama, sizes_outside_their_limits_are_refused_by_name) {
  const auto error = [](auto change) {
    LlamaConfig config = tiny_config();
    change(config);
    const Status status = check_llama_config(config);
    return status ? "" : status.error().message;
  };
  EXPECT_EQ(error([](auto&) {}), "");
  EXPECT_EQ(error([](auto& c) { c.layers = 0; }), "layers is 0, 1 to 1024 are allowed");
  EXPECT_EQ(error([](auto& c) { c.vocab = ~std::size_t{0}; }),
            "vocabulary is 18446744073709551615, 1 to 2097152 are allowed");
  EXPECT_EQ(error([](auto& c) { c.kv_heads = 3; }), "4 heads cannot share 3 key-value heads");
  EXPECT_EQ(error([](auto& c) { c.rope_dim = 10; }),
            "head size 8 and rotary size 10 must be even, the second at most the first");
  EXPECT_NE(error([](auto& c) { c.rope_base = std::numeric_limits<float>::infinity(); }), "");
  EXPECT_NE(error([](auto& c) { c.norm_eps = std::nanf(""); }), "");
  EXPECT_NE(error([](auto& c) { c.rope_scaling.original_context = (std::size_t{1} << 32) + 4096; }), "");
  EXPECT_EQ(error([](auto& c) { c.layers = 129, c.experts = 512, c.experts_used = 2, c.expert_ffn_dim = 32; }),
            "129 layers of 512 experts: 65536 together are allowed");
}

TEST(Llama, features_that_would_change_the_answer_are_refused) {
  const auto error = [](std::string_view key, auto value) {
    GgufWriter writer = tiny_writer(tiny_config());
    writer.set(key, value);
    return load_error(writer);
  };
  EXPECT_EQ(error("llama.expert_count", std::uint32_t{8}), "metadata key 'llama.expert_used_count' is missing");
  EXPECT_EQ(error("llama.attention.clamp_kqv", 8.0f), "llama.attention.clamp_kqv is not supported");
  EXPECT_EQ(error("llama.rope.scaling.type", "dynamic"),
            "llama.rope.scaling.type 'dynamic' is not supported (linear, yarn and longrope are)");
  EXPECT_EQ(error("llama.rope.scaling.factor", -1.0f), "");  // of no type: not read
  EXPECT_EQ(error("llama.rope.scaling.type", "none"), "");
  EXPECT_EQ(error("llama.attention.causal", true), "");
  EXPECT_EQ(error("llama.attention.causal", false), "llama.attention.causal is 0: that is not run");
  EXPECT_EQ(error("llama.rope.scaling.yarn_attn_factor", 1.0f), "");
  EXPECT_EQ(error("llama.rope.scaling.yarn_attn_factor", 1.5f),
            "llama.rope.scaling.yarn_attn_factor is 1.5: that is not run");
  EXPECT_EQ(error("llama.final_logit_softcapping", 0.0f), "");
  EXPECT_EQ(error("llama.final_logit_softcapping", 30.0f), "llama.final_logit_softcapping is 30: that is not run");
  EXPECT_EQ(error("llama.expert_gating_func", std::uint32_t{2}), "llama.expert_gating_func is 2: that is not run");
}

TEST(Llama, position_scaling_becomes_factors_of_the_frequencies) {
  GgufWriter writer = tiny_writer(tiny_config());
  writer.set("llama.rope.scaling.type", "linear");
  writer.set("llama.rope.scaling.factor", 4.0f);
  const std::vector<float> freqs = {1, 2, 3, 4};
  writer.add_tensor("rope_freqs.weight", DType::kF32, {4},
                    Bytes(reinterpret_cast<const std::uint8_t*>(freqs.data()), 16));
  const Buffer bytes = writer.to_bytes().value();
  const GgufFile file = GgufFile::parse(bytes).value();
  EXPECT_EQ(load_llama(file).value().rope_factors, (std::vector<float>{4, 8, 12, 16}));
}

TEST(Llama, who_asks_for_a_long_context_gets_its_factors_and_all_of_it) {
  GgufWriter writer = tiny_writer(tiny_config());  // a context of 64
  writer.set("llama.rope.scaling.original_context_length", std::uint32_t{16});
  const auto add = [&](std::string_view name, const std::vector<float>& factors) {
    writer.add_tensor(std::string(name), DType::kF32, {4},
                      Bytes(reinterpret_cast<const std::uint8_t*>(factors.data()), 16));
  };
  const std::vector<float> small = {1, 2, 3, 4}, large = {5, 6, 7, 8};
  add(kRopeShortName, small);
  const auto loaded = [&](bool long_context) {
    const Buffer bytes = writer.to_bytes().value();
    const LlamaModel model = load_llama(GgufFile::parse(bytes).value(), long_context).value();
    return std::tuple(model.config.context, model.config.long_context, model.rope_factors);
  };
  EXPECT_EQ(loaded(true), (std::tuple(16u, 0u, small))) << "there are no others";
  add(kRopeLongName, large);
  EXPECT_EQ(loaded(false), (std::tuple(16u, 64u, small)));
  EXPECT_EQ(loaded(true), (std::tuple(64u, 64u, large)));
  const Buffer bytes = writer.to_bytes().value();
  GgufWriter again;
  write_llama_config(again, read_llama_config(GgufFile::parse(bytes).value()).value());
  const Buffer written = again.to_bytes().value();
  EXPECT_EQ(GgufFile::parse(written).value().get_uint("llama.context_length").value(), 64u);
}

TEST(Llama, an_architecture_is_a_row_that_says_how_rope_pairs) {
  LlamaConfig config = tiny_config();
  config.arch = "exaone";
  const Buffer bytes = tiny_writer(config).to_bytes().value();
  EXPECT_EQ(load_llama(GgufFile::parse(bytes).value()).value().config.features.rope, RopeLayout::kHalf);
  config.arch = "mamba";
  EXPECT_EQ(
      load_error(tiny_writer(config)),
      "general.architecture 'mamba' is not run here (llama, exaone, qwen2, qwen3, qwen3moe, smollm3, gemma2, gemma3, "
      "phi3, gpt2, bert, nomic-bert are)");
}

TEST(Llama, features_of_an_architecture_without_them_are_refused) {
  LlamaConfig config = tiny_config();
  config.arch = "qwen3";
  config.features = find_architecture("qwen3")->features;
  GgufWriter writer = tiny_writer(config);
  EXPECT_EQ(load_error(writer), "");
  writer.set("qwen3.attention.sliding_window", std::uint32_t{8});
  EXPECT_EQ(load_error(writer), "qwen3.attention.sliding_window is not supported");
  GgufWriter mixed = tiny_writer(config);
  mixed.set("qwen3.expert_count", std::uint32_t{8});
  EXPECT_EQ(load_error(mixed), "qwen3.expert_count is 8: mixtures of this architecture are not run");
}

TEST(Llama, layers_see_a_window_or_everything_as_the_period_says) {
  LlamaConfig config = config_of_architecture("gemma3");
  EXPECT_FALSE(config.is_local(0));  // no window
  config.window = 8;
  for (std::size_t layer = 0; layer < 12; ++layer) EXPECT_EQ(config.is_local(layer), layer != 5 && layer != 11);
  config = config_of_architecture("llama");
  config.window = 8;
  EXPECT_TRUE(config.is_local(0) && config.is_local(1));
  config = config_of_architecture("smollm3");
  for (std::size_t layer = 0; layer < 9; ++layer) EXPECT_EQ(config.rotates(layer), layer != 3 && layer != 7);
}

TEST(Llama, a_model_made_by_others_loads) {
  SEDGE_NEED_DATA(path, "llm/stories260K/stories260K.gguf");
  const GgufFile file = GgufFile::open(path).value();
  const LlamaModel model = load_llama(file).value();
  EXPECT_EQ(model.config.layers, 5u);
  EXPECT_EQ(model.config.kv_heads, 4u);
  EXPECT_EQ(model.config.vocab, 512u);
  EXPECT_FALSE(model.config.tied);
}

TEST(Llama, a_vocabulary_alone_has_sizes_but_no_weights) {
  SEDGE_NEED_DATA(path, "tokenizers/llama.cpp/ggml-vocab-llama-spm.gguf");
  const GgufFile file = GgufFile::open(path).value();
  EXPECT_EQ(read_llama_config(file).value().layers, 32u);
  EXPECT_EQ(load_llama(file).error().message, "the file holds a vocabulary and no weights");
}

LlamaConfig tiny_bert() {
  LlamaConfig config = tiny_config();
  const LlamaConfig row = config_of_architecture("bert");
  config.arch = row.arch, config.features = row.features;
  config.kv_heads = config.heads;
  config.token_types = 2;
  config.pooling = Pooling::kFirst;
  return config;
}

TEST(Llama, of_an_encoder_has_no_head_and_what_is_written_is_read) {
  const Buffer bytes = tiny_writer(tiny_bert()).to_bytes().value();
  const GgufFile file = GgufFile::parse(bytes).value();
  EXPECT_EQ(file.get_uint("tokenizer.ggml.token_type_count").value(), 2u);
  EXPECT_EQ(file.get_uint("bert.pooling_type").value(), 2u);
  EXPECT_FALSE(file.get_bool("bert.attention.causal").value());
  const LlamaModel model = load_llama(file).value();
  EXPECT_EQ(model.config.token_types, 2u);
  EXPECT_EQ(model.config.pooling, Pooling::kFirst);
  EXPECT_TRUE(model.weights.output.data.empty());
  EXPECT_TRUE(model.weights.layers[1].attn_norm.data.empty());
  EXPECT_EQ(model.weights.token_types.shape, (std::vector<std::uint64_t>{32, 2}));
  EXPECT_EQ(model.weights.layers[1].ffn_post_norm_bias.name, "blk.1.layer_output_norm.bias");
}

TEST(Llama, what_an_encoder_lacks_or_should_not_have_is_named) {
  const LlamaConfig config = tiny_bert();
  for (const auto& [left_out, shape] : testing::tensor_list(config)) {
    GgufWriter writer;
    write_llama_config(writer, config);
    for (const auto& [name, size] : testing::tensor_list(config)) {
      if (name == left_out) continue;
      writer.add_tensor(
          name, DType::kF32, size,
          [data = testing::random_tensor(DType::kF32, size, 1)](const ByteSink& sink) { return sink(data); });
    }
    EXPECT_EQ(load_error(writer), fmt::format("tensor '{}' is missing", left_out));
  }
  const auto with_key = [](const LlamaConfig& of, std::string_view key, auto value) {
    GgufWriter writer = tiny_writer(of);
    writer.set(key, value);
    return load_error(writer);
  };
  LlamaConfig other = config;
  other.pooling = Pooling::kNone;
  EXPECT_TRUE(with_key(other, "bert.pooling_type", std::uint32_t{4}).contains("bert.pooling_type is 4"));
  other.features.causal = true;  // leaves the key out
  EXPECT_TRUE(with_key(other, "bert.attention.causal", true).contains("bert.attention.causal is 1"));
  for (const auto& [name, rows] : {std::pair("output.weight", config.vocab), {"cls.weight", config.dim}}) {
    GgufWriter writer = tiny_writer(config);
    const std::vector<std::uint64_t> shape = {config.dim, rows};
    writer.add_tensor(
        name, DType::kF32, shape,
        [data = testing::random_tensor(DType::kF32, shape, 1)](const ByteSink& sink) { return sink(data); });
    EXPECT_TRUE(load_error(writer).contains(fmt::format("tensor '{}' has no place in a bert", name)));
  }
}

}  // namespace
}  // namespace sedge::model
