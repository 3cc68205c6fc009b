// The tree of a template. Every node keeps its offset, for errors; every tree has a bounded height, so that walking
// it needs a bounded stack.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/chat_template_value.h"

namespace sedge::model::jinja {

inline constexpr int kTreeHeightMax = 200;                  // the deepest published template reaches 30
inline constexpr std::size_t kTemplateBytesMax = 1u << 20;  // the longest known has 30 KB

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind {
  kLiteral,    // value
  kName,       // name
  kAttribute,  // args[0].name
  kItem,       // args[0][args[1]]
  kSlice,      // args[0][args[1]:args[2]:args[3]], each of the three may be null
  kCall,       // args[0](args[1]..., named...)
  kFilter,     // args[0] | name(args[1]..., named...)
  kTest,       // args[0] is [not] name(args[1]...)
  kUnary,      // name is "-", "+" or "not"
  kBinary,     // args[0] name args[1]
  kChoice,     // args[0] if args[1] else args[2], which may be null
  kList,       // [args...]; tuples too: templates cannot tell them apart
  kDict,       // {named...}
};

struct Expr {
  ExprKind kind;
  std::size_t offset;
  std::string name;
  Value value;
  std::vector<ExprPtr> args;
  std::vector<std::pair<std::string, ExprPtr>> named;
  bool negated = false;
  int height = 1;
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

enum class StmtKind {
  kText,         // text
  kOutput,       // {{ expr }}
  kIf,           // the first branch whose condition holds; an else has none
  kFor,          // for names in expr if condition: body, else otherwise
  kSet,          // set names = expr, or set names[0].names[1] = expr
  kSetBlock,     // set names[0] to what body renders
  kMacro,        // macro text(macro->parameters): body
  kFilterBlock,  // expr, where kFilteredName stands for what body renders
  kBreak,
  kContinue,
};

struct Macro {
  std::string name;
  std::vector<std::pair<std::string, ExprPtr>> parameters;  // with the default, which may be null
  Block body;
};

struct Branch {
  ExprPtr condition;
  Block body;
};

inline constexpr std::string_view kFilteredName = "filtered text";  // no template can write this name

struct Stmt {
  StmtKind kind;
  std::size_t offset;
  std::string text;
  std::vector<std::string> names;
  bool to_namespace = false;  // kSet: names are a namespace and its member
  ExprPtr expr, condition;
  Block body, otherwise;
  std::vector<Branch> branches;
  Macro macro;
};

// Errors: DataLoss (not a template), Unimplemented (outside the subset), ResourceExhausted; each with the offset.
Result<Block> parse_template(std::string_view source);

}  // namespace sedge::model::jinja
