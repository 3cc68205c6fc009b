#include "model/lora.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include "model/import_source.h"
#include "model/random.h"
#include "model/random_shapes.h"
#include "model/testing/tiny_lora.h"

namespace sedge::model {
namespace {

namespace fs = std::filesystem;
using testing::NamedValues;
using testing::TinyLoraOptions;
using testing::TinyPair;

Result<Lora> read_gguf(const std::vector<TinyPair>& pairs, const TinyLoraOptions& options = {},
                       const LlamaConfig& base = testing::tiny_config()) {
  const Buffer bytes = testing::tiny_lora(pairs, options);
  return lora_from_gguf(GgufFile::parse(bytes).value(), base);
}

Result<Lora> read_peft(std::string_view config, const std::vector<NamedValues>& tensors,
                       const LlamaConfig& base = testing::tiny_config()) {
  const Buffer bytes = testing::safetensors_of(tensors);
  return lora_from_peft(config, SafetensorsFile::parse(bytes).value(), base);
}

constexpr std::string_view kPeft = R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]})";

std::vector<NamedValues> peft_pair(const std::string& module, std::uint64_t cols, std::uint64_t rows,
                                   std::uint64_t rank = 4) {
  return {testing::peft_half(module, 'A', rank, cols, 1), testing::peft_half(module, 'B', rows, rank, 2)};
}

std::vector<float> values_of(const TensorView& view) {
  std::vector<float> values(view.values());
  kernels::format_of(view.type).dequantize(view.data.data(), values.data(), values.size());
  return values;
}

std::vector<float> row_of(const TensorView& view, std::size_t row) {
  const std::vector<float> all = values_of(view);
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(row * view.cols());
  return {first, first + static_cast<std::ptrdiff_t>(view.cols())};
}

TEST(Lora, a_gguf_adapter_is_a_pair_for_each_matrix_with_its_values_and_alpha_over_rank) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    const Lora lora =
        read_gguf({{"blk.1.attn_q.weight", 32, 32, 4}, {"blk.0.ffn_down.weight", 64, 32, 8}}, {.type = type}).value();
    ASSERT_EQ(lora.pairs.size(), 2u);
    const LoraPair &down = lora.pairs[0], &q = lora.pairs[1];
    EXPECT_EQ(down.layer, 0u);
    EXPECT_TRUE(down.matrix == &LlamaLayer::down);
    EXPECT_EQ(q.layer, 1u);
    EXPECT_TRUE(q.matrix == &LlamaLayer::q);
    EXPECT_EQ(q.a.shape, (std::vector<std::uint64_t>{32, 4}));
    EXPECT_EQ(q.b.shape, (std::vector<std::uint64_t>{4, 32}));
    EXPECT_EQ(q.a.type, type);
    EXPECT_FLOAT_EQ(q.scale, 4);
    EXPECT_FLOAT_EQ(down.scale, 2);
    EXPECT_EQ(lora.parameters, 4u * 64 + 8 * 96);
    std::vector<float> written = testing::random_values(4 * 32, 1001);  // its b, the second tensor
    for (float& value : written) {
      Buffer bytes(kernels::format_of(type).block_bytes);
      kernels::format_of(type).quantize(&value, bytes.data(), 1);
      kernels::format_of(type).dequantize(bytes.data(), &value, 1);
    }
    EXPECT_EQ(values_of(q.b), written);
  }
}

TEST(Lora, halves_in_blocks_become_floats) {
  const Lora lora = read_gguf({{"blk.0.attn_q.weight", 32, 32, 32}}, {.type = DType::kQ8_0}).value();
  EXPECT_EQ(lora.pairs[0].a.type, DType::kF32);
  const std::vector<float> meant = testing::random_values(32 * 32, 1000), read = values_of(lora.pairs[0].a);
  for (std::size_t i = 0; i < meant.size(); ++i) EXPECT_NEAR(read[i], meant[i], 0.01);
}

TEST(Lora, an_alpha_of_nothing_adds_the_pair_as_it_is) {
  EXPECT_FLOAT_EQ(read_gguf({{"blk.0.attn_q.weight", 32, 32, 4}}, {.alpha = 0}).value().pairs[0].scale, 1);
}

TEST(Lora, rank_stabilized_adapters_divide_alpha_by_the_root) {
  const auto scale = [](std::string_view config) {
    return read_peft(config, peft_pair("model.layers.0.self_attn.v_proj", 32, 16)).value().pairs[0].scale;
  };
  EXPECT_FLOAT_EQ(scale(kPeft), 2);
  EXPECT_FLOAT_EQ(scale(R"({"peft_type": "LORA", "lora_alpha": 8, "use_rslora": true})"), 4);
}

TEST(Lora, rows_of_queries_and_keys_stand_as_the_models_do_and_others_as_they_were) {
  for (const auto& [module, rows, heads] : {std::tuple("self_attn.q_proj", 32u, 4u),
                                            {"self_attn.k_proj", 16u, 2u},
                                            {"self_attn.v_proj", 16u, 0u},
                                            {"mlp.up_proj", 64u, 0u}}) {
    const auto tensors = peft_pair(fmt::format("model.layers.1.{}", module), 32, rows);
    const Lora lora = read_peft(kPeft, tensors).value();
    ASSERT_EQ(lora.pairs.size(), 1u);
    EXPECT_EQ(lora.pairs[0].layer, 1u);
    EXPECT_EQ(values_of(lora.pairs[0].a), tensors[0].values);
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t from = heads == 0 ? row : half_row(row, rows / heads);
      const auto first = tensors[1].values.begin() + static_cast<std::ptrdiff_t>(from * 4);
      EXPECT_EQ(row_of(lora.pairs[0].b, row), std::vector<float>(first, first + 4)) << module << " " << row;
    }
  }
}

TEST(Lora, a_pair_for_a_fused_matrix_is_cut_into_its_parts) {
  const LlamaConfig phi = find_random_shape("tiny-phi").value().config;
  const std::size_t rows = phi.q_dim() + 2 * phi.kv_dim();
  const auto tensors = peft_pair("model.layers.0.self_attn.qkv_proj", phi.dim, rows);
  const Lora lora = read_peft(kPeft, tensors, phi).value();
  ASSERT_EQ(lora.pairs.size(), 3u);
  EXPECT_TRUE(lora.pairs[1].matrix == &LlamaLayer::k);
  std::vector<float> all;
  for (const LoraPair& pair : lora.pairs) {
    EXPECT_EQ(values_of(pair.a), tensors[0].values);
    const std::vector<float> part = values_of(pair.b);
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(lora.pairs[0].b.rows(), phi.q_dim());
  EXPECT_EQ(all, tensors[1].values);
}

TEST(Lora, gpt2_is_known_as_a_part_of_its_transformer) {
  const LlamaConfig gpt2 = find_random_shape("tiny-gpt2").value().config;
  const auto tensors = peft_pair("transformer.h.1.mlp.c_fc", gpt2.dim, gpt2.ffn_dim);
  const Lora lora = read_peft(kPeft, tensors, gpt2).value();
  EXPECT_TRUE(lora.pairs.at(0).matrix == &LlamaLayer::up);
  EXPECT_EQ(values_of(lora.pairs[0].b), tensors[1].values);
}

std::string error_of(const Result<Lora>& lora) { return lora ? "none" : lora.error().message; }

TEST(Lora, what_does_not_belong_to_the_model_is_refused_by_name) {
  const TinyPair good{"blk.0.attn_q.weight", 32, 32, 4};
  const auto one = [](TinyPair pair) { return error_of(read_gguf({std::move(pair)})); };
  const std::pair<std::string, std::string> cases[] = {
      {one({"blk.0.attn_q.weight", 48, 32, 4}),
       "tensor 'blk.0.attn_q.weight.lora_a' has shape [48, 4], the model asks "
       "for [32, 4]"},
      {one({"blk.0.attn_k.weight", 32, 32, 4}),
       "'blk.0.attn_k.weight.lora_b' has shape [4, 32], the model asks for "
       "[4, 16]"},
      {one({"blk.2.attn_q.weight", 32, 32, 4}), "the llama of 2 layers has no matrix 'blk.2.attn_q.weight'"},
      {one({"blk.0.attn_norm.weight", 32, 32, 4}), "has no matrix 'blk.0.attn_norm.weight'"},
      {one({"token_embd.weight", 32, 16, 4}), "adapters of embeddings and heads are not run"},
      {one({"blk.0.attn_q.weight", 32, 32, 513}), "rank 513, 1 to 512 are run"},
      {error_of(read_gguf({good}, {.arch = "qwen2"})), "'general.architecture' is 'qwen2', 'llama' is wanted"},
      {error_of(read_gguf({good}, {.alpha = std::nanf("")})), "alpha is nan"},
      {error_of(read_gguf({})), "holds no pairs"},
  };
  for (const auto& [error, wanted] : cases) EXPECT_TRUE(error.contains(wanted)) << error << "\nwanted: " << wanted;
  const LlamaConfig mixture = find_random_shape("tiny-mixtral").value().config;
  const auto expert = peft_pair("model.layers.0.block_sparse_moe.experts.1.w1", mixture.dim, mixture.expert_ffn_dim);
  EXPECT_TRUE(error_of(read_peft(kPeft, expert, mixture)).contains("adapters of experts are not run"));
}

TEST(Lora, a_gguf_that_is_more_or_less_than_pairs_is_refused_by_name) {
  const auto with = [](const std::function<void(GgufWriter&)>& change) {
    GgufWriter writer;
    writer.set("general.architecture", "llama");
    writer.set("general.type", "adapter");
    writer.set("adapter.type", "lora");
    change(writer);
    const Buffer bytes = writer.to_bytes().value();
    return error_of(lora_from_gguf(GgufFile::parse(bytes).value(), testing::tiny_config()));
  };
  const Buffer data(32 * 4 * 4);
  EXPECT_TRUE(with([&](GgufWriter& w) {
                w.add_tensor("blk.0.attn_q.weight.lora_a", DType::kF32, {32, 4}, data);
              }).contains("'blk.0.attn_q.weight.lora_a' has no partner B"));
  EXPECT_TRUE(with([&](GgufWriter& w) {
                w.add_tensor("blk.0.attn_q.weight.lora_magnitude", DType::kF32, {32}, Bytes(data).first(128));
              }).contains("'blk.0.attn_q.weight.lora_magnitude' is neither"));
  EXPECT_TRUE(with([](GgufWriter& w) {
                w.set("adapter.alora.invocation_tokens", std::vector<std::int32_t>{1});
              }).contains("'adapter.alora.invocation_tokens'"));
  const Buffer model = testing::tiny_writer(testing::tiny_config()).to_bytes().value();
  EXPECT_TRUE(error_of(lora_from_gguf(GgufFile::parse(model).value(), testing::tiny_config()))
                  .contains("'general.type' is absent, 'adapter' is wanted"));
}

TEST(Lora, what_peft_adds_beside_pairs_is_refused_by_name) {
  const std::string q = "model.layers.0.self_attn.q_proj";
  const std::pair<std::string_view, std::string_view> configs[] = {
      {R"({"peft_type": "LORA", "lora_alpha": 8, "use_dora": true})", "'use_dora' is true"},
      {R"({"peft_type": "LORA", "lora_alpha": 8, "bias": "all"})", "'bias' is \"all\""},
      {R"({"peft_type": "LORA", "lora_alpha": 8, "modules_to_save": ["lm_head"]})", "'modules_to_save' is"},
      {R"({"peft_type": "LORA", "lora_alpha": 8, "alpha_pattern": {"q": 3}})", "'alpha_pattern' is"},
      {R"({"peft_type": "IA3", "lora_alpha": 8})", "'peft_type' is 'IA3'"},
      {R"({"peft_type": "LORA"})", "lora_alpha"},
      {R"({"peft_type": "LORA", "lora_alpha": 1e300})", "alpha is 1e+300"},
      {R"({"peft_type": "LORA", "lora_alpha": 8, "lora_alpha": 9})", "lora_alpha"},
  };
  for (const auto& [config, wanted] : configs) {
    const std::string error = error_of(read_peft(config, peft_pair(q, 32, 32)));
    EXPECT_TRUE(error.contains(wanted)) << error;
  }
  EXPECT_TRUE(read_peft(R"({"peft_type": "LORA", "lora_alpha": 8, "use_dora": false, "bias": "none",
                            "modules_to_save": null, "alpha_pattern": {}})",
                        peft_pair(q, 32, 32)));
  auto tensors = peft_pair(q, 32, 32);
  tensors.push_back({"base_model.model." + q + ".lora_magnitude_vector", {32}, std::vector<float>(32)});
  EXPECT_TRUE(error_of(read_peft(kPeft, tensors)).contains("lora_magnitude_vector"));
  tensors = peft_pair("model.embed_tokens", 32, 16);
  EXPECT_TRUE(error_of(read_peft(kPeft, tensors)).contains("adapters of embeddings and heads"));
  EXPECT_TRUE(error_of(read_peft(kPeft, peft_pair("model.layers.0.self_attn.w_proj", 32, 32))).contains("no place"));
}

TEST(Lora, a_random_adapter_is_one_of_its_model_and_the_same_for_the_same_seed) {
  const fs::path path = fs::path(::testing::TempDir()) / fmt::format("lora_{}.gguf", ::getpid());
  const auto bytes_of = [&] {
    const auto file = MappedFile::open(path).value();
    return Buffer(file->bytes().begin(), file->bytes().end());
  };
  for (const std::string_view shape : random_shapes().first(4)) {
    const LlamaConfig base = find_random_shape(shape).value().config;
    ASSERT_TRUE(write_random_lora(path, base, {.rank = 5, .type = DType::kF16, .seed = 3}));
    const Lora lora = load_lora(path, base).value();
    EXPECT_EQ(lora.pairs.size(), base.layers * 7) << shape;
    EXPECT_FLOAT_EQ(lora.pairs[0].scale, 0.5f);
    const Buffer first = bytes_of();
    ASSERT_TRUE(write_random_lora(path, base, {.rank = 5, .type = DType::kF16, .seed = 3}));
    EXPECT_EQ(bytes_of(), first);
  }
  EXPECT_TRUE(error_of(load_lora(path, testing::tiny_config())).starts_with(path.string()));
  const auto as_model = load_llama(GgufFile::open(path).value());
  EXPECT_TRUE(!as_model && as_model.error().message.contains("it is an adapter"));
  EXPECT_FALSE(write_random_lora(path, testing::tiny_config(), {.rank = 0}));
  EXPECT_FALSE(write_random_lora(path, testing::tiny_config(), {.type = DType::kQ8_0}));
  fs::remove(path);
}

}  // namespace
}  // namespace sedge::model
