// A template as tokens. Between tags there is text; inside a tag there are names, strings, numbers and operators.
// White space around tags follows the two switches that chat templates are published for (trim_blocks and
// lstrip_blocks on), and the "-" and "+" marks in the tags.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sedge::model::jinja {

enum class TokenKind {
  kText,
  kOutputBegin,
  kOutputEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind;
  std::string text;        // of a string: what it means, escapes undone
  std::size_t offset = 0;  // in the template
};

// Ends with kEnd. Errors: DataLoss (a tag or a string without end, an unknown character) with the offset.
Result<std::vector<Token>> lex(std::string_view source);

}  // namespace sedge::model::jinja
