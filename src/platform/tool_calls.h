// How models write calls of functions: a table of the syntaxes that are known, one a row. What a model's chat template
// contains says which row its answers follow; a text is read without being told, for the marks say it themselves, so
// that who reads an answer need not hold the model. A text is calls as a whole or not at all: one that is cut, names a
// function that there is not, or goes on behind its calls stays text, as it was written.
// Rejected: an expression of each syntax (arguments are JSON, which no expression reads), and asking the template by
// rendering a call (some templates with functions have no place for a call that was made).
// Source: docs/formats/http.md §2.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sedge::platform {

inline constexpr std::size_t kCallsMax = 16;  // in one answer

// open, first, call, { between, call }, last, close. A mark that is a control token of the vocabulary is not shown.
struct CallSyntax {
  std::string_view name;
  std::string_view in_template, not_in_template;  // by which a chat template is known; the second may be empty
  std::string_view open, close;                   // marks
  std::string_view first, between, last;          // in `between` marks too
  std::string_view arguments;                     // the member beside "name"
  std::size_t calls_max;
};

std::span<const CallSyntax> call_syntaxes();

// The first row that fits; null: the template tells of no functions, or of calls in a way that is not known.
const CallSyntax* call_syntax_of(std::string_view chat_template);

struct ToolCall {
  std::string name;
  std::string arguments;  // a JSON object
  friend bool operator==(const ToolCall&, const ToolCall&) = default;
};

struct CalledText {
  std::string content;  // the text before, without white space at its end
  std::vector<ToolCall> calls;
};

// None: the text is no calls. Requires: `names`, of the functions that may be called.   Cost: O(text).
std::optional<CalledText> read_calls(std::string_view text, std::span<const std::string> names);

// As a model of that syntax would.
std::string write_calls(const CallSyntax& syntax, std::span<const ToolCall> calls);

// Of a text that may go on: from where what comes could be calls; its size if from nowhere. `begins`: nothing stands
// before it.
std::size_t calls_may_begin(std::string_view text, bool begins);

}  // namespace sedge::platform
