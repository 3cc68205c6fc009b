// What a person or a client gave, as the ids that a model begins with.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "model/chat_template.h"

namespace sedge::engine {

// Raw text, with what the vocabulary puts in front. An empty prompt is the beginning token alone.
// Errors: InvalidArgument (nothing to begin with: an empty prompt and no beginning token).
Result<std::vector<std::int32_t>> encode_prompt(const Model& model, std::string_view prompt);

// A conversation, through the chat template of the model's file, ending where the assistant's answer begins.
// `asked_local_s`: the date, as model::ChatOptions has it.
// Errors: FailedPrecondition (the file has no template), and those of model::render_chat.
Result<std::vector<std::int32_t>> encode_chat(const Model& model, std::span<const model::ChatMessage> messages,
                                              const json::Array& tools = {},
                                              std::optional<std::int64_t> asked_local_s = {});

}  // namespace sedge::engine
