// Any text is a template that renders within its budget, or an error.
#include "base/bytes.h"
#include "model/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const sedge::model::ChatMessage messages[] = {{"system", "Be brief."}, {"user", "Where?"}, {"assistant", "Here."}};
  (void)sedge::model::render_chat(sedge::as_text({data, size}), messages, {.bos_token = "<s>", .eos_token = "</s>"});
  return 0;
}
