// Any text is a template that renders within its budget, or an error.
#include "base/bytes.h"
#include "model/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace json = sedge::json;
  const json::Object function = {{"name", "wait"}, {"arguments", json::Object{{"s", 1.5}, {"why", nullptr}}}};
  const sedge::model::ChatMessage messages[] = {
      {"system", "Be brief."},
      {"user", "Where?"},
      {"assistant", "Here.", {{"tool_calls", json::Array{json::Object{{"id", "a"}, {"function", function}}}}}},
      {"tool", "done", {{"tool_call_id", "a"}}}};
  sedge::model::ChatOptions options = {.bos_token = "<s>", .eos_token = "</s>"};
  options.asked_local_s = 1'772'701'622;
  options.tools = {json::Object{{"type", "function"}, {"function", function}}};
  (void)sedge::model::render_chat(sedge::as_text({data, size}), messages, options);
  return 0;
}
