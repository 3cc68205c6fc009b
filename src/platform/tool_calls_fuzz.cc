// Any bytes are calls or text. Calls have names that there are and arguments that are JSON objects, and written again
// in a syntax that is known they are read as the same; what a stream shows before them is no part of them.
#include <cstdlib>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "platform/tool_calls.h"

using namespace sedge;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<std::string> names = {"go_to", "wait"};
  const std::string_view text = as_text({data, size});
  for (std::size_t end = 0; end <= std::min<std::size_t>(text.size(), 64); ++end) {
    if (platform::calls_may_begin(text.substr(0, end), true) > end) std::abort();
  }
  const auto read = platform::read_calls(text, names);
  if (!read) return 0;
  if (read->calls.empty() || !text.starts_with(read->content)) std::abort();
  if (platform::calls_may_begin(text, true) > text.find_first_of("<[{", read->content.size())) std::abort();
  for (const platform::ToolCall& call : read->calls) {
    const auto arguments = json::parse(call.arguments, "arguments", {.depth_max = 128});
    if (!arguments || !arguments->is_object()) std::abort();
  }
  for (const platform::CallSyntax& syntax : platform::call_syntaxes()) {
    const auto again = platform::read_calls(platform::write_calls(syntax, read->calls), names);
    if (read->calls.size() <= syntax.calls_max && (!again || again->calls != read->calls)) std::abort();
  }
  return 0;
}
