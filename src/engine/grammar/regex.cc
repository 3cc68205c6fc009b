#include "engine/grammar/regex.h"

#include <optional>
#include <utility>
#include <vector>

#include "model/unicode.h"

namespace sedge::engine {
namespace {

constexpr std::size_t kNestedMax = 24;
constexpr std::uint32_t kRepeatMax = 1u << 16;

CodeSet digits() { return {{U'0', U'9'}}; }
CodeSet word() { return {{U'0', U'9'}, {U'A', U'Z'}, {U'_', U'_'}, {U'a', U'z'}}; }
CodeSet space() {
  return {{U'\t', U'\r'},   {U' ', U' '},     {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}
CodeSet line_ends() { return {{U'\n', U'\n'}, {U'\r', U'\r'}, {0x2028, 0x2029}}; }

class Reader {
 public:
  using Expr = GrammarBuilder::Expr;
  Reader(std::string_view text, GrammarBuilder& builder, const std::function<Expr(const CodeSet&)>& spell)
      : text_(text), builder_(builder), spell_(spell) {}

  Result<Expr> read() {
    const Expr anything = builder_.repeat(spell_(CodeSet::any()), 0, GrammarBuilder::kNoLimit);
    std::vector<Expr> ways;
    do {
      const Expr front = take('^') ? builder_.nothing() : anything;
      SEDGE_TRY(const Expr middle, read_sequence());
      ways.push_back(builder_.sequence({front, middle, take('$') ? builder_.nothing() : anything}));
    } while (take('|'));
    if (at_ < text_.size()) return wrong(is('$') || is('^') ? "an anchor within the pattern" : "an unmatched ')'");
    return builder_.choice(std::move(ways));
  }

 private:
  std::unexpected<Error> wrong(std::string_view what) const {
    return fail(Code::kInvalidArgument, "pattern at offset {}: {} is not supported", at_, what);
  }
  bool is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char c) { return is(c) && ++at_; }

  Result<Expr> read_sequence() {
    std::vector<Expr> parts;
    while (at_ < text_.size() && !is('|') && !is(')') && !is('$') && !is('^')) {
      SEDGE_TRY(const Expr item, read_item());
      SEDGE_TRY(parts.emplace_back(), read_repetition(item));
    }
    return builder_.sequence(std::move(parts));
  }

  Result<Expr> read_item() {
    if (take('(')) return read_group();
    if (take('[')) {
      SEDGE_TRY(const CodeSet set, read_class());
      return spell_(set);
    }
    if (take('.')) return spell_(line_ends().complement());
    if (is('*') || is('+') || is('?') || is('{')) return wrong("a repetition of nothing");
    SEDGE_TRY(const CodeSet set, read_set());
    return spell_(set);
  }

  Result<Expr> read_group() {
    if (take('?') && !take(':')) return wrong("a group that looks around or has a name");
    if (++nested_ > kNestedMax) return wrong("so deep a nesting of groups");
    std::vector<Expr> ways;
    do {
      SEDGE_TRY(ways.emplace_back(), read_sequence());
    } while (take('|'));
    if (!take(')')) return wrong(is('$') || is('^') ? "an anchor within a group" : "a group without ')'");
    --nested_;
    return builder_.choice(std::move(ways));
  }

  // One character, or an escape for several.
  Result<CodeSet> read_set() {
    if (!take('\\')) {
      const model::CodePoint point = model::next_code_point(text_, at_);
      if ((point.code & model::kNotUtf8) != 0) return wrong("text that is not UTF-8");
      at_ += point.bytes;
      return CodeSet{{point.code, point.code}};
    }
    if (at_ == text_.size()) return wrong("an escape cut short");
    const char c = text_[at_++];
    switch (c) {
      case 'd':
        return digits();
      case 'D':
        return digits().complement();
      case 'w':
        return word();
      case 'W':
        return word().complement();
      case 's':
        return space();
      case 'S':
        return space().complement();
      case 'x':
        return read_hex(2);
      case 'u':
        return read_hex(4);
      default:
        return read_plain_escape(c);
    }
  }

  Result<CodeSet> read_plain_escape(char c) {
    static constexpr std::pair<char, char32_t> kControls[] = {{'n', U'\n'}, {'r', U'\r'}, {'t', U'\t'},
                                                              {'f', U'\f'}, {'v', U'\v'}, {'0', U'\0'}};
    for (const auto& [name, code] : kControls) {
      if (c == name) return CodeSet{{code, code}};
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9');
    if (letter || static_cast<unsigned char>(c) >= 0x80) return wrong(fmt::format("the escape \\{}", c));
    const auto code = static_cast<char32_t>(c);
    return CodeSet{{code, code}};
  }

  Result<CodeSet> read_hex(std::size_t count) {
    char32_t code = 0;
    for (std::size_t i = 0; i < count; ++i, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      if (c >= '0' && c <= '9') {
        code = code * 16 + static_cast<char32_t>(c - '0');
      } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
        code = code * 16 + static_cast<char32_t>((c | 0x20) - 'a' + 10);
      } else {
        return wrong("an escape without its hexadecimal digits");
      }
    }
    if (code >= 0xD800 && code <= 0xDFFF) return wrong("half of a surrogate pair");
    return CodeSet{{code, code}};
  }

  Result<CodeSet> read_class() {
    const bool others = take('^');
    CodeSet set;
    while (!take(']')) {
      if (at_ == text_.size()) return wrong("a class without ']'");
      SEDGE_TRY(const CodeSet first, read_set_in_class());
      const bool range = is('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
      if (!range) {
        set.add(first);
        continue;
      }
      ++at_;
      SEDGE_TRY(const CodeSet last, read_set_in_class());
      const auto one = [](const CodeSet& s) {
        return s.ranges().size() == 1 && s.ranges()[0].first == s.ranges()[0].last;
      };
      if (!one(first) || !one(last) || last.ranges()[0].last < first.ranges()[0].first) return wrong("this range");
      set.add(first.ranges()[0].first, last.ranges()[0].last);
    }
    return others ? set.complement() : set;
  }

  Result<CodeSet> read_set_in_class() {
    if (text_.substr(at_).starts_with("\\b")) return at_ += 2, CodeSet{{U'\b', U'\b'}};
    return read_set();
  }

  Result<Expr> read_repetition(Expr item) {
    std::uint32_t min = 0, max = GrammarBuilder::kNoLimit;
    if (take('+')) {
      min = 1;
    } else if (take('?')) {
      max = 1;
    } else if (take('{')) {
      SEDGE_TRY(min, read_count());
      max = min;
      if (take(',')) {
        max = GrammarBuilder::kNoLimit;
        if (!is('}')) {
          SEDGE_TRY(max, read_count());
        }
      }
      if (!take('}') || max < min) return wrong("this repetition");
    } else if (!take('*')) {
      return item;
    }
    take('?');  // a lazy one matches the same texts
    return builder_.repeat(item, min, max);
  }

  Result<std::uint32_t> read_count() {
    std::uint32_t count = 0;
    const std::size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      count = count * 10 + static_cast<std::uint32_t>(text_[at_] - '0');
      if (count > kRepeatMax) return wrong(fmt::format("a repetition above {}", kRepeatMax));
    }
    if (at_ == begin) return wrong("a '{' without a count");
    return count;
  }

  std::string_view text_;
  std::size_t at_ = 0, nested_ = 0;
  GrammarBuilder& builder_;
  const std::function<Expr(const CodeSet&)>& spell_;
};

}  // namespace

Result<GrammarBuilder::Expr> read_regex(std::string_view pattern, GrammarBuilder& builder,
                                        const std::function<GrammarBuilder::Expr(const CodeSet&)>& spell) {
  return Reader(pattern, builder, spell).read();
}

}  // namespace sedge::engine
