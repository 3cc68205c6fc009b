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
                                  .activation = "activation_function"};

constexpr HfType kTypes[] = {
    {.model_type = "llama", .arch = "llama"},
    {.model_type = "mistral", .arch = "llama", .windows = true},
    {.model_type = "mixtral",
     .arch = "llama",
     .fields = {.experts = "num_local_experts"},
     .names = kMixtralNames,
     .windows = true},
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
     .transposed = true},
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
