// Reading the members of a request in OpenAI's language: what the files that know one member each share.
#pragma once

#include <optional>
#include <string_view>

#include "api/openai.h"
#include "base/json.h"

namespace sedge::api {

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

}  // namespace sedge::api
