// Reading the members of a request in OpenAI's language: what the files that know one member each share.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "api/openai.h"
#include "base/json.h"

namespace sedge::api {

inline constexpr std::size_t kPromptBytesMax = 512u << 10;  // half of the largest frame between nodes: room for the
                                                            // token log
inline constexpr std::size_t kDepthMax = 72;                // of a body: a schema of 64, and what it stands in

// None: the member was read.
using Refusal = std::optional<ApiError>;

inline std::string_view text_of(const json::Value& value) {
  const auto& text = value.get_string();
  return {text.data(), text.size()};
}

// A member that is absent and one that is null mean the same to OpenAI's clients.
inline const json::Value* find(const json::Object& object, std::string_view name) {
  const json::Value* value = object.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

// The request's body as an object. Errors: 400.
ApiResult<json::Value> parse_body(std::string_view body);

// A string that must be there, of so many bytes at most.
Refusal read_text(const json::Object& body, std::string_view name, std::size_t bytes_max, std::string& text);

Refusal read_flag(const json::Object& body, std::string_view name, bool& flag);

// 'deadline_ms', or the header where the body does not say.
Refusal read_deadline(const json::Object& body, const RequestContext& context, node::TaskRequest& task);

// The client's traceparent, where it is one.
void set_trace(const RequestContext& context, wire::TaskSpec& spec);

}  // namespace sedge::api
