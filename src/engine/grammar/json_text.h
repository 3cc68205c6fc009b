// How JSON is written, as expressions of a grammar: characters within quotes, numbers within bounds, any value.
// A part of what JSON allows, so that a model cannot run on for ever where no text is: white space is at most a
// line break and 24 characters of indent, numbers have at most 15 digits before the point and 15 behind it (what a
// double holds), a \u escape is never half of a surrogate pair.
// Source: RFC 8259.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/grammar/grammar.h"

namespace sedge::engine {

// A value's own text: as json::write has it, but fractions as people write them (0.5, not 5E-1).
std::string plain_text(const json::Value& value);

class JsonText {
 public:
  using Expr = GrammarBuilder::Expr;

  // An end of an interval; `value` itself belongs to it unless `open`.
  struct Bound {
    std::int64_t value = 0;
    bool open = false;
  };

  explicit JsonText(GrammarBuilder& builder) : builder_(builder) {}

  Expr space();  // after a brace or a comma
  Expr colon() { return builder_.sequence({builder_.literal(":"), builder_.optional(builder_.literal(" "))}); }
  Expr comma() { return builder_.sequence({builder_.literal(","), space()}); }
  Expr character();  // any one, within quotes
  // One character of the set as it stands within quotes.
  Expr spelled(const CodeSet& set);
  // Quotes around.
  Expr string(Expr inside);
  // One of these texts, told as a tree of what they begin with: then a text stands in one place of it, however many.
  Expr one_of(std::vector<std::string> texts);
  // A member's name that needs no escape and is none of these.
  Expr other_name(const std::vector<std::string_view>& names);
  // Requires: no open bound.
  Expr integer(std::optional<std::int64_t> min, std::optional<std::int64_t> max);
  Expr number(std::optional<Bound> min, std::optional<Bound> max);
  Expr boolean();
  Expr null() { return builder_.literal("null"); }
  // "[ item, item ]", from `first` on: what stands between the brackets.
  Expr array(Expr items);
  Expr list(Expr item, std::uint32_t min, std::uint32_t max);
  Expr object(Expr members);
  Expr any_object() { return value(), builder_.call(*any_object_); }
  Expr any_array() { return value(), builder_.call(*any_array_); }
  Expr value();

 private:
  Expr digits(std::string_view low, std::string_view high);
  Expr natural(std::int64_t low, std::int64_t high);
  Expr magnitude(Bound low, Bound high);
  Expr fraction(bool zero_too, std::uint32_t digits_max);
  Expr digit(char low, char high);
  Expr one_of(std::span<const std::string> texts, std::size_t begun, std::uint32_t& depth);

  GrammarBuilder& builder_;
  std::optional<Expr> space_, character_;
  std::optional<GrammarBuilder::Rule> value_, any_object_, any_array_;
  std::map<std::vector<std::pair<char32_t, char32_t>>, Expr> spelled_;
};

}  // namespace sedge::engine
