#include "engine/grammar/gbnf.h"

#include <algorithm>
#include <map>
#include <optional>

#include "model/unicode.h"

namespace sedge::engine {
namespace {

constexpr std::size_t kNestedMax = 48;  // groups within groups
constexpr std::uint32_t kRepeatMax = 1u << 16;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<std::shared_ptr<const Grammar>> read() {
    rule_named("root");  // the first declared is the root
    skip_space(true);
    while (at_ < text_.size()) {
      SEDGE_CHECK(read_rule());
      skip_space(true);
    }
    if (!builder_.defined(rules_.at("root"))) return fail(Code::kInvalidArgument, "the grammar has no rule 'root'");
    return builder_.build();
  }

 private:
  using Expr = GrammarBuilder::Expr;

  std::unexpected<Error> wrong(std::string_view what) const {
    const std::string_view before = text_.substr(0, at_);
    const auto line = std::ranges::count(before, '\n') + 1;
    const std::size_t column = at_ - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    return fail(Code::kInvalidArgument, "the grammar, line {} column {}: {}", line, column, what);
  }
  bool is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char c) { return is(c) && ++at_; }

  // Newlines end a rule, except inside groups and after '|'.
  void skip_space(bool newlines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r' || (newlines && c == '\n')) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string_view read_name() {
    const std::size_t begin = at_;
    const auto belongs = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    };
    while (at_ < text_.size() && belongs(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  GrammarBuilder::Rule rule_named(std::string_view name) {
    const auto found = rules_.find(name);
    if (found != rules_.end()) return found->second;
    return rules_.emplace(name, builder_.declare(name)).first->second;
  }

  Status read_rule() {
    const std::string_view name = read_name();
    if (name.empty()) return wrong("a rule's name is expected");
    skip_space(false);
    if (!text_.substr(at_).starts_with("::=")) return wrong("'::=' is expected");
    at_ += 3;
    const GrammarBuilder::Rule rule = rule_named(name);
    if (builder_.defined(rule)) return wrong(fmt::format("rule '{}' is defined twice", name));
    skip_space(true);
    SEDGE_TRY(const Expr expr, read_choice(false));
    if (at_ < text_.size() && !is('\n')) return wrong("the rule does not go on like this");
    builder_.define(rule, expr);
    return {};
  }

  Result<Expr> read_choice(bool grouped) {
    std::vector<Expr> ways;
    do {
      skip_space(true);
      SEDGE_TRY(ways.emplace_back(), read_sequence(grouped));
    } while (take('|'));
    return builder_.choice(std::move(ways));
  }

  Result<Expr> read_sequence(bool grouped) {
    std::vector<Expr> parts;
    for (;;) {
      skip_space(grouped);
      if (at_ == text_.size() || is('|') || is(')') || is('\n')) return builder_.sequence(std::move(parts));
      SEDGE_TRY(const Expr item, read_item());
      SEDGE_TRY(parts.emplace_back(), read_repetition(item));
    }
  }

  Result<Expr> read_item() {
    if (take('"')) return read_literal();
    if (take('[')) return read_class();
    if (take('.')) return builder_.characters(CodeSet::any());
    if (is('<') || is('!')) return wrong("tokens by name or number are not supported, only text");
    if (take('(')) {
      if (++nested_ > kNestedMax) return wrong("groups are nested too deep");
      SEDGE_TRY(const Expr group, read_choice(true));
      skip_space(true);
      if (!take(')')) return wrong("')' is missing");
      --nested_;
      return group;
    }
    const std::string_view name = read_name();
    if (name.empty()) return wrong("a literal, a class, a group or a rule's name is expected");
    return builder_.call(rule_named(name));
  }

  Result<Expr> read_literal() {
    std::string bytes;
    while (!take('"')) {
      if (at_ == text_.size() || is('\n')) return wrong("the literal does not end");
      SEDGE_TRY(const char32_t code, read_character());
      model::append_utf8(bytes, code);
    }
    return builder_.literal(bytes);
  }

  Result<Expr> read_class() {
    const bool others = take('^');
    CodeSet set;
    while (!take(']')) {
      if (at_ == text_.size() || is('\n')) return wrong("the class does not end");
      SEDGE_TRY(const char32_t first, read_character());
      char32_t last = first;
      if (is('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        SEDGE_TRY(last, read_character());
      }
      if (last < first) return wrong("the range runs backwards");
      set.add(first, last);
    }
    return builder_.characters(others ? set.complement() : set);
  }

  Result<char32_t> read_character() {
    if (at_ == text_.size()) return wrong("a character is missing");
    if (!take('\\')) {
      const model::CodePoint point = model::next_code_point(text_, at_);
      if ((point.code & model::kNotUtf8) != 0) return wrong("this is not UTF-8");
      at_ += point.bytes;
      return point.code;
    }
    if (at_ == text_.size()) return wrong("an escape is cut short");
    switch (const char c = text_[at_++]; c) {
      case 'n':
        return U'\n';
      case 'r':
        return U'\r';
      case 't':
        return U'\t';
      case 'x':
        return read_hex(2);
      case 'u':
        return read_hex(4);
      case 'U':
        return read_hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<char32_t>(c);
      default:
        --at_;
        return wrong("this escape is not known");
    }
  }

  Result<char32_t> read_hex(std::size_t digits) {
    std::uint32_t code = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return wrong(fmt::format("{} hexadecimal digits are expected", digits));
      code = code << 4 | static_cast<std::uint32_t>(digit);
      ++at_;
    }
    if (code > kCodePointMax || (code >= 0xD800 && code <= 0xDFFF)) return wrong("this is no character");
    return code;
  }

  Result<Expr> read_repetition(Expr item) {
    if (take('*')) return builder_.repeat(item, 0, GrammarBuilder::kNoLimit);
    if (take('+')) return builder_.repeat(item, 1, GrammarBuilder::kNoLimit);
    if (take('?')) return builder_.optional(item);
    if (!take('{')) return item;
    SEDGE_TRY(const std::uint32_t min, read_count());
    std::uint32_t max = min;
    skip_space(false);
    if (take(',')) {
      skip_space(false);
      max = GrammarBuilder::kNoLimit;
      if (!is('}')) {
        SEDGE_TRY(max, read_count());
      }
    }
    skip_space(false);
    if (!take('}')) return wrong("'}' is missing");
    if (max < min) return wrong("the repetition's bounds are the wrong way round");
    return builder_.repeat(item, min, max);
  }

  Result<std::uint32_t> read_count() {
    skip_space(false);
    const std::size_t begin = at_;
    std::uint32_t count = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      count = count * 10 + static_cast<std::uint32_t>(text_[at_++] - '0');
      if (count > kRepeatMax) return wrong(fmt::format("a repetition counts to {} at most", kRepeatMax));
    }
    if (at_ == begin) return wrong("a count is expected");
    return count;
  }

  std::string_view text_;
  std::size_t at_ = 0, nested_ = 0;
  GrammarBuilder builder_;
  std::map<std::string, GrammarBuilder::Rule, std::less<>> rules_;
};

}  // namespace

Result<std::shared_ptr<const Grammar>> read_gbnf(std::string_view text) {
  if (text.size() > kGrammarBytesMax) {
    return fail(Code::kInvalidArgument, "the grammar has {} bytes, at most {} are taken", text.size(),
                kGrammarBytesMax);
  }
  return Reader(text).read();
}

}  // namespace sedge::engine
