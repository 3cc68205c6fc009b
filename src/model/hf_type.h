// How Hugging Face's model types are our architectures: a row a type. Where its tensors have other names than a
// Llama's, and how its values are kept otherwise.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model/llama_tensors.h"

namespace sedge::model {

// The fields of config.json that go by other names.
struct HfFields {
  std::string_view layers = "num_hidden_layers", dim = "hidden_size", heads = "num_attention_heads",
                   ffn = "intermediate_size", context = "max_position_embeddings", epsilon = "rms_norm_eps",
                   activation = "hidden_act", experts = "num_experts", rope_base = "rope_theta";
  float epsilon_default = 1e-6f;
};

struct HfName {
  std::string_view gguf, hf;  // as in LlamaTensorRow
};

struct HfType {
  std::string_view model_type;
  std::string_view arch;
  HfFields fields = {};
  std::string_view layers = "model.layers";       // in front of a layer's number
  std::span<const HfName> names = {};             // that differ from those of the tensor table
  bool windows = false;                           // sliding_window is meant, not merely mentioned
  bool tied = false;                              // when config.json does not say
  bool norms_less_one = false;                    // norms are kept as what is added to 1
  bool transposed = false;                        // the layers' matrices are kept as [inputs, outputs]
  std::string_view part_of = {};                  // in front of all names where it is saved as a part of something
  std::span<const std::string_view> unused = {};  // parts of names of tensors that change no state
};

std::span<const HfType> hf_types();
const HfType* find_hf_type(std::string_view model_type);  // nullptr: none such

// The name of a tensor; of one expert's, when the tensor has planes.
std::string hf_name_of(const HfType& type, std::string_view gguf, std::string_view hf, bool in_layer, std::size_t layer,
                       std::size_t expert, std::string_view suffix);

template <class Owner>
std::string hf_name(const HfType& type, const LlamaTensorRow<Owner>& row, std::size_t layer = 0,
                    std::size_t expert = 0) {
  return hf_name_of(type, row.gguf, row.hf, !std::is_same_v<Owner, LlamaWeights>, layer, expert, row.suffix);
}

}  // namespace sedge::model
