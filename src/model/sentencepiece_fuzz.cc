// Any bytes are a vocabulary that a tokenizer accepts, or an error.
#include <cstdlib>

#include "model/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto vocab = sedge::model::vocab_from_sentencepiece({data, size});
  if (!vocab) return 0;
  const auto tokenizer = sedge::model::Tokenizer::make(std::move(*vocab));
  if (!tokenizer) std::abort();  // without merges a checked vocabulary is always a tokenizer
  (void)tokenizer->decode(tokenizer->encode(sedge::as_text({data, size})));
  return 0;
}
