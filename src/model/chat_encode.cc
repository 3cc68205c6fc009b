#include "model/chat_encode.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sedge::model {
namespace {

constexpr std::string_view kMark = "\xef\xb7\x90";  // U+FDD0

std::string doubled_marks(std::string_view text) {
  std::string result;
  for (std::size_t at; (at = text.find(kMark)) != std::string_view::npos; text.remove_prefix(at + kMark.size())) {
    result.append(text.substr(0, at)).append(kMark).append(kMark);
  }
  return result.append(text);
}

std::string marked(const Tokenizer& tokenizer, std::string_view content) {
  const std::string text = doubled_marks(content);
  std::string result;
  std::size_t from = 0;
  for (const std::size_t place : tokenizer.steering_places(text)) {
    result.append(text, from, place - from).append(kMark);
    from = place;
  }
  return result.append(text, from);
}

// Every text in it, members' names too. Requires: what json::parse took, which bounds how deep this goes.
json::Value marked(const Tokenizer& tokenizer, const json::Value& value) {
  if (const auto* text = value.if_string()) return json::Value(marked(tokenizer, std::string_view(*text)));
  if (const auto* array = value.if_array()) {
    json::Array items;
    for (const json::Value& item : *array) items.push_back(marked(tokenizer, item));
    return items;
  }
  if (const auto* object = value.if_object()) {
    json::Object members;
    for (const auto& member : *object) {
      members[marked(tokenizer, std::string_view(member.key()))] = marked(tokenizer, member.value());
    }
    return members;
  }
  return value;
}

struct Unmarked {
  std::string text;
  std::vector<std::size_t> inert;
};

Unmarked unmark(std::string_view text) {
  Unmarked result;
  for (std::size_t at; (at = text.find(kMark)) != std::string_view::npos;) {
    result.text.append(text.substr(0, at));
    text.remove_prefix(at + kMark.size());
    if (text.starts_with(kMark)) {
      result.text.append(kMark);
      text.remove_prefix(kMark.size());
    } else {
      result.inert.push_back(result.text.size());
    }
  }
  result.text.append(text);
  return result;
}

}  // namespace

Result<std::vector<std::int32_t>> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                              const json::Array& tools, std::optional<std::int64_t> asked_local_s) {
  const Vocab& vocab = tokenizer.vocab();
  if (vocab.chat_template.empty()) {
    return fail(Code::kFailedPrecondition, "the model's file has no chat template: give it a plain prompt");
  }
  std::vector<ChatMessage> guarded(messages.begin(), messages.end());
  for (ChatMessage& message : guarded) {
    message.content = marked(tokenizer, std::string_view(message.content));
    message.more = marked(tokenizer, json::Value(message.more)).get_object();
  }
  const auto spelled = [&](std::optional<std::int32_t> id) {
    return id ? vocab.tokens[static_cast<std::size_t>(*id)] : std::string();
  };
  ChatOptions options = {.bos_token = spelled(vocab.bos), .eos_token = spelled(vocab.eos)};
  options.tools = marked(tokenizer, json::Value(tools)).get_array();
  options.asked_local_s = asked_local_s;
  SEDGE_TRY(const std::string rendered, render_chat(vocab.chat_template, guarded, options));
  const Unmarked prompt = unmark(rendered);
  std::vector<std::int32_t> ids =
      tokenizer.encode(prompt.text, {.add_special = false, .parse_special = true, .inert = prompt.inert});
  const bool begun = !ids.empty() && vocab.bos && ids.front() == *vocab.bos;  // most templates write it themselves
  if (vocab.add_bos && vocab.bos && !begun) ids.insert(ids.begin(), *vocab.bos);
  return ids;
}

}  // namespace sedge::model
