// Networks as rows of a table, what may differ between them as its columns.
//
// The problem: the models people have are one network with a dozen small differences: where norms stand, what gates,
// which layers look how far. The idea: each difference is a feature with a name; a row says which ones an architecture
// has and what its files leave unsaid. Reader, importer and engine ask for features and never for a name, so that a
// new architecture is a row and its tests. Rejected: a class or a function for each architecture, as most runtimes
// have it (thirty copies of one loop, in which the same mistake is made thirty times).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sedge::model {

// Which two dimensions of a head rotate together: 2i and 2i+1 (Meta's weights, arch "llama"), or i and i + rope_dim/2
// (Hugging Face's weights, "neox" elsewhere). kNone: nothing rotates, positions are learned and added.
enum class RopeLayout { kInterleaved, kHalf, kNone };

enum class NormKind { kRms, kLayer };  // kLayer: mean taken off first, bias added

// down(f(gate) · up) with f = SiLU or GELU, or down(GELU(up)).
enum class FeedForward { kSwiGlu, kGeGlu, kGelu };

enum class Biases { kNone, kQkv, kAll };

// What stands for a whole text among the last states of its tokens: their mean, or the first one's (BERT's [CLS]), or
// the last one's. The numbers are those of GGUF's pooling_type; kNone: the file does not say.
enum class Pooling : std::uint8_t { kNone, kMean, kFirst, kLast };

struct Features {
  RopeLayout rope = RopeLayout::kInterleaved;
  NormKind norm = NormKind::kRms;
  FeedForward feed_forward = FeedForward::kSwiGlu;
  Biases biases = Biases::kNone;
  bool head_norms = false;        // each query and key head has its RMSNorm, before it rotates
  bool post_norms = false;        // what a block adds to the residual is normed as well
  bool residual_norms = false;    // no norm before a block: the residual itself is normed, behind each and at first
  bool causal = true;             // else each position sees the whole text, and there is no head: an encoder of texts
  bool token_types = false;       // the first row of a table of types is added to each token
  bool fused_qkv = false;         // one matrix in the file: rows of q, k, v
  bool fused_gate_up = false;     // one matrix in the file: rows of gate, up
  bool scaled_embedding = false;  // by sqrt(width)
  // Of the layers counted from 1, each `window_period`th sees everything and the others a window, in a model that has
  // one. 1: all layers have the window; 0: the architecture knows no windows.
  std::size_t window_period = 0;
  std::size_t no_rope_period = 0;  // of the layers counted from 1, each such one does not rotate; 0: all do
  bool mixture = false;            // feed-forward may be experts
};

struct Architecture {
  std::string_view name;  // general.architecture, and the prefix of its keys
  Features features;
  // What files of it leave out.
  std::size_t window = 0;
  float attention_cap = 0, logit_cap = 0;  // 0: none
  float local_rope_base = 0;               // of layers with a window; 0: as the others
  std::size_t wide_layers = 0;             // a model of so many layers divides scores by sqrt(width / heads)
};

std::span<const Architecture> architectures();
const Architecture* find_architecture(std::string_view name);  // nullptr: none such

// The features of a model in words: "half rotation, SwiGLU, biases on q, k and v".
std::string describe(const Features& features);

}  // namespace sedge::model
