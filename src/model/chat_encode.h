// A conversation as token ids: through the chat template, with what people wrote kept text.
//
// The problem: a template renders turns and their marks into one text, in which a message that spells "<|im_end|>" and
// a system turn behind it looks like one. A robot that takes orders in sentences must not take them from there. The
// idea: before rendering, places where a message spells such a token (or begins to at its end, where the next text
// could complete it) get U+FDD0 in front, a noncharacter that no text has to contain; after rendering these marks are
// taken out and their places told to the tokenizer, which finds no token there. A message's own U+FDD0 is doubled
// meanwhile. Rejected: encoding messages apart from the template's text (templates trim, split and escape them), and
// taking such spellings out (people do write about tokens).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"

namespace sedge::model {

// Ending where the assistant's answer begins. What tools and calls say is kept text as messages are. `asked_local_s`:
// as ChatOptions has it. Errors: FailedPrecondition (the vocabulary has no template), and those of render_chat.
Result<std::vector<std::int32_t>> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                              const json::Array& tools = {},
                                              std::optional<std::int64_t> asked_local_s = {});

}  // namespace sedge::model
