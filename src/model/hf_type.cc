// Source: transformers, the modeling files of each type.
#include "model/hf_type.h"

#include <algorithm>

namespace sedge::model {
namespace {

constexpr HfName kMixtralNames[] = {
    {"ffn_gate_inp", "block_sparse_moe.gate"},
    {"ffn_gate_exps", "block_sparse_moe.experts.{}.w1"},
    {"ffn_down_exps", "block_sparse_moe.experts.{}.w2"},
    {"ffn_up_exps", "block_sparse_moe.experts.{}.w3"},
};
constexpr HfName kExaoneNames[] = {
    {"token_embd", "transformer.wte"},
    {"output_norm", "transformer.ln_f"},
    {"attn_norm", "ln_1"},
    {"attn_q", "attn.attention.q_proj"},
    {"attn_k", "attn.attention.k_proj"},
    {"attn_v", "attn.attention.v_proj"},
    {"attn_output", "attn.attention.out_proj"},
    {"ffn_norm", "ln_2"},
    {"ffn_gate", "mlp.c_fc_0"},
    {"ffn_up", "mlp.c_fc_1"},
    {"ffn_down", "mlp.c_proj"},
};
constexpr HfFields kExaoneFields = {.layers = "num_layers",
                                    .epsilon = "layer_norm_epsilon",
                                    .activation = "activation_function",
                                    .epsilon_default = 1e-5f};
constexpr HfName kGemmaNames[] = {{"ffn_norm", "pre_feedforward_layernorm"}};
constexpr HfName kGpt2Names[] = {
    {"token_embd", "wte"}, {"position_embd", "wpe"},    {"output_norm", "ln_f"},
    {"attn_norm", "ln_1"}, {"attn_qkv", "attn.c_attn"}, {"attn_output", "attn.c_proj"},
    {"ffn_norm", "ln_2"},  {"ffn_up", "mlp.c_fc"},      {"ffn_down", "mlp.c_proj"},
};
constexpr HfFields kGpt2Fields = {.layers = "n_layer",
                                  .dim = "n_embd",
                                  .heads = "n_head",
                                  .ffn = "n_inner",
                                  .context = "n_positions",
                                  .epsilon = "layer_norm_epsilon",
                                  .activation = "activation_function",
                                  .epsilon_default = 1e-5f};
constexpr std::string_view kGpt2Unused[] = {".attn.bias", ".attn.masked_bias"};  // masks
constexpr HfName kBertNames[] = {
    {"token_embd", "embeddings.word_embeddings"},
    {"position_embd", "embeddings.position_embeddings"},
    {"token_types", "embeddings.token_type_embeddings"},
    {"token_embd_norm", "embeddings.LayerNorm"},
    {"attn_q", "attention.self.query"},
    {"attn_k", "attention.self.key"},
    {"attn_v", "attention.self.value"},
    {"attn_output", "attention.output.dense"},
    {"attn_output_norm", "attention.output.LayerNorm"},
    {"ffn_up", "intermediate.dense"},
    {"ffn_down", "output.dense"},
    {"layer_output_norm", "output.LayerNorm"},
};
constexpr HfFields kBertFields = {.epsilon = "layer_norm_eps", .epsilon_default = 1e-12f};
constexpr HfName kNomicNames[] = {
    {"token_embd", "embeddings.word_embeddings"},
    {"token_types", "embeddings.token_type_embeddings"},
    {"token_embd_norm", "emb_ln"},
    {"attn_qkv", "attn.Wqkv"},
    {"attn_output", "attn.out_proj"},
    {"attn_output_norm", "norm1"},
    {"ffn_up", "mlp.fc11"},
    {"ffn_gate", "mlp.fc12"},
    {"ffn_down", "mlp.fc2"},
    {"layer_output_norm", "norm2"},
};
constexpr HfFields kNomicFields = {.layers = "n_layer",
                                   .dim = "n_embd",
                                   .heads = "n_head",
                                   .ffn = "n_inner",
                                   .context = "n_positions",
                                   .epsilon = "layer_norm_epsilon",
                                   .activation = "activation_function",
                                   .rope_base = "rotary_emb_base",
                                   .epsilon_default = 1e-12f};
// Heads of the tasks that it was trained on.
constexpr std::string_view kBertUnused[] = {"embeddings.position_ids", "pooler.dense.", "cls.predictions.",
                                            "cls.seq_relationship."};

constexpr HfType kTypes[] = {
    {.model_type = "llama", .arch = "llama"},
    {.model_type = "mistral", .arch = "llama", .windows = true},
    {.model_type = "mixtral",
     .arch = "llama",
     .fields = {.experts = "num_local_experts"},
     .names = kMixtralNames,
     .windows = true},
    {.model_type = "exaone",  // 3 and 3.5
     .arch = "exaone",
     .fields = kExaoneFields,
     .layers = "transformer.h",
     .names = kExaoneNames},
    {.model_type = "qwen2", .arch = "qwen2"},
    {.model_type = "qwen3", .arch = "qwen3"},
    {.model_type = "qwen3_moe", .arch = "qwen3moe"},
    {.model_type = "smollm3", .arch = "smollm3", .tied = true},
    {.model_type = "gemma2",
     .arch = "gemma2",
     .fields = {.activation = "hidden_activation"},
     .names = kGemmaNames,
     .windows = true,
     .tied = true,
     .norms_less_one = true},
    {.model_type = "gemma3_text",
     .arch = "gemma3",
     .fields = {.activation = "hidden_activation"},
     .names = kGemmaNames,
     .windows = true,
     .tied = true,
     .norms_less_one = true},
    {.model_type = "phi3", .arch = "phi3", .windows = true},
    {.model_type = "gpt2",
     .arch = "gpt2",
     .fields = kGpt2Fields,
     .layers = "h",
     .names = kGpt2Names,
     .tied = true,
     .transposed = true,
     .part_of = "transformer.",
     .unused = kGpt2Unused},
    {.model_type = "bert",
     .arch = "bert",
     .fields = kBertFields,
     .layers = "encoder.layer",
     .names = kBertNames,
     .tied = true,
     .part_of = "bert.",
     .unused = kBertUnused},
    {.model_type = "nomic_bert",
     .arch = "nomic-bert",
     .fields = kNomicFields,
     .layers = "encoder.layers",
     .names = kNomicNames,
     .tied = true,
     .part_of = "bert.",
     .unused = kBertUnused},
};

}  // namespace

std::span<const HfType> hf_types() { return kTypes; }

const HfType* find_hf_type(std::string_view model_type) {
  const auto* row = std::ranges::find(kTypes, model_type, &HfType::model_type);
  return row == std::end(kTypes) ? nullptr : row;
}

std::string hf_name_of(const HfType& type, std::string_view gguf, std::string_view hf, bool in_layer, std::size_t layer,
                       std::size_t expert, std::string_view suffix) {
  const auto other = std::ranges::find(type.names, gguf, &HfName::gguf);
  std::string name(other == type.names.end() ? hf : other->hf);
  if (const std::size_t hole = name.find("{}"); hole != std::string::npos)
    name.replace(hole, 2, std::to_string(expert));
  return in_layer ? fmt::format("{}.{}.{}.{}", type.layers, layer, name, suffix) : fmt::format("{}.{}", name, suffix);
}

}  // namespace sedge::model
