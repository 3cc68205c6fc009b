#include "engine/prompt.h"

#include <optional>
#include <string>

namespace sedge::engine {

Result<std::vector<std::int32_t>> encode_prompt(const Model& model, std::string_view prompt) {
  const model::Tokenizer& tokenizer = model.tokenizer();
  std::vector<std::int32_t> ids;
  if (!prompt.empty()) ids = tokenizer.encode(prompt);
  if (ids.empty() && tokenizer.vocab().bos) ids.push_back(*tokenizer.vocab().bos);
  if (ids.empty()) return fail(Code::kInvalidArgument, "the prompt is empty and the vocabulary has no beginning token");
  return ids;
}

Result<std::vector<std::int32_t>> encode_chat(const Model& model, std::span<const model::ChatMessage> messages) {
  const model::Vocab& vocab = model.tokenizer().vocab();
  if (vocab.chat_template.empty()) {
    return fail(Code::kFailedPrecondition, "the model's file has no chat template: give it a plain prompt");
  }
  const auto spelled = [&](std::optional<std::int32_t> id) {
    return id ? vocab.tokens[static_cast<std::size_t>(*id)] : std::string();
  };
  SEDGE_TRY(const std::string text,
            model::render_chat(vocab.chat_template, messages,
                               {.bos_token = spelled(vocab.bos), .eos_token = spelled(vocab.eos)}));
  std::vector<std::int32_t> ids = model.tokenizer().encode(text, {.add_special = false, .parse_special = true});
  const bool begun = !ids.empty() && vocab.bos && ids.front() == *vocab.bos;  // most templates write it themselves
  if (vocab.add_bos && vocab.bos && !begun) ids.insert(ids.begin(), *vocab.bos);
  return ids;
}

}  // namespace sedge::engine
