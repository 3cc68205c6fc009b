// Functions that an answer may call: tools, tool_choice and parallel_tool_calls of a request, tool_calls of an answer.
// Grammar: docs/formats/http.md §2 and §3.
#pragma once

#include <optional>

#include "api/openai_fields.h"
#include "platform/tool_calls.h"

namespace sedge::api {

// After the messages and what the answer must be: puts what may be called in front of the turns.
Refusal read_tools(const json::Object& body, CompletionRequest& request);

// The calls that an answer is. None: it is text.
std::optional<platform::CalledText> calls_of(const AnswerHead& head, const node::TaskResult& result);

// As a message has them.
json::Array message_calls(const AnswerHead& head, std::span<const platform::ToolCall> calls);
// As a stream has them, a delta each: of every call first its id and name, then its arguments.
std::vector<json::Object> call_deltas(const AnswerHead& head, std::span<const platform::ToolCall> calls);

}  // namespace sedge::api
