// Any bytes are encoded, and come back: byte-level BPE under both word rules, and SentencePiece with byte tokens.
#include <cstdlib>

#include "model/tokenizer.h"
#include "model/tokenizer_samples.h"

using namespace sedge::model;

namespace {

void check(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text);
  if (tokenizer.decode(ids) != text) std::abort();
  for (const std::int32_t id : tokenizer.encode(text, {.parse_special = true})) (void)tokenizer.is_end(id);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Tokenizer gpt2 = Tokenizer::make(byte_level_sample("gpt-2")).value();
  static const Tokenizer llama3 = Tokenizer::make(byte_level_sample("llama-bpe")).value();
  static const Tokenizer sentencepiece = Tokenizer::make(sentencepiece_sample()).value();
  const std::string_view text = sedge::as_text({data, size});
  for (const Tokenizer* each : {&gpt2, &llama3, &sentencepiece}) check(*each, text);
  return 0;
}
