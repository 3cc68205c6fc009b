// Any bytes are a grammar that can be run over themselves, or an error.
#include "base/bytes.h"
#include "engine/grammar/gbnf.h"
#include "engine/grammar/matcher.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = sedge::as_text({data, size});
  const auto grammar = sedge::engine::read_gbnf(text);
  if (!grammar) return 0;
  sedge::engine::Matcher matcher(*grammar);
  for (const char& byte : text.substr(0, 256)) (void)matcher.advance({&byte, 1});
  return 0;
}
