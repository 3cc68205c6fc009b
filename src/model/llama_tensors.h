// The tensors of a Llama as a table: what GGUF calls each, what Hugging Face calls it, its shape as a function of
// the sizes, and where its view goes. Loader and importers read the same rows, so they cannot disagree.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model/llama.h"

namespace sedge::model {

using SizeOf = std::size_t (*)(const LlamaConfig&);

template <class Owner>
struct LlamaTensorRow {
  std::string_view gguf;  // without "blk.N." and ".weight"
  std::string_view hf;    // without "model.layers.N." and ".weight"
  TensorView Owner::* view;
  SizeOf cols;   // row length
  SizeOf rows;   // nullptr: a vector
  SizeOf heads;  // nullptr, or the heads whose rows RoPE rotates: the two layouts order them differently
};

inline std::size_t dim_of(const LlamaConfig& c) { return c.dim; }
inline std::size_t vocab_of(const LlamaConfig& c) { return c.vocab; }
inline std::size_t ffn_of(const LlamaConfig& c) { return c.ffn_dim; }
inline std::size_t heads_of(const LlamaConfig& c) { return c.heads; }
inline std::size_t kv_heads_of(const LlamaConfig& c) { return c.kv_heads; }
inline std::size_t q_dim_of(const LlamaConfig& c) { return c.q_dim(); }
inline std::size_t kv_dim_of(const LlamaConfig& c) { return c.kv_dim(); }

inline constexpr LlamaTensorRow<LlamaWeights> kEmbeddingRow = {
    "token_embd", "model.embed_tokens", &LlamaWeights::token_embd, dim_of, vocab_of, nullptr};
inline constexpr LlamaTensorRow<LlamaWeights> kOutputNormRow = {"output_norm", "model.norm", &LlamaWeights::output_norm,
                                                                dim_of,        nullptr,      nullptr};
inline constexpr LlamaTensorRow<LlamaWeights> kOutputRow = {"output", "lm_head", &LlamaWeights::output,
                                                            dim_of,   vocab_of,  nullptr};

inline constexpr LlamaTensorRow<LlamaLayer> kLayerRows[] = {
    {"attn_norm", "input_layernorm", &LlamaLayer::attn_norm, dim_of, nullptr, nullptr},
    {"attn_q", "self_attn.q_proj", &LlamaLayer::q, dim_of, q_dim_of, heads_of},
    {"attn_k", "self_attn.k_proj", &LlamaLayer::k, dim_of, kv_dim_of, kv_heads_of},
    {"attn_v", "self_attn.v_proj", &LlamaLayer::v, dim_of, kv_dim_of, nullptr},
    {"attn_output", "self_attn.o_proj", &LlamaLayer::o, q_dim_of, dim_of, nullptr},
    {"ffn_norm", "post_attention_layernorm", &LlamaLayer::ffn_norm, dim_of, nullptr, nullptr},
    {"ffn_gate", "mlp.gate_proj", &LlamaLayer::gate, dim_of, ffn_of, nullptr},
    {"ffn_up", "mlp.up_proj", &LlamaLayer::up, dim_of, ffn_of, nullptr},
    {"ffn_down", "mlp.down_proj", &LlamaLayer::down, ffn_of, dim_of, nullptr},
};

inline constexpr std::string_view kRopeFreqsName = "rope_freqs.weight";

template <class Owner>
std::vector<std::uint64_t> shape_of(const LlamaTensorRow<Owner>& row, const LlamaConfig& config) {
  std::vector<std::uint64_t> shape = {row.cols(config)};
  if (row.rows != nullptr) shape.push_back(row.rows(config));
  return shape;
}

inline std::string gguf_name(const LlamaTensorRow<LlamaWeights>& row) { return fmt::format("{}.weight", row.gguf); }
inline std::string gguf_name(const LlamaTensorRow<LlamaLayer>& row, std::size_t layer) {
  return fmt::format("blk.{}.{}.weight", layer, row.gguf);
}

}  // namespace sedge::model
