// Any bytes are encoded, and come back: byte-level BPE under every word rule, SentencePiece with byte tokens, and
// WordPiece, which loses what it normalizes away.
#include <cstdlib>
#include <string_view>
#include <vector>

#include "model/bpe_words.h"
#include "model/tokenizer.h"
#include "model/tokenizer_samples.h"

using namespace sedge::model;

namespace {

void check(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text);
  if (tokenizer.decode(ids) != text) std::abort();
  for (const std::int32_t id : tokenizer.encode(text, {.parse_special = true})) (void)tokenizer.is_end(id);
}

void check_words(const PreTokenizer& pre, std::string_view text) {
  std::vector<std::string_view> words;
  split_words(text, pre, words);
  for (const std::string_view word : words) {
    if (word.empty() || !text.starts_with(word)) std::abort();
    text.remove_prefix(word.size());
  }
  if (!text.empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Tokenizer gpt2 = Tokenizer::make(byte_level_sample("gpt-2")).value();
  static const Tokenizer llama3 = Tokenizer::make(byte_level_sample("llama-bpe")).value();
  static const Tokenizer sentencepiece = Tokenizer::make(sentencepiece_sample()).value();
  const std::string_view text = sedge::as_text({data, size});
  static const Tokenizer wordpiece = Tokenizer::make(wordpiece_sample()).value();
  for (const Tokenizer* each : {&gpt2, &llama3, &sentencepiece}) check(*each, text);
  (void)wordpiece.decode(wordpiece.encode(text, {.parse_special = true}));
  for (const PreTokenizer& pre : pre_tokenizers()) check_words(pre, text);
  return 0;
}
