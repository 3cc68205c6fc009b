// A JSON Schema as a grammar of the JSON texts that satisfy it. Not of all of them: members come in the schema's order,
// white space is bounded (json_text.h), and where a schema leaves open whether more members or items may follow, none
// do. What is generated always satisfies the schema; what cannot be held to by a grammar (uniqueItems, not, if) is
// refused with its place, never passed over, for then an answer would be wrong without a word.
// Source: docs/formats/grammar.md; JSON Schema 2020-12, core and validation.
#pragma once

#include <memory>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "engine/grammar/grammar.h"
#include "engine/grammar/json_text.h"

namespace sedge::engine {

// Errors: InvalidArgument or ResourceExhausted naming the place ("#/properties/mode: 'not' is not supported");
//         those of GrammarBuilder::build.
Result<std::shared_ptr<const Grammar>> read_json_schema(std::string_view text);

// The same as a part of another grammar. Errors: those of the schema; the rest is build()'s to say.
Result<GrammarBuilder::Expr> add_json_schema(const json::Value& schema, GrammarBuilder& builder, JsonText& writing);

// Any JSON object.
Result<std::shared_ptr<const Grammar>> json_object_grammar();

}  // namespace sedge::engine
