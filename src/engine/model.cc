#include "engine/model.h"

#include <utility>

#include "kernels/attention/cache.h"
#include "kernels/rope/rope.h"
#include "model/dtype.h"
#include "model/vocab.h"

namespace sedge::engine {

namespace {

// What a cache rounds away, and where positions turn to, are part of what a text depends on.
std::string class_with(kernels::DType cache, bool long_positions) {
  std::string name(kernels::kNumericClass);
  if (cache != kernels::DType::kF32) {
    name += '/';
    for (const char c : model::dtype_name(cache)) name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return long_positions ? name + "/long" : name;
}

}  // namespace

Result<kernels::DType> cache_format_of(std::string_view name) {
  const auto format = model::dtype_from_name(name);
  if (format && kernels::is_cache_format(*format)) return *format;
  return fail(Code::kInvalidArgument, "keys and values are kept as {}, not as '{}'", kCacheFormats, name);
}

Model::Model(model::GgufFile file, model::LlamaModel llama, PackedWeights packed, model::Tokenizer tokenizer,
             ModelOptions options)
    : file_(std::move(file)),
      llama_(std::move(llama)),
      packed_(std::move(packed)),
      tokenizer_(std::move(tokenizer)),
      options_(options),
      numeric_class_(class_with(options.cache, options.long_context && llama_.config.long_context > 0)) {
  const auto base = static_cast<double>(llama_.config.rope_base);
  rope_frequencies_ = kernels::rope_frequencies(llama_.config.rope_dim, base, llama_.rope_factors);
  rope_magnitude_ = model::scaling_magnitude(llama_.config.rope_scaling);
  if (llama_.config.local_rope_base == 0) return;
  const auto local = static_cast<double>(llama_.config.local_rope_base);
  local_rope_frequencies_ = kernels::rope_frequencies(llama_.config.rope_dim, local, {});
}

Result<std::shared_ptr<const Model>> Model::from(model::GgufFile file, ModelOptions options, KeptWeights weights) {
  SEDGE_TRY(model::LlamaModel llama, model::load_llama(file, options.long_context));
  if (!kernels::is_cache_format(options.cache)) {
    return fail(Code::kInvalidArgument, "keys and values are kept as {}, not as {}", kCacheFormats,
                kernels::format_of(options.cache).name);
  }
  const std::size_t block = kernels::format_of(options.cache).block_values;
  if (llama.config.head_dim % block != 0) {
    return fail(Code::kInvalidArgument, "keys of {} numbers are no whole blocks of {}: keep them as f16",
                llama.config.head_dim, block);
  }
  SEDGE_TRY(model::Vocab vocab, model::vocab_from_gguf(file));
  SEDGE_TRY(model::Tokenizer tokenizer, model::Tokenizer::make(std::move(vocab)));
  SEDGE_TRY(PackedWeights packed, weights.file == nullptr ? PackedWeights::make(file, llama)
                                                          : PackedWeights::kept(file, std::move(weights), llama));
  return std::shared_ptr<const Model>(
      new Model(std::move(file), std::move(llama), std::move(packed), std::move(tokenizer), options));
}

Result<std::shared_ptr<const Model>> Model::load(const std::filesystem::path& path, ModelOptions options) {
  auto file = model::GgufFile::open(path);
  if (!file) return in_context(path.string(), std::move(file).error());
  auto loaded = from(*std::move(file), options);
  if (!loaded) return in_context(path.string(), std::move(loaded).error());
  return loaded;
}

std::shared_ptr<const TokenTrie> Model::token_trie() const {
  std::call_once(lazy_trie_->once, [this] { lazy_trie_->trie = std::make_shared<const TokenTrie>(tokenizer_); });
  return lazy_trie_->trie;
}

}  // namespace sedge::engine
