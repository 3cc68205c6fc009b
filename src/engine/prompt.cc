#include "engine/prompt.h"

#include "model/chat_encode.h"

namespace sedge::engine {

Result<std::vector<std::int32_t>> encode_prompt(const Model& model, std::string_view prompt) {
  const model::Tokenizer& tokenizer = model.tokenizer();
  std::vector<std::int32_t> ids;
  if (!prompt.empty()) ids = tokenizer.encode(prompt);
  if (ids.empty() && tokenizer.vocab().bos) ids.push_back(*tokenizer.vocab().bos);
  if (ids.empty()) return fail(Code::kInvalidArgument, "the prompt is empty and the vocabulary has no beginning token");
  return ids;
}

Result<std::vector<std::int32_t>> encode_chat(const Model& model, std::span<const model::ChatMessage> messages,
                                              const json::Array& tools, std::optional<std::int64_t> asked_local_s) {
  return model::encode_chat(model.tokenizer(), messages, tools, asked_local_s);
}

}  // namespace sedge::engine
