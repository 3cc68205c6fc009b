// Any text is a vocabulary that a tokenizer accepts or refuses, or an error.
#include "model/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = sedge::as_text({data, size});
  auto vocab = sedge::model::vocab_from_tokenizer_json(text);
  if (!vocab) return 0;
  (void)sedge::model::apply_tokenizer_config(*vocab, text);
  if (const auto tokenizer = sedge::model::Tokenizer::make(std::move(*vocab))) {
    (void)tokenizer->decode(tokenizer->encode(text.substr(0, 4096)));
  }
  return 0;
}
