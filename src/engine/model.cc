#include "engine/model.h"

#include <utility>

#include "kernels/rope/rope.h"
#include "model/vocab.h"

namespace sedge::engine {

Model::Model(model::GgufFile file, model::LlamaModel llama, PackedWeights packed, model::Tokenizer tokenizer)
    : file_(std::move(file)), llama_(std::move(llama)), packed_(std::move(packed)), tokenizer_(std::move(tokenizer)) {
  const auto base = static_cast<double>(llama_.config.rope_base);
  rope_frequencies_ = kernels::rope_frequencies(llama_.config.rope_dim, base, llama_.rope_factors);
  rope_magnitude_ = model::scaling_magnitude(llama_.config.rope_scaling);
  if (llama_.config.local_rope_base == 0) return;
  const auto local = static_cast<double>(llama_.config.local_rope_base);
  local_rope_frequencies_ = kernels::rope_frequencies(llama_.config.rope_dim, local, {});
}

Result<std::shared_ptr<const Model>> Model::from(model::GgufFile file) {
  SEDGE_TRY(model::LlamaModel llama, model::load_llama(file));
  SEDGE_TRY(model::Vocab vocab, model::vocab_from_gguf(file));
  SEDGE_TRY(model::Tokenizer tokenizer, model::Tokenizer::make(std::move(vocab)));
  SEDGE_TRY(PackedWeights packed, PackedWeights::make(llama));
  return std::shared_ptr<const Model>(
      new Model(std::move(file), std::move(llama), std::move(packed), std::move(tokenizer)));
}

Result<std::shared_ptr<const Model>> Model::load(const std::filesystem::path& path) {
  auto file = model::GgufFile::open(path);
  if (!file) return in_context(path.string(), std::move(file).error());
  auto loaded = from(*std::move(file));
  if (!loaded) return in_context(path.string(), std::move(loaded).error());
  return loaded;
}

std::shared_ptr<const TokenTrie> Model::token_trie() const {
  std::call_once(lazy_trie_->once, [this] { lazy_trie_->trie = std::make_shared<const TokenTrie>(tokenizer_); });
  return lazy_trie_->trie;
}

}  // namespace sedge::engine
