// A job's turns as what a model begins with: the ids of its prompt and, where functions may be called, the grammar that
// holds calls to their schemas. How a model writes calls is known only here, where its chat template is.
// Grammar: docs/formats/task.md §1.1.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/grammar/grammar.h"
#include "engine/model.h"
#include "env/compute.h"

namespace sedge::platform {

struct ChatPrompt {
  std::vector<std::int32_t> ids;
  std::shared_ptr<const engine::Grammar> grammar;  // of calls; none: any text
};

// `asked_local_s`: the date, for templates that ask for it (env::JobSpec).
// Errors: InvalidArgument (turns that are none; functions or calls that the model's template has no place for; a
//         schema that cannot be held to), and those of engine::encode_chat.
Result<ChatPrompt> begin_chat(const engine::Model& model, std::span<const env::ChatTurn> turns,
                              std::optional<std::int64_t> asked_local_s = {});

}  // namespace sedge::platform
