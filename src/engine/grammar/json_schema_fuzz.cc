// Any bytes are a schema whose texts are JSON, or an error. The input also says which way a text goes.
#include <cstdlib>
#include <string>

#include "base/bytes.h"
#include "base/json.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/matcher.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto grammar = sedge::engine::read_json_schema(sedge::as_text({data, size}));
  if (!grammar) return 0;
  sedge::engine::Matcher matcher(*grammar);
  std::string text;
  for (std::size_t i = 0; i < 256 && !matcher.finished(); ++i) {
    for (int tries = 0; tries < 256; ++tries) {  // the first that may follow, from one that the input names
      const char byte = static_cast<char>(data[i % size] * (i + 1) + static_cast<unsigned>(tries));
      if (!matcher.advance({&byte, 1})) continue;
      text += byte;
      break;
    }
  }
  if (matcher.complete() && !sedge::json::parse(text, "text", {.depth_max = 512})) std::abort();
  return 0;
}
