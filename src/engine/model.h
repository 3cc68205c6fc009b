// A model ready to run: its description, its mapped weights, its tokenizer. Immutable and shared by every sequence
// and every engine of the process.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/grammar/token_trie.h"
#include "engine/packed_weights.h"
#include "kernels/kernels.h"
#include "model/gguf.h"
#include "model/llama.h"
#include "model/tokenizer.h"

namespace sedge::engine {

// The model's and not a text's: texts share steps, and other nodes go on with them.
struct ModelOptions {
  // How keys and values are kept: F32, or F16, Q8_0 or Q4_0, which take half, a good quarter and a seventh of the
  // memory and lose a little (docs/benchmarks.md).
  kernels::DType cache = kernels::DType::kF32;
  bool long_context = false;  // model::load_llama
};

// One of these names. Errors: InvalidArgument.
inline constexpr std::string_view kCacheFormats = "f32, f16, q8_0 or q4_0";
Result<kernels::DType> cache_format_of(std::string_view name);

class Model {
 public:
  // Errors: those of model::GgufFile::open, model::load_llama and model::Tokenizer::make, with the path in front;
  //         InvalidArgument (a cache in blocks that the model's heads are no multiple of).
  static Result<std::shared_ptr<const Model>> load(const std::filesystem::path& path, ModelOptions options = {});
  // From a file that is open already (or bytes that outlive the model), packed now or before.
  // Errors: those of load() without the path; of kept weights those of PackedWeights::kept.
  static Result<std::shared_ptr<const Model>> from(model::GgufFile file, ModelOptions options = {},
                                                   KeptWeights weights = {});

  const model::LlamaConfig& config() const { return llama_.config; }
  // Quantized matrices of the layers and the head are packed (packed_weights.h); all else is as in the file.
  const model::LlamaWeights& weights() const { return llama_.weights; }
  const model::Tokenizer& tokenizer() const { return tokenizer_; }
  // The vocabulary's texts, for grammars; made when it is first asked for.
  std::shared_ptr<const TokenTrie> token_trie() const;
  const model::GgufFile& file() const { return file_; }
  std::size_t packed_bytes() const { return packed_.bytes(); }
  const PackedWeights& packed() const { return packed_; }
  std::uint64_t parameters() const { return llama_.parameters; }

  // Radians a position for each pair of dimensions: [rope_dim / 2].
  std::span<const double> rope_frequencies() const { return rope_frequencies_; }
  // The same of layers with a window; empty where those turn as all others.
  std::span<const double> local_rope_frequencies() const { return local_rope_frequencies_; }
  // Of rotated queries and keys.
  double rope_magnitude() const { return rope_magnitude_; }

  // Models of equal bytes on nodes of equal numeric class give bit-identical results.
  std::string_view numeric_class() const { return numeric_class_; }
  kernels::DType cache_format() const { return options_.cache; }

 private:
  Model(model::GgufFile file, model::LlamaModel llama, PackedWeights packed, model::Tokenizer tokenizer,
        ModelOptions options);

  model::GgufFile file_;  // what the weights' views point into
  model::LlamaModel llama_;
  PackedWeights packed_;
  model::Tokenizer tokenizer_;
  std::vector<double> rope_frequencies_, local_rope_frequencies_;
  double rope_magnitude_ = 1;
  ModelOptions options_;
  std::string numeric_class_;
  struct LazyTrie {
    std::once_flag once;
    std::shared_ptr<const TokenTrie> trie;
  };
  std::unique_ptr<LazyTrie> lazy_trie_ = std::make_unique<LazyTrie>();
};

}  // namespace sedge::engine
