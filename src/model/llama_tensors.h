// The tensors of the family as a table: what GGUF calls each, what Hugging Face calls it, its shape as a function of
// the sizes, which models have it, and where its view goes. Loader, importers and writers read the same rows, so they
// cannot disagree.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "model/llama.h"

namespace sedge::model {

using SizeOf = std::size_t (*)(const LlamaConfig&);
using HasIt = bool (*)(const LlamaConfig&);

template <class Owner>
struct LlamaTensorRow {
  std::string_view gguf;  // without "blk.N." and the suffix
  std::string_view hf;    // without the layer's prefix and the suffix; {} is an expert's number. Others: hf_names.h.
  TensorView Owner::* view;
  SizeOf cols;            // row length
  SizeOf rows = nullptr;  // nullptr: a vector
  HasIt when = nullptr;   // nullptr: every model has it
  std::string_view suffix = "weight";
  SizeOf heads = nullptr;   // or the heads whose rows RoPE rotates: the two layouts order them differently
  SizeOf planes = nullptr;  // matrices of one shape behind each other: experts
};

// What a file holds as one tensor and the network uses as several: rows of one matrix, or experts.
struct FusedLayer {
  TensorView qkv, qkv_bias;                  // rows of q, k, v
  TensorView gate_up;                        // rows of gate, up
  TensorView gate_exps, up_exps, down_exps;  // one matrix an expert
};

inline std::size_t dim_of(const LlamaConfig& c) { return c.dim; }
inline std::size_t vocab_of(const LlamaConfig& c) { return c.vocab; }
inline std::size_t context_of(const LlamaConfig& c) { return c.context; }
inline std::size_t ffn_of(const LlamaConfig& c) { return c.ffn_dim; }
inline std::size_t gate_up_of(const LlamaConfig& c) { return 2 * c.ffn_dim; }
inline std::size_t heads_of(const LlamaConfig& c) { return c.heads; }
inline std::size_t kv_heads_of(const LlamaConfig& c) { return c.kv_heads; }
inline std::size_t head_dim_of(const LlamaConfig& c) { return c.head_dim; }
inline std::size_t q_dim_of(const LlamaConfig& c) { return c.q_dim(); }
inline std::size_t kv_dim_of(const LlamaConfig& c) { return c.kv_dim(); }
inline std::size_t qkv_of(const LlamaConfig& c) { return c.q_dim() + 2 * c.kv_dim(); }
inline std::size_t experts_of(const LlamaConfig& c) { return c.experts; }
inline std::size_t expert_ffn_of(const LlamaConfig& c) { return c.expert_ffn_dim; }

inline bool has_layer_norm(const LlamaConfig& c) { return c.features.norm == NormKind::kLayer; }
inline bool has_positions(const LlamaConfig& c) { return c.features.rope == RopeLayout::kNone; }
inline std::size_t token_types_of(const LlamaConfig& c) { return c.token_types; }
inline bool has_token_types(const LlamaConfig& c) { return c.token_types != 0; }
inline bool has_own_head(const LlamaConfig& c) { return !c.tied; }
inline bool has_residual_norms(const LlamaConfig& c) { return c.features.residual_norms; }
inline bool has_pre_norms(const LlamaConfig& c) { return !c.features.residual_norms; }
inline bool has_pre_norm_biases(const LlamaConfig& c) { return has_pre_norms(c) && has_layer_norm(c); }
inline bool has_residual_norm_biases(const LlamaConfig& c) { return has_residual_norms(c) && has_layer_norm(c); }
inline bool has_head_norms(const LlamaConfig& c) { return c.features.head_norms; }
inline bool has_post_norms(const LlamaConfig& c) { return c.features.post_norms; }
inline bool has_biases(const LlamaConfig& c) { return c.features.biases == Biases::kAll; }
inline bool has_qkv(const LlamaConfig& c) { return !c.features.fused_qkv; }
inline bool has_qkv_biases(const LlamaConfig& c) { return has_qkv(c) && c.features.biases != Biases::kNone; }
inline bool has_fused_qkv(const LlamaConfig& c) { return c.features.fused_qkv; }
inline bool has_fused_qkv_bias(const LlamaConfig& c) { return !has_qkv(c) && c.features.biases != Biases::kNone; }
inline bool has_experts(const LlamaConfig& c) { return c.experts != 0; }
inline bool has_down(const LlamaConfig& c) { return c.experts == 0; }
inline bool has_gate_up(const LlamaConfig& c) { return c.experts == 0 && c.features.fused_gate_up; }
inline bool has_up(const LlamaConfig& c) { return c.experts == 0 && !c.features.fused_gate_up; }
inline bool has_gate(const LlamaConfig& c) { return has_up(c) && c.features.feed_forward != FeedForward::kGelu; }

inline constexpr std::string_view kWeight = "weight", kBias = "bias";

inline constexpr LlamaTensorRow<LlamaWeights> kEmbeddingRow = {"token_embd", "model.embed_tokens",
                                                               &LlamaWeights::token_embd, dim_of, vocab_of};
inline constexpr LlamaTensorRow<LlamaWeights> kOutputNormRow = {"output_norm", "model.norm", &LlamaWeights::output_norm,
                                                                dim_of,        nullptr,      has_pre_norms};
inline constexpr LlamaTensorRow<LlamaWeights> kOutputRow = {"output", "lm_head", &LlamaWeights::output,
                                                            dim_of,   vocab_of,  has_own_head};

inline constexpr LlamaTensorRow<LlamaWeights> kModelRows[] = {
    kEmbeddingRow,
    {"position_embd", "", &LlamaWeights::position_embd, dim_of, context_of, has_positions},
    {"token_types", "", &LlamaWeights::token_types, dim_of, token_types_of, has_token_types},
    {"token_embd_norm", "", &LlamaWeights::embd_norm, dim_of, nullptr, has_residual_norms},
    {"token_embd_norm", "", &LlamaWeights::embd_norm_bias, dim_of, nullptr, has_residual_norm_biases, kBias},
    kOutputNormRow,
    {"output_norm", "", &LlamaWeights::output_norm_bias, dim_of, nullptr, has_pre_norm_biases, kBias},
    kOutputRow,
};

using Layer = LlamaLayer;
inline constexpr LlamaTensorRow<Layer> kLayerRows[] = {
    {"attn_norm", "input_layernorm", &Layer::attn_norm, dim_of, nullptr, has_pre_norms},
    {"attn_norm", "", &Layer::attn_norm_bias, dim_of, nullptr, has_pre_norm_biases, kBias},
    {"attn_q", "self_attn.q_proj", &Layer::q, dim_of, q_dim_of, has_qkv, kWeight, heads_of},
    {"attn_q", "self_attn.q_proj", &Layer::q_bias, q_dim_of, nullptr, has_qkv_biases, kBias},
    {"attn_q_norm", "self_attn.q_norm", &Layer::q_norm, head_dim_of, nullptr, has_head_norms},
    {"attn_k", "self_attn.k_proj", &Layer::k, dim_of, kv_dim_of, has_qkv, kWeight, kv_heads_of},
    {"attn_k", "self_attn.k_proj", &Layer::k_bias, kv_dim_of, nullptr, has_qkv_biases, kBias},
    {"attn_k_norm", "self_attn.k_norm", &Layer::k_norm, head_dim_of, nullptr, has_head_norms},
    {"attn_v", "self_attn.v_proj", &Layer::v, dim_of, kv_dim_of, has_qkv},
    {"attn_v", "self_attn.v_proj", &Layer::v_bias, kv_dim_of, nullptr, has_qkv_biases, kBias},
    {"attn_output", "self_attn.o_proj", &Layer::o, q_dim_of, dim_of},
    {"attn_output", "self_attn.o_proj", &Layer::o_bias, dim_of, nullptr, has_biases, kBias},
    {"post_attention_norm", "post_attention_layernorm", &Layer::attn_post_norm, dim_of, nullptr, has_post_norms},
    {"attn_output_norm", "", &Layer::attn_post_norm, dim_of, nullptr, has_residual_norms},
    {"attn_output_norm", "", &Layer::attn_post_norm_bias, dim_of, nullptr, has_residual_norm_biases, kBias},
    {"ffn_norm", "post_attention_layernorm", &Layer::ffn_norm, dim_of, nullptr, has_pre_norms},
    {"ffn_norm", "", &Layer::ffn_norm_bias, dim_of, nullptr, has_pre_norm_biases, kBias},
    {"ffn_gate", "mlp.gate_proj", &Layer::gate, dim_of, ffn_of, has_gate},
    {"ffn_up", "mlp.up_proj", &Layer::up, dim_of, ffn_of, has_up},
    {"ffn_up", "mlp.up_proj", &Layer::up_bias, ffn_of, nullptr, has_biases, kBias},
    {"ffn_down", "mlp.down_proj", &Layer::down, ffn_of, dim_of, has_down},
    {"ffn_down", "mlp.down_proj", &Layer::down_bias, dim_of, nullptr, has_biases, kBias},
    {"post_ffw_norm", "post_feedforward_layernorm", &Layer::ffn_post_norm, dim_of, nullptr, has_post_norms},
    {"layer_output_norm", "", &Layer::ffn_post_norm, dim_of, nullptr, has_residual_norms},
    {"layer_output_norm", "", &Layer::ffn_post_norm_bias, dim_of, nullptr, has_residual_norm_biases, kBias},
    {"ffn_gate_inp", "mlp.gate", &Layer::router, dim_of, experts_of, has_experts},
};

using Fused = FusedLayer;
inline constexpr LlamaTensorRow<Fused> kFusedRows[] = {
    {"attn_qkv", "self_attn.qkv_proj", &Fused::qkv, dim_of, qkv_of, has_fused_qkv},
    {"attn_qkv", "self_attn.qkv_proj", &Fused::qkv_bias, qkv_of, nullptr, has_fused_qkv_bias, kBias},
    {"ffn_up", "mlp.gate_up_proj", &Fused::gate_up, dim_of, gate_up_of, has_gate_up},
    {"ffn_gate_exps", "mlp.experts.{}.gate_proj", &Fused::gate_exps, dim_of, expert_ffn_of, has_experts, kWeight,
     nullptr, experts_of},
    {"ffn_up_exps", "mlp.experts.{}.up_proj", &Fused::up_exps, dim_of, expert_ffn_of, has_experts, kWeight, nullptr,
     experts_of},
    {"ffn_down_exps", "mlp.experts.{}.down_proj", &Fused::down_exps, expert_ffn_of, dim_of, has_experts, kWeight,
     nullptr, experts_of},
};

inline constexpr std::string_view kRopeFreqsName = "rope_freqs.weight";
inline constexpr std::string_view kRopeShortName = "rope_factors_short.weight";
inline constexpr std::string_view kRopeLongName = "rope_factors_long.weight";

// GGUF order: [row length, rows, planes].
template <class Owner>
std::vector<std::uint64_t> shape_of(const LlamaTensorRow<Owner>& row, const LlamaConfig& config) {
  std::vector<std::uint64_t> shape = {row.cols(config)};
  if (row.rows != nullptr) shape.push_back(row.rows(config));
  if (row.planes != nullptr) shape.push_back(row.planes(config));
  return shape;
}

// A matrix that is written as F32 whatever is asked for: a router, whose choice hangs on the last bits, and what stock
// llama.cpp wants so.
template <class Owner>
bool stays_exact(const LlamaTensorRow<Owner>& row) {
  return row.gguf == "ffn_gate_inp" || row.gguf == "token_types";
}

// `layer` is of no matter to a tensor of the whole model.
template <class Owner>
std::string gguf_name(const LlamaTensorRow<Owner>& row, std::size_t layer = 0) {
  if constexpr (std::is_same_v<Owner, LlamaWeights>) return fmt::format("{}.{}", row.gguf, row.suffix);
  return fmt::format("blk.{}.{}.{}", layer, row.gguf, row.suffix);
}

// Calls visit(row, layer) for every tensor of a model of these sizes, in the order in which writers have them.
template <class Visit>
Status for_each_tensor(const LlamaConfig& config, const Visit& visit) {
  const auto all = [&](const auto& rows, std::size_t layer) -> Status {
    for (const auto& row : rows) {
      if (row.when == nullptr || row.when(config)) SEDGE_CHECK(visit(row, layer));
    }
    return {};
  };
  SEDGE_CHECK(all(kModelRows, 0));
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    SEDGE_CHECK(all(kLayerRows, layer));
    SEDGE_CHECK(all(kFusedRows, layer));
  }
  return {};
}

}  // namespace sedge::model
