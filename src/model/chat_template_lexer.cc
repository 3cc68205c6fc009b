// Source: the Jinja documentation, "Whitespace Control" and "Comments".
#include "model/chat_template_lexer.h"

#include <array>

#include "model/unicode.h"

namespace sedge::model::jinja {

namespace {

constexpr std::string_view kWhite = " \t\n\r\v\f";

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Longer ones first.
constexpr auto kOperators =
    std::to_array<std::string_view>({"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<",
                                     ">",  "=",  "(",  ")",  "[",  "]",  "{", "}", ",", ":", ".", "|"});

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      const std::size_t tag = find_tag();
      text_until(tag);
      if (tag == source_.size()) break;
      SEDGE_CHECK(source_[tag + 1] == '#' ? comment() : inside(source_[tag + 1] == '%'));
    }
    put(TokenKind::kEnd, {}, source_.size());
    return std::move(tokens_);
  }

 private:
  void put(TokenKind kind, std::string text, std::size_t offset) { tokens_.push_back({kind, std::move(text), offset}); }

  std::size_t find_tag() const {
    for (std::size_t i = at_; (i = source_.find('{', i)) != std::string_view::npos; ++i) {
      if (i + 1 < source_.size() && std::string_view("{%#").contains(source_[i + 1])) return i;
    }
    return source_.size();
  }

  // The text before a tag, less what the tag's mark or lstrip_blocks takes off its end.
  void text_until(std::size_t tag) {
    std::string_view text = source_.substr(at_, tag - at_);
    const char mark = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    if (tag < source_.size() && mark == '-') {
      const std::size_t last = text.find_last_not_of(kWhite);
      text = text.substr(0, last == std::string_view::npos ? 0 : last + 1);
    } else if (tag < source_.size() && mark != '+' && source_[tag + 1] != '{') {
      const std::size_t line = text.rfind('\n') + 1;  // npos + 1 == 0
      const bool blank = text.find_first_not_of(" \t", line) == std::string_view::npos;
      if (blank && (line > 0 || line_start_)) text = text.substr(0, line);
    }
    if (!text.empty()) put(TokenKind::kText, std::string(text), at_);
    at_ = tag;
  }

  // After a tag that ends before `at_`: "-" takes all white space, trim_blocks one line end.
  void after_tag(char mark, bool block) {
    line_start_ = false;
    if (mark == '-') {
      const std::size_t next = source_.find_first_not_of(kWhite, at_);
      at_ = next == std::string_view::npos ? source_.size() : next;
      line_start_ = source_[at_ - 1] == '\n';
    } else if (block && mark != '+' && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
      line_start_ = true;
    }
  }

  Status comment() {
    const std::size_t end = source_.find("#}", at_ + 2);
    if (end == std::string_view::npos)
      return fail(Code::kDataLoss, "chat template, offset {}: comment without end", at_);
    const char mark = end > at_ + 2 ? source_[end - 1] : ' ';
    at_ = end + 2;
    after_tag(mark, true);
    return {};
  }

  Status inside(bool block) {
    const std::size_t begin = at_;
    put(block ? TokenKind::kBlockBegin : TokenKind::kOutputBegin, {}, begin);
    at_ += 2;
    if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+')) ++at_;
    for (std::size_t open = 0;;) {
      at_ = std::min(source_.find_first_not_of(kWhite, at_), source_.size());
      if (at_ == source_.size()) return fail(Code::kDataLoss, "chat template, offset {}: tag without end", begin);
      if (open == 0 && tag_end(block)) return {};
      const char c = source_[at_];
      if (std::string_view("([{").contains(c)) ++open;
      if (std::string_view(")]}").contains(c) && open > 0) --open;
      SEDGE_CHECK(token(c));
    }
  }

  bool tag_end(bool block) {
    const char mark = source_[at_] == '-' || source_[at_] == '+' ? source_[at_] : ' ';
    const std::size_t from = at_ + (mark == ' ' ? 0 : 1);
    if (source_.substr(from, 2) != (block ? "%}" : "}}")) return false;
    put(block ? TokenKind::kBlockEnd : TokenKind::kOutputEnd, {}, at_);
    at_ = from + 2;
    after_tag(mark, block);
    return true;
  }

  Status token(char c) {
    if (c == '\'' || c == '"') return string(c);
    const std::size_t begin = at_;
    if (is_name_start(c)) {
      while (at_ < source_.size() && (is_name_start(source_[at_]) || is_digit(source_[at_]))) ++at_;
      put(TokenKind::kName, std::string(source_.substr(begin, at_ - begin)), begin);
      return {};
    }
    if (is_digit(c)) return number();
    for (const std::string_view op : kOperators) {
      if (source_.substr(at_).starts_with(op)) {
        at_ += op.size();
        put(TokenKind::kOperator, std::string(op), begin);
        return {};
      }
    }
    return fail(Code::kDataLoss, "chat template, offset {}: the character {:#04x} has no meaning in a tag", at_,
                static_cast<unsigned char>(c));
  }

  Status number() {
    const std::size_t begin = at_;
    const auto digits = [&] {
      while (at_ < source_.size() && is_digit(source_[at_])) ++at_;
    };
    digits();
    const bool fraction = at_ + 1 < source_.size() && source_[at_] == '.' && is_digit(source_[at_ + 1]);
    if (fraction) {
      ++at_;
      digits();
    }
    put(fraction ? TokenKind::kFloat : TokenKind::kInteger, std::string(source_.substr(begin, at_ - begin)), begin);
    return {};
  }

  Status string(char quote) {
    const std::size_t begin = at_++;
    std::string text;
    for (; at_ < source_.size() && source_[at_] != quote; ++at_) {
      if (source_[at_] != '\\') {
        text += source_[at_];
        continue;
      }
      if (++at_ == source_.size()) break;
      SEDGE_CHECK(escape(text));
    }
    if (at_ == source_.size()) return fail(Code::kDataLoss, "chat template, offset {}: string without end", begin);
    ++at_;
    put(TokenKind::kString, std::move(text), begin);
    return {};
  }

  // Python's escapes; one that it does not know stays as it stands.
  Status escape(std::string& text) {
    constexpr std::string_view kFrom = "nrtbf\\'\"a0v", kTo("\n\r\t\b\f\\'\"\a\0\v", 11);
    const char c = source_[at_];
    if (const std::size_t index = kFrom.find(c); index != std::string_view::npos) {
      text += kTo[index];
    } else if (c == 'x' || c == 'u') {
      const std::size_t digits = c == 'x' ? 2 : 4;
      char32_t code = 0;
      for (std::size_t i = 1; i <= digits; ++i) {
        const std::size_t digit =
            at_ + i < source_.size()
                ? std::string_view("0123456789abcdef").find(static_cast<char>(source_[at_ + i] | 0x20))
                : std::string_view::npos;
        if (digit == std::string_view::npos) return fail(Code::kDataLoss, "chat template, offset {}: bad escape", at_);
        code = code * 16 + static_cast<char32_t>(digit);
      }
      append_utf8(text, code);
      at_ += digits;
    } else {
      text += '\\';
      text += c;
    }
    return {};
  }

  std::string_view source_;
  std::size_t at_ = 0;
  bool line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> lex(std::string_view source) {
  if (source.ends_with('\n')) source.remove_suffix(1);  // one line end at the end of a file is the editor's
  return Lexer(source).run();
}

}  // namespace sedge::model::jinja
