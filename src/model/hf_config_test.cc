#include "model/hf_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::model {
namespace {

// A good config with `more` behind it: later members are added, not replaced, so each test names a new one.
std::string config_with(std::string_view more = "", std::string_view type = "llama") {
  return fmt::format(R"({{"model_type":"{}","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,)"
                     R"("intermediate_size":128,"vocab_size":32,"max_position_embeddings":256{}{}}})",
                     type, more.empty() ? "" : ",", more);
}

std::string error_of(std::string_view more, std::string_view type = "llama") {
  const auto config = parse_hf_config(config_with(more, type));
  return config ? "" : config.error().message;
}

TEST(HfConfig, defaults_are_those_of_transformers) {
  const HfConfig config = parse_hf_config(config_with()).value();
  EXPECT_EQ(config.config.kv_heads, 4u);
  EXPECT_EQ(config.config.head_dim, 16u);
  EXPECT_EQ(config.config.rope_dim, 16u);
  EXPECT_EQ(config.config.rope_base, 10000.0f);
  EXPECT_EQ(config.config.norm_eps, 1e-6f);
  EXPECT_FALSE(config.config.tied);
  EXPECT_TRUE(config.rope_freqs.empty());
  EXPECT_EQ(config.bos, std::nullopt);
}

TEST(HfConfig, of_a_bert_has_its_own_names_and_defaults) {
  const LlamaConfig config =
      parse_hf_config(config_with(R"("hidden_act":"gelu","layer_norm_eps":1e-7)", "bert")).value().config;
  EXPECT_EQ(config.arch, "bert");
  EXPECT_EQ(config.norm_eps, 1e-7f);
  EXPECT_EQ(config.token_types, 2u);
  EXPECT_EQ(config.pooling, Pooling::kNone);
  EXPECT_TRUE(config.tied) << "there is no head";
  EXPECT_EQ(parse_hf_config(config_with("", "bert")).value().config.norm_eps, 1e-12f);
  EXPECT_EQ(parse_hf_config(config_with(R"("type_vocab_size":1)", "bert")).value().config.token_types, 1u);
  EXPECT_TRUE(error_of(R"("hidden_act":"relu")", "bert").contains("'hidden_act' 'relu'"));
  EXPECT_TRUE(error_of(R"("is_decoder":true)", "bert").contains("'is_decoder'"));
  EXPECT_TRUE(error_of(R"("position_embedding_type":"relative_key")", "bert").contains("'position_embedding_type'"));
}

TEST(HfConfig, given_fields_win_and_null_is_absent) {
  const HfConfig config =
      parse_hf_config(config_with(R"("num_key_value_heads":2,"head_dim":32,"rope_theta":5e5,"rms_norm_eps":1e-5,)"
                                  R"("tie_word_embeddings":true,"rope_scaling":null,"bos_token_id":1,)"
                                  R"("eos_token_id":[2,3],"sliding_window":null)",
                                  "mistral"))
          .value();
  EXPECT_EQ(config.config.kv_heads, 2u);
  EXPECT_EQ(config.config.head_dim, 32u);
  EXPECT_EQ(config.config.rope_base, 500000.0f);
  EXPECT_TRUE(config.config.tied);
  EXPECT_EQ(config.bos, 1);
  EXPECT_EQ(config.eos, 2);
}

TEST(HfConfig, what_the_engine_does_not_have_is_refused_by_field) {
  EXPECT_EQ(error_of("", "mamba"),
            "config.json: field 'model_type' 'mamba': llama, mistral, mixtral, exaone, qwen2, qwen3, qwen3_moe, "
            "smollm3, gemma2, "
            "gemma3_text, phi3, gpt2, bert, nomic_bert are imported");
  EXPECT_EQ(error_of(R"("hidden_act":"gelu")"), "config.json: field 'hidden_act' 'gelu': only silu is run");
  EXPECT_EQ(error_of(R"("attention_bias":true)"), "config.json: field 'attention_bias' is true: that is not run");
  EXPECT_EQ(error_of(R"("sliding_window":128)"),
            "config.json: field 'sliding_window' 128 is shorter than the context 256");
  EXPECT_EQ(error_of(R"("sliding_window":256)"), "");
  EXPECT_EQ(error_of(R"("rope_scaling":{"type":"dynamic"})"),
            "config.json: field 'rope_scaling': type 'dynamic' (linear, yarn, longrope and llama3 are known)");
  EXPECT_EQ(error_of(R"("rope_scaling":{"type":"yarn","factor":4,"mscale":0.7})"),
            "config.json: field 'rope_scaling': 'mscale' is not supported");
  EXPECT_EQ(error_of(R"("norm_topk_prob":false)", "qwen3_moe"),
            "config.json: field 'norm_topk_prob' is false: that is not run");
  EXPECT_EQ(error_of(R"("no_rope_layers":[1,0])", "smollm3"),
            "config.json: field 'no_rope_layers': layer 1 is of another kind than smollm3 has it");
  EXPECT_EQ(error_of(R"("layer_types":["full_attention","full_attention"],"sliding_window":64,)"
                     R"("attn_logit_softcapping":50,"final_logit_softcapping":30)",
                     "gemma2"),
            "config.json: field 'layer_types': layer 0 is of another kind than gemma2 has it");
  EXPECT_EQ(
      error_of(R"("query_pre_attn_scalar":256,"attn_logit_softcapping":50,"final_logit_softcapping":30)", "gemma2"),
      "config.json: field 'query_pre_attn_scalar' is 256, a gemma2 of 2 layers has 16");
}

TEST(HfConfig, impossible_fields_are_refused_by_name) {
  EXPECT_EQ(error_of(R"("num_key_value_heads":3)"), "config.json: 4 heads cannot share 3 key-value heads");
  EXPECT_EQ(error_of(R"("head_dim":-1)"), "config.json: field 'head_dim' is not a non-negative integer");
  EXPECT_EQ(error_of(R"("rope_theta":0)"), "config.json: RoPE's base 0 is not a positive number");
  EXPECT_EQ(error_of(R"("rope_theta":"big")"), "config.json: field 'rope_theta' is not a number");
  EXPECT_EQ(error_of(R"("vocab_size":32)"), "config.json: 'vocab_size' stands twice, the second at offset 155");
  EXPECT_EQ(parse_hf_config(R"({"model_type":"llama"})").error().message,
            "config.json: field 'num_hidden_layers' is missing");
  EXPECT_EQ(parse_hf_config("[]").error().message, "config.json is not a JSON object");
  EXPECT_FALSE(parse_hf_config(std::string(100, '[')));
}

TEST(HfConfig, linear_scaling_under_its_old_and_new_name) {
  const auto scaling = [](std::string_view more) { return parse_hf_config(config_with(more)).value().config; };
  EXPECT_EQ(scaling(R"("rope_scaling":{"type":"linear","factor":4})").rope_scaling.factor, 4.0f);
  const LlamaConfig config = scaling(R"("rope_parameters":{"rope_type":"linear","factor":2,"rope_theta":1e6})");
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_EQ(config.rope_scaling.factor, 2.0f);
  EXPECT_EQ(config.rope_base, 1e6f);
  EXPECT_FALSE(parse_hf_config(config_with(R"("rope_scaling":{"type":"linear","factor":0})")));
}

TEST(HfConfig, each_kind_of_layer_may_have_its_own_rotation) {
  const std::string_view sizes = R"("sliding_window":64,"head_dim":16,)";
  const auto config = [&](std::string_view more) {
    return parse_hf_config(config_with(fmt::format("{}{}", sizes, more), "gemma3_text"));
  };
  const LlamaConfig found =
      config(R"("rope_parameters":{"full_attention":{"rope_theta":1e6,"rope_type":"linear","factor":8},)"
             R"("sliding_attention":{"rope_theta":20000,"rope_type":"default"}})")
          .value()
          .config;
  EXPECT_EQ(found.rope_base, 1e6f);
  EXPECT_EQ(found.rope_scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_EQ(found.rope_scaling.factor, 8.0f);
  EXPECT_EQ(found.local_rope_base, 20000.0f);
  for (const std::string_view other :
       {R"("rope_parameters":{"sliding_attention":{"rope_theta":20000}})",
        R"("rope_parameters":{"full_attention":{},"chunked_attention":{}})",
        R"("rope_parameters":{"full_attention":{},"rope_theta":5})",
        R"("rope_parameters":{"full_attention":{},"sliding_attention":{"rope_type":"yarn"}})"}) {
    EXPECT_FALSE(config(other)) << other;
  }
  EXPECT_FALSE(parse_hf_config(config_with(R"("rope_parameters":{"full_attention":{},"sliding_attention":{}})")));
}

TEST(HfConfig, a_part_that_rotates_is_read_in_either_place_and_refused_where_rows_are_interleaved) {
  const auto part = [](std::string_view more, std::string_view type) {
    return parse_hf_config(config_with(more, type));
  };
  EXPECT_EQ(part(R"("partial_rotary_factor":0.5)", "qwen2").value().config.rope_dim, 8u);
  EXPECT_EQ(part(R"("rope_parameters":{"partial_rotary_factor":0.5})", "qwen2").value().config.rope_dim, 8u);
  EXPECT_EQ(part(R"("partial_rotary_factor":0.5)", "llama").error().code, Code::kUnimplemented);
}

TEST(HfConfig, yarn_keeps_short_waves_and_stretches_long_ones) {
  const LlamaConfig config =
      parse_hf_config(
          config_with(R"("rope_scaling":{"type":"yarn","factor":4,"original_max_position_embeddings":64})", "qwen2"))
          .value()
          .config;
  const std::vector<float> factors = scaling_factors(config.rope_scaling, config.rope_dim, config.rope_base);
  ASSERT_EQ(factors.size(), 8u);
  EXPECT_EQ(factors.front(), 1.0f);
  EXPECT_EQ(factors.back(), 4.0f);
  EXPECT_TRUE(std::ranges::is_sorted(factors));
  EXPECT_NEAR(scaling_magnitude(config.rope_scaling), 1 + 0.1 * std::log(4), 1e-9);
}

TEST(HfConfig, a_window_is_read_where_the_type_means_it) {
  const auto window = [](std::string_view more, std::string_view type) {
    return parse_hf_config(config_with(more, type)).value().config.window;
  };
  EXPECT_EQ(window(R"("sliding_window":128)", "mistral"), 128u);
  EXPECT_EQ(window(R"("sliding_window":4096)", "mistral"), 0u);  // longer than the context
  EXPECT_EQ(window(R"("sliding_window":128,"use_sliding_window":false)", "qwen2"), 0u);
}

TEST(HfConfig, llama3_scaling_keeps_short_waves_and_stretches_long_ones) {
  const HfConfig config =
      parse_hf_config(
          config_with(R"("rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,)"
                      R"("original_max_position_embeddings":128},"rope_theta":10000)"))
          .value();
  ASSERT_EQ(config.rope_freqs.size(), 8u);
  for (std::size_t i = 0; i < 8; ++i) {
    const double wave = 2 * std::numbers::pi * std::pow(10000.0, static_cast<double>(i) / 8);
    const float lowest = wave > 128.0 ? 8.0f : 1.0f;
    const float highest = wave < 128.0 / 4 ? 1.0f : 8.0f;
    EXPECT_GE(config.rope_freqs[i], lowest);
    EXPECT_LE(config.rope_freqs[i], highest);
  }
  EXPECT_EQ(config.rope_freqs.front(), 1.0f);
  EXPECT_EQ(config.rope_freqs.back(), 8.0f);
  EXPECT_GT(config.rope_freqs[2], 1.0f);  // wavelength 63: between, 128/63 = 2.04 waves -> blend 0.346
  EXPECT_NEAR(config.rope_freqs[2], 1 / ((1 - 0.3456) / 8 + 0.3456), 0.01);
}

TEST(HfConfig, any_text_is_a_config_or_an_error) {
  EXPECT_TRUE(rc::check([](const std::string& noise, std::size_t at, unsigned char byte) {
    (void)parse_hf_config(noise);
    std::string text = config_with(R"("rope_scaling":{"rope_type":"llama3"})");
    text[at % text.size()] = static_cast<char>(byte);
    (void)parse_hf_config(text);
  }));
}

}  // namespace
}  // namespace sedge::model
