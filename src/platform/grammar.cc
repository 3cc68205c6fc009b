#include "platform/grammar.h"

#include "engine/grammar/gbnf.h"
#include "engine/grammar/json_schema.h"

namespace sedge::platform {
namespace {

Result<std::shared_ptr<const engine::Grammar>> read(const env::Grammar& grammar) {
  switch (grammar.kind) {
    case env::GrammarKind::kGbnf:
      return engine::read_gbnf(grammar.text);
    case env::GrammarKind::kJsonSchema:
      return engine::read_json_schema(grammar.text);
    case env::GrammarKind::kJsonObject:
      return engine::json_object_grammar();
    case env::GrammarKind::kNone:
      break;
  }
  return fail(Code::kInvalidArgument, "no grammar is given");
}

}  // namespace

// Whatever is wrong with it is wrong on every node: no other need be tried.
Result<std::shared_ptr<const engine::Grammar>> read_grammar(const env::Grammar& grammar) {
  auto made = read(grammar);
  if (!made) return fail(Code::kInvalidArgument, "{}", made.error().message);
  return made;
}

}  // namespace sedge::platform
