// The messages of a chat request as a task's turns. One with calls of functions, or with what a function gave, becomes
// a JSON turn: everything that the model's chat template may ask of it (docs/formats/task.md §1.1).
// Grammar: docs/formats/http.md §2.
#pragma once

#include <vector>

#include "api/openai_fields.h"

namespace sedge::api {

Refusal read_messages(const json::Object& body, std::vector<env::ChatTurn>& turns);

}  // namespace sedge::api
