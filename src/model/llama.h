// What a Llama-shaped model is: its sizes, and views of its weights with every shape checked against them.
// The engine runs from this description and never looks at names or metadata.
//
// Architectures are rows of a table (llama.cc): a row says the metadata prefix and how RoPE pairs dimensions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/gguf.h"

namespace sedge::model {

// Which two dimensions of a head rotate together: 2i and 2i+1 (Meta's weights, arch "llama"), or i and i + rope_dim/2
// (Hugging Face's weights, "neox" elsewhere; arch "exaone").
enum class RopeLayout { kInterleaved, kHalf };

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
  std::size_t context = 0;   // positions it was trained for
  std::size_t rope_dim = 0;  // even, at most head_dim: dimensions past it do not rotate
  float rope_base = 10000.0f;
  float rms_eps = 1e-5f;
  RopeLayout rope_layout = RopeLayout::kInterleaved;
  bool tied = false;  // the head is the embedding

  std::size_t q_dim() const { return heads * head_dim; }
  std::size_t kv_dim() const { return kv_heads * head_dim; }
};

// Shapes in GGUF order: [row length, rows]. Norms are F32.
struct LlamaLayer {
  TensorView attn_norm;  // [dim]
  TensorView q;          // [dim, heads · head_dim]
  TensorView k;          // [dim, kv_heads · head_dim]
  TensorView v;          // [dim, kv_heads · head_dim]
  TensorView o;          // [heads · head_dim, dim]
  TensorView ffn_norm;   // [dim]
  TensorView gate;       // [dim, ffn_dim]
  TensorView up;         // [dim, ffn_dim]
  TensorView down;       // [ffn_dim, dim]
};

struct LlamaWeights {
  TensorView token_embd;   // [dim, vocab]
  TensorView output_norm;  // [dim]
  TensorView output;       // [dim, vocab]; the embedding's view when tied
  std::vector<LlamaLayer> layers;
};

// The views point into the GgufFile: keep it.
struct LlamaModel {
  LlamaConfig config;
  LlamaWeights weights;
  // Empty, or rope_dim / 2 factors: pair i turns by position · base^(-2i/rope_dim) / rope_factors[i].
  // (rope_freqs.weight of Llama 3.1 and later, or linear position scaling.)
  std::vector<float> rope_factors;
  std::uint64_t parameters = 0;  // values in all tensors, a tied head counted once
};

// Holds the sizes to the limits and the relations above: every reader that makes a LlamaConfig ends with it.
// Errors: InvalidArgument or DataLoss naming the size.
Status check_llama_config(const LlamaConfig& config);

// Reads the sizes alone: works on a file with a vocabulary and no tensors.
// Errors: Unimplemented (architecture or a feature of it), NotFound / InvalidArgument (a key), DataLoss
// (contradiction).
Result<LlamaConfig> read_llama_config(const GgufFile& file);

// The sizes as metadata, with every key that stock llama.cpp demands; what read_llama_config reads back.
void write_llama_config(GgufWriter& writer, const LlamaConfig& config);

// Errors: as above, and DataLoss naming the tensor with the shape it has and the one it should have;
//         FailedPrecondition for a vocabulary alone; Unimplemented for a tensor that a plain Llama has no use
//         for (biases, experts): it would change the answer.
Result<LlamaModel> load_llama(const GgufFile& file);

}  // namespace sedge::model
