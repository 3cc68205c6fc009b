// Any bytes are a schema whose texts are JSON that satisfies it, or an error; and a text never comes to a place where
// nothing may follow and it is not whole, unless the grammar told a bound. The input also says which way a text goes.
#include <cstdlib>
#include <exception>
#include <string>

#include "base/bytes.h"
#include "base/json.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/matcher.h"
#include "engine/grammar/testing.h"

namespace {

// Left to the tests of their own: patterns, which the judge asks of bytes, and names that come twice, of which the
// parser keeps one. A part of the schema that no text reaches may be none: what the judge throws there says nothing.
bool wrong(std::string_view schema, std::string_view text) {
  if (!sedge::json::parse(text, "text", {.depth_max = 512})) return true;
  if (schema.find("pattern") != std::string_view::npos || !sedge::json::check_unique_names(text, "text")) return false;
  try {
    return !sedge::engine::SchemaJudge(schema).complaint(text).empty();
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto schema = sedge::as_text({data, size});
  const auto grammar = sedge::engine::read_json_schema(schema);
  if (!grammar) return 0;
  sedge::engine::Matcher matcher(*grammar);
  std::string text;
  for (std::size_t i = 0; i < 256 && !matcher.finished(); ++i) {
    const std::size_t before = text.size();
    for (int tries = 0; tries < 256; ++tries) {  // the first that may follow, from one that the input names
      const char byte = static_cast<char>(data[i % size] * (i + 1) + static_cast<unsigned>(tries));
      if (!matcher.advance({&byte, 1})) continue;
      text += byte;
      break;
    }
    if (text.size() > before) continue;
    if (!matcher.complete() && !matcher.gave_up()) std::abort();
    break;
  }
  if (matcher.complete() && wrong(schema, text)) std::abort();
  return 0;
}
