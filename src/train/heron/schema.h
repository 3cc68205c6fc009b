// A validator for the part of JSON Schema 2020-12 that models/heron/action.schema.json uses: type, enum, const,
// properties, required, additionalProperties, minProperties/maxProperties, items, minItems/maxItems, minimum/maximum,
// oneOf, anyOf, $ref to "#/$defs/...", boolean schemas, and `format` with Sedge's own formats (docs/formats/action.md
// §3): agent, name, text, length, speed, duration, angle, percent, clock. An unknown keyword or format is refused when
// the schema is read: a check that silently does nothing is worse than none. `pattern` was left out: a regular
// expression from a file is a program with a running time, and the nine formats say all that an action needs.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace sedge::train::heron {

class Schema {
 public:
  // Errors: DataLoss (not JSON), InvalidArgument (a keyword, format or $ref that we do not know).
  static Result<Schema> parse(std::string_view text, std::string_view what);
  static Result<Schema> load(const std::string& path);

  // Errors: InvalidArgument with the place and the reason: "$.then.alt: '20' is not a length".
  Status validate(const json::Value& value) const;

 private:
  explicit Schema(json::Value root) : root_(std::move(root)) {}
  json::Value root_;
};

// Whether `text` has the named format, and whether the name is one of ours.
bool has_format(std::string_view format, std::string_view text);
bool is_known_format(std::string_view format);

}  // namespace sedge::train::heron
