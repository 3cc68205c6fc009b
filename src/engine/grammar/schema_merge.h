// Schemas taken together: what `$ref` points at, two schemas that must both hold as one, and whether two can hold at
// once. The parts of JSON Schema that are about schemas, not about texts.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace sedge::engine {

// Members that say nothing about which texts are right.
bool is_annotation(std::string_view keyword);

// The schema in `document` that a reference ("#", "#/$defs/place") names.
// Errors: InvalidArgument: not one of this document, or nothing is there.
Result<const json::Value*> resolve_reference(const json::Value& document, std::string_view reference);

// What a document may cost beyond its own length: a few references can name one large part often.
struct SchemaBudget {
  std::size_t copied = 1u << 18;    // values, by merging
  std::size_t compared = 1u << 22;  // values, to tell alternatives apart
};

// One schema for `a` and `b` both: members' schemas merged likewise, what one closes closed, bounds the narrower,
// listed values those in both. Other keywords that stand in both must be equal. Errors: InvalidArgument naming the
// member that cannot be merged; ResourceExhausted (the budget).
Result<json::Object> merge_schemas(const json::Object& a, const json::Object& b, SchemaBudget& budget);

// Whether no text can satisfy both: by type, by `const` or `enum`, or by those of a member that both require.
// False where that cannot be told, or the budget is spent.
bool never_both(const json::Value& document, const json::Value& a, const json::Value& b, SchemaBudget& budget);

}  // namespace sedge::engine
