// Calls of functions as a grammar: the text around them that a model was trained to write, names that there are,
// arguments that satisfy each function's own schema. Two uses: a text that must be calls, and one that may be anything
// until it begins a call and must then end as one. For the latter the text before is a machine that follows how much
// of the call's beginning has come (Knuth, Morris & Pratt 1977), a rule a state: no second matcher that waits, and
// nothing but the grammar decides, so that a text resumed elsewhere goes the same way.
// Source: docs/formats/grammar.md §2.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "engine/grammar/grammar.h"

namespace sedge::engine {

struct Callable {
  std::string name;
  json::Value parameters;  // a schema
};

// How calls are written: begin, call, { between, call }, end; a call is {"name": NAME, ARGUMENTS: {...}}.
struct CallForm {
  std::string_view begin, between, end;
  std::string_view arguments;  // the member's name
};

struct CallRules {
  std::size_t calls_max = 1;
  // ASCII. Not empty: the text may be any other, until this comes in it, which the calls' text begins with.
  std::string_view trigger = {};
  bool at_start = false;  // only a text that begins with the trigger is calls
};

// Requires: a function at least; `trigger` begins the calls' text.
// Errors: InvalidArgument or ResourceExhausted naming the function, and the place in its schema.
Result<std::shared_ptr<const Grammar>> call_grammar(std::span<const Callable> functions, const CallForm& form,
                                                    const CallRules& rules);

}  // namespace sedge::engine
