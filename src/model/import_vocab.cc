// The vocabulary that goes with imported weights, whatever file it comes in.
#include <system_error>

#include "model/import_source.h"
#include "model/mapped_file.h"

namespace sedge::model {

Result<Vocab> open_vocab(const std::filesystem::path& path, const std::filesystem::path& config,
                         std::size_t vocab_size) {
  SEDGE_TRY(const auto file, MappedFile::open(path));
  std::shared_ptr<const MappedFile> config_file;
  std::string_view config_text;
  std::error_code error;
  if (std::filesystem::exists(config, error)) {
    SEDGE_TRY(config_file, MappedFile::open(config));
    config_text = as_text(config_file->bytes());
  }
  const auto read = [&]() -> Result<Vocab> {
    if (path.extension() == ".json") return vocab_from_tokenizer_json(as_text(file->bytes()), config_text);
    if (path.extension() != ".model") return vocab_from_llama2c(file->bytes(), vocab_size);
    SEDGE_TRY(Vocab vocab, vocab_from_sentencepiece(file->bytes()));
    if (!config_text.empty()) SEDGE_CHECK(apply_tokenizer_config(vocab, config_text));
    return vocab;
  };
  auto vocab = read();
  if (!vocab) return in_context(path.string(), std::move(vocab).error());
  return vocab;
}

Status pad_vocab(Vocab& vocab, std::size_t vocab_size) {
  const std::size_t size = vocab.tokens.size();
  if (size > vocab_size) {
    return fail(Code::kDataLoss, "the tokenizer has {} tokens, the model {}", size, vocab_size);
  }
  if (size == vocab_size) return {};
  if (vocab.types.empty()) vocab.types.assign(size, static_cast<std::int32_t>(TokenType::kNormal));
  vocab.types.resize(vocab_size, static_cast<std::int32_t>(TokenType::kUnused));
  if (!vocab.scores.empty()) vocab.scores.resize(vocab_size, -1000.0f);
  for (std::size_t id = size; id < vocab_size; ++id) vocab.tokens.push_back(fmt::format("[PAD{}]", id));
  return {};
}

}  // namespace sedge::model
