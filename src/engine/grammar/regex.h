// The regular part of JavaScript's regular expressions, which is what JSON Schema's `pattern` is: literals, classes,
// escapes, groups, alternatives, repetition; '^' and '$' at the ends of the whole. What looks around, looks back or
// remembers is no regular language and is refused by name.
// Source: docs/formats/grammar.md; ECMA-262 §22.2; JSON Schema 2020-12 core §6.4.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "engine/grammar/grammar.h"

namespace sedge::engine {

// `spell` says how one character of a set is written where the text will stand (within JSON's quotes, say).
// A pattern without '^' may have anything in front, one without '$' anything behind.
// Errors: InvalidArgument naming the construct and its offset.
Result<GrammarBuilder::Expr> read_regex(std::string_view pattern, GrammarBuilder& builder,
                                        const std::function<GrammarBuilder::Expr(const CodeSet&)>& spell);

}  // namespace sedge::engine
