// What a Llama-shaped model is: its sizes and features, and views of its weights with every shape checked against them.
// The engine runs from this description and never looks at names or metadata.
//
// "Llama" stands for the whole family: architectures are rows of a table (architecture.h), and a model is its sizes and
// its row's features.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/architecture.h"
#include "model/gguf.h"
#include "model/rope_scaling.h"

namespace sedge::model {

struct LlamaConfig {
  std::string arch;
  std::string name;
  std::size_t layers = 0;
  std::size_t dim = 0;       // width of the hidden state
  std::size_t heads = 0;     // query heads
  std::size_t kv_heads = 0;  // divides heads
  std::size_t head_dim = 0;  // even
  std::size_t ffn_dim = 0;
  std::size_t vocab = 0;
  std::size_t context = 0;       // positions it was trained for
  std::size_t long_context = 0;  // more of them, with other factors of RoPE (longrope); 0: there are none
  std::size_t rope_dim = 0;      // even, at most head_dim: dimensions past it do not rotate
  float rope_base = 10000.0f;
  float norm_eps = 1e-5f;
  bool tied = false;  // the head is the embedding
  Features features;
  RopeScaling rope_scaling;
  std::size_t window = 0;                  // positions that a layer with a window sees, its own included; 0: no window
  float local_rope_base = 0;               // of layers with a window; 0: rope_base and its scaling
  float attention_cap = 0, logit_cap = 0;  // soft-capping of scores and logits; 0: none
  std::size_t scale_dim = 0;               // scores are divided by its square root; 0: head_dim
  std::size_t experts = 0, experts_used = 0, expert_ffn_dim = 0;  // 0: no mixture
  std::size_t token_types = 0;                                    // rows of their table; 0: none
  Pooling pooling = Pooling::kNone;                               // what the model was trained with

  std::size_t q_dim() const { return heads * head_dim; }
  std::size_t kv_dim() const { return kv_heads * head_dim; }
  // Whether a layer sees `window` positions only.
  bool is_local(std::size_t layer) const {
    return window != 0 && (features.window_period == 1 || (layer + 1) % features.window_period != 0);
  }
  bool rotates(std::size_t layer) const {
    if (features.rope == RopeLayout::kNone) return false;
    return features.no_rope_period == 0 || (layer + 1) % features.no_rope_period != 0;
  }
};

// The defaults of an architecture, sizes to be filled in. Requires: a name of the table.
LlamaConfig config_of_architecture(std::string_view name);

// What scores are divided by follows from the other sizes: no file says it.
void set_scale_dim(LlamaConfig& config);

// Shapes in GGUF order: [row length, rows]. Norms and biases are F32. A view that the model's features do not have is
// empty.
struct LlamaExpert {
  TensorView gate;  // [dim, expert_ffn_dim]
  TensorView up;    // [dim, expert_ffn_dim]
  TensorView down;  // [expert_ffn_dim, dim]
};

struct LlamaLayer {
  TensorView attn_norm, attn_norm_bias;      // [dim]
  TensorView q;                              // [dim, heads · head_dim]
  TensorView k;                              // [dim, kv_heads · head_dim]
  TensorView v;                              // [dim, kv_heads · head_dim]
  TensorView q_bias, k_bias, v_bias;         // [rows of q, k, v]
  TensorView q_norm, k_norm;                 // [head_dim]
  TensorView o, o_bias;                      // [heads · head_dim, dim], [dim]
  TensorView attn_post_norm, ffn_post_norm;  // [dim]; of what a block adds, or of the residual behind it
  TensorView attn_post_norm_bias, ffn_post_norm_bias;
  TensorView ffn_norm, ffn_norm_bias;  // [dim]
  TensorView gate;                     // [dim, ffn_dim]
  TensorView up, up_bias;              // [dim, ffn_dim], [ffn_dim]
  TensorView down, down_bias;          // [ffn_dim, dim], [dim]
  TensorView router;                   // [dim, experts]
  std::vector<LlamaExpert> experts;
};

struct LlamaWeights {
  TensorView token_embd;                     // [dim, vocab]
  TensorView position_embd;                  // [dim, context]
  TensorView token_types;                    // [dim, token_types]
  TensorView embd_norm, embd_norm_bias;      // [dim]
  TensorView output_norm, output_norm_bias;  // [dim]
  TensorView output;                         // [dim, vocab]; the embedding's view when tied; empty: no head
  std::vector<LlamaLayer> layers;
};

// The views point into the GgufFile: keep it.
struct LlamaModel {
  LlamaConfig config;
  LlamaWeights weights;
  // Empty, or rope_dim / 2 factors: pair i turns by position · base^(-2i/rope_dim) / rope_factors[i].
  // (rope_freqs.weight of Llama 3.1 and later, rope_factors_short.weight or _long, or what rope_scaling makes.)
  std::vector<float> rope_factors;
  std::uint64_t parameters = 0;  // values in all tensors, a tied head counted once
};

// Holds the sizes to the limits and the relations above: every reader that makes a LlamaConfig ends with it.
// Errors: InvalidArgument or DataLoss naming the size.
Status check_llama_config(const LlamaConfig& config);

// Reads the sizes alone: works on a file with a vocabulary and no tensors.
// Errors: Unimplemented (architecture or a feature of it), NotFound / InvalidArgument (a key, or an adapter), DataLoss
// (contradiction).
Result<LlamaConfig> read_llama_config(const GgufFile& file);

// The sizes as metadata, with every key that stock llama.cpp demands; what read_llama_config reads back.
void write_llama_config(GgufWriter& writer, const LlamaConfig& config);

// Errors: as above, and DataLoss naming the tensor with the shape it has and the one it should have;
//         FailedPrecondition for a vocabulary alone; Unimplemented for a tensor that the architecture has no use
//         for: it would change the answer.
// `long_context`: a model that has factors for longer texts uses them, for all texts, and has config.context of them.
Result<LlamaModel> load_llama(const GgufFile& file, bool long_context = false);

}  // namespace sedge::model
