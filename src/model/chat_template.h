// The chat template that a model file carries: a Jinja program that turns messages into the prompt its training
// used. This is a small interpreter of the part of Jinja that such templates use: output, if/elif/else, for, set
// (namespaces too), macros, filters, tests, slices. It is bounded in steps, depth and output, for a template is a
// stranger's program; what it does not know is an error that names the construct and its offset. Recognising known
// templates by their text and hard-coding the formats was rejected: it is wrong the day a template changes.
// Source: docs/formats/tokenizer.md §6; the Jinja template designer documentation.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace sedge::model {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool"...
  std::string content;
  json::Object more = {};  // members beside these two: tool_calls, with their arguments as objects; tool_call_id; name
};

struct ChatOptions {
  std::string bos_token, eos_token;   // spelled, as the vocabulary has them
  bool add_generation_prompt = true;  // end with the opening of the assistant's turn
  json::Array tools = {};             // as OpenAI has them; empty: the template sees none
  // The date that a template may ask for, in seconds since 1970 on the local clock of who asks; none: strftime_now is
  // undefined. Given, not taken: what is rendered again for a task that goes on elsewhere must be the same.
  std::optional<std::int64_t> asked_local_s = {};
};

// Errors: InvalidArgument (the template raised: its message; JSON nested too deep), Unimplemented (a construct outside
// the subset), DataLoss (not a template), ResourceExhausted (over a bound). Each names the offset in the template.
Result<std::string> render_chat(std::string_view jinja, std::span<const ChatMessage> messages,
                                const ChatOptions& options = {});

// Whether a template can be rendered at all: parses it, runs nothing.
Status check_chat_template(std::string_view jinja);

}  // namespace sedge::model
