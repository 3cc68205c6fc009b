// The two scanners. Each alternative of the expression is one function that says how far it matches at a place, and
// they are tried in the order of the expression, which is what a leftmost-first regex engine does.
#include "model/bpe_words.h"

#include <algorithm>
#include <array>
#include <string>

#include "model/unicode.h"

namespace sedge::model {

namespace {

constexpr auto kPreTokenizers = std::to_array<PreTokenizer>({
    {.name = "gpt-2", .rule = WordRule::kGpt2, .digits = 0},
    {.name = "mpt", .rule = WordRule::kGpt2, .digits = 0},
    {.name = "olmo", .rule = WordRule::kGpt2, .digits = 0},
    {.name = "starcoder", .rule = WordRule::kGpt2, .digits = 1},
    {.name = "refact", .rule = WordRule::kGpt2, .digits = 1},
    {.name = "command-r", .rule = WordRule::kGpt2, .digits = 1},
    {.name = "smollm", .rule = WordRule::kGpt2, .digits = 1},
    {.name = "llama-bpe", .rule = WordRule::kLlama3, .digits = 3, .whole_words = true, .add_bos = true},
    {.name = "llama3", .rule = WordRule::kLlama3, .digits = 3, .whole_words = true, .add_bos = true},
    {.name = "llama-v3", .rule = WordRule::kLlama3, .digits = 3, .whole_words = true, .add_bos = true},
    {.name = "dbrx", .rule = WordRule::kLlama3, .digits = 3},
    {.name = "smaug-bpe", .rule = WordRule::kLlama3, .digits = 3},
    {.name = "qwen2", .rule = WordRule::kLlama3, .digits = 1},
    {.name = "stablelm2", .rule = WordRule::kLlama3, .digits = 1},
    {.name = "deepseek-r1-qwen", .rule = WordRule::kLlama3, .digits = 1},
});

constexpr auto kContractions = std::to_array<std::string_view>({"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"});

// A place in the text. Every `match_*` gives the end of its match, or `at` for none.
class Scanner {
 public:
  Scanner(std::string_view text, const PreTokenizer& pre) : text_(text), pre_(pre) {}

  std::size_t word_end(std::size_t at) const { return pre_.rule == WordRule::kGpt2 ? gpt2_word(at) : llama3_word(at); }

 private:
  struct Char {
    char32_t code;
    CharClass kind;
    std::size_t end;
  };

  // Past the end: a space that ends where it begins, so that no run goes on.
  Char look(std::size_t at) const {
    if (at >= text_.size()) return {0, CharClass::kSpace, at};
    const CodePoint point = next_code_point(text_, at);
    return {point.code, char_class(point.code), at + point.bytes};
  }

  std::size_t run(std::size_t at, CharClass kind, std::size_t chars_max = SIZE_MAX) const {
    for (; at < text_.size() && chars_max > 0; --chars_max) {
      const Char c = look(at);
      if (c.kind != kind) break;
      at = c.end;
    }
    return at;
  }

  std::size_t newlines(std::size_t at) const {
    while (at < text_.size() && (text_[at] == '\r' || text_[at] == '\n')) ++at;
    return at;
  }

  std::size_t match_contraction(std::size_t at, bool any_case) const {
    if (text_[at] != '\'') return at;
    const auto same = [&](char in_text, char in_table) {
      return in_text == in_table || (any_case && in_text == in_table - 'a' + 'A' && in_table >= 'a');
    };
    for (const std::string_view ending : kContractions) {
      if (std::ranges::equal(text_.substr(at, ending.size()), ending, same)) return at + ending.size();
    }
    return at;
  }

  // " ?X+" for the class of the first character after the optional space.
  std::size_t match_run(std::size_t at) const {
    const std::size_t start = text_[at] == ' ' ? at + 1 : at;
    const CharClass kind = look(start).kind;
    return kind == CharClass::kSpace ? at : run(start, kind);
  }

  // "\s+(?!\S)|\s+": all of a run at the end of the text, else all but its last character, which goes to the next word.
  std::size_t match_spaces(std::size_t at) const {
    std::size_t last = at, end = at;
    while (end < text_.size() && look(end).kind == CharClass::kSpace) {
      last = end;
      end = look(end).end;
    }
    return end == text_.size() || last == at ? end : last;
  }

  // "\s*[\r\n]+": a run of white space up to its last line end.
  std::size_t match_lines(std::size_t at) const {
    std::size_t end = at;
    for (std::size_t i = at; i < text_.size() && look(i).kind == CharClass::kSpace;) {
      const bool line_end = text_[i] == '\r' || text_[i] == '\n';
      i = look(i).end;
      if (line_end) end = i;
    }
    return end;
  }

  // "[^\r\n\p{L}\p{N}]?\p{L}+"
  std::size_t match_letters(std::size_t at) const {
    const Char first = look(at);
    if (first.kind == CharClass::kLetter) return run(at, CharClass::kLetter);
    if (first.kind == CharClass::kNumber || first.code == '\r' || first.code == '\n') return at;
    const std::size_t end = run(first.end, CharClass::kLetter);
    return end == first.end ? at : end;
  }

  std::size_t gpt2_word(std::size_t at) const {
    if (const std::size_t end = match_contraction(at, false); end > at) return end;
    if (const std::size_t end = match_run(at); end > at) return end;
    return match_spaces(at);
  }

  std::size_t llama3_word(std::size_t at) const {
    if (const std::size_t end = match_contraction(at, true); end > at) return end;
    if (const std::size_t end = match_letters(at); end > at) return end;
    if (look(at).kind == CharClass::kNumber) return run(at, CharClass::kNumber, pre_.digits);
    const std::size_t start = text_[at] == ' ' ? at + 1 : at;
    if (const std::size_t end = run(start, CharClass::kOther); end > start) return newlines(end);
    if (const std::size_t end = match_lines(at); end > at) return end;
    return match_spaces(at);
  }

  std::string_view text_;
  const PreTokenizer& pre_;
};

void scan_words(std::string_view text, const PreTokenizer& pre, std::vector<std::string_view>& words) {
  const Scanner scanner(text, pre);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = scanner.word_end(at);
    words.push_back(text.substr(at, end - at));
    at = end;
  }
}

}  // namespace

const PreTokenizer* find_pre_tokenizer(std::string_view name) {
  if (name.empty() || name == "default") name = "gpt-2";
  const auto found = std::ranges::find(kPreTokenizers, name, &PreTokenizer::name);
  return found == kPreTokenizers.end() ? nullptr : &*found;
}

std::string_view pre_tokenizer_names() {
  static const std::string names = [] {
    std::string all;
    for (const PreTokenizer& pre : kPreTokenizers) all.append(all.empty() ? "" : ", ").append(pre.name);
    return all;
  }();
  return names;
}

void split_words(std::string_view text, const PreTokenizer& pre, std::vector<std::string_view>& words) {
  if (pre.rule != WordRule::kGpt2 || pre.digits == 0) return scan_words(text, pre, words);
  std::size_t from = 0;  // digits stand alone, and what lies between is scanned as texts of their own
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = next_code_point(text, at);
    if (char_class(point.code) == CharClass::kNumber) {
      scan_words(text.substr(from, at - from), pre, words);
      words.push_back(text.substr(at, point.bytes));
      from = at + point.bytes;
    }
    at += point.bytes;
  }
  scan_words(text.substr(from), pre, words);
}

}  // namespace sedge::model
