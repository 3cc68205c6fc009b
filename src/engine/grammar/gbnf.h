// Grammars as llama.cpp writes them (GBNF): rules of literals, character classes, groups and repetitions.
//
//   root   ::= "go " place ("," place)*
//   place  ::= [a-z]+ | "home"    # a comment
//
// Its references to single tokens (<think>, <[1000]>) are refused: a grammar here is one over text, for any vocabulary.
// Source: docs/formats/grammar.md; github.com/ggml-org/llama.cpp, grammars/README.md.
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "engine/grammar/grammar.h"

namespace sedge::engine {

// Errors: InvalidArgument naming line and column, and those of GrammarBuilder::build.
Result<std::shared_ptr<const Grammar>> read_gbnf(std::string_view text);

}  // namespace sedge::engine
