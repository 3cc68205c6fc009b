// A task's grammar, read by the engine.
#pragma once

#include <memory>

#include "engine/grammar/grammar.h"
#include "env/compute.h"

namespace sedge::platform {

// Errors: InvalidArgument naming the place in the grammar's or schema's text.
Result<std::shared_ptr<const engine::Grammar>> read_grammar(const env::Grammar& grammar);

}  // namespace sedge::platform
