// A piece of text under a cut: classes of characters, runs of them, and what is remembered so that each cut is linear.
// An expression asks twice about one run of white space (does a line end in it? what follows it?) and once for each
// step it takes inside; without a memory a megabyte of blanks would cost its square.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "model/bpe_cuts.h"

namespace sedge::model {

class Scanner {
 public:
  struct Char {
    char32_t code;
    CharClass kind;
    std::size_t end;
  };

  // A maximal run of white space, as seen from its begin.
  struct Spaces {
    std::size_t begin = 0, end = 0;
    std::size_t last = 0;       // where its last character begins
    std::size_t lines_end = 0;  // behind its last line end; 0 for none
  };

  explicit Scanner(std::string_view text) : text_(text) {}

  std::string_view text() const { return text_; }
  std::size_t size() const { return text_.size(); }
  std::size_t looks() const { return looks_; }  // the work so far
  bool done(std::size_t at) const { return at >= text_.size(); }
  char byte(std::size_t at) const { return done(at) ? '\0' : text_[at]; }

  // Past the end: white space that ends where it begins, so that no run goes on.
  Char look(std::size_t at) const {
    ++looks_;
    if (done(at)) return {0, CharClass::kSpace, at};
    const CodePoint point = next_code_point(text_, at);
    return {point.code, char_class(point.code), at + point.bytes};
  }

  bool is(std::size_t at, unsigned classes) const { return !done(at) && (bit(look(at).kind) & classes) != 0; }

  // The end of the run of `classes` at `at`.
  std::size_t run(std::size_t at, unsigned classes, std::size_t chars_max = SIZE_MAX) const {
    for (; !done(at) && chars_max > 0; --chars_max) {
      const Char c = look(at);
      if ((bit(c.kind) & classes) == 0) break;
      at = c.end;
    }
    return at;
  }

  // The end of the run at `at` of bytes that are in `bytes`.
  std::size_t run_of(std::size_t at, std::string_view bytes, std::size_t max = SIZE_MAX) const {
    for (; !done(at) && max > 0 && bytes.contains(text_[at]); --max) ++at;
    return at;
  }

  // Requires: white space at `at`.
  const Spaces& spaces(std::size_t at) {
    if (at < spaces_.begin || at >= spaces_.end) {
      spaces_ = {at, at, at, 0};
      for (std::size_t i = at; is(i, kSpaces);) {
        spaces_.last = i;
        if (text_[i] == '\r' || text_[i] == '\n') spaces_.lines_end = i + 1;
        spaces_.end = i = look(i).end;
      }
    }
    return spaces_;
  }

  // "\s*[\r\n]+": white space up to its last line end, or `at`.
  std::size_t lines(std::size_t at) { return is(at, kSpaces) ? std::max(at, spaces(at).lines_end) : at; }

  // "\s+(?!\S)|\s+": all of a run at the end of the piece, else all but its last character, which goes to the next
  // word.
  std::size_t all_but_last_space(std::size_t at) {
    if (!is(at, kSpaces)) return at;
    const Spaces& run = spaces(at);
    return run.end == size() || run.last == at ? run.end : run.last;
  }

  // "'s|'t|'re|'ve|'m|'ll|'d", its end or `at`.
  std::size_t contraction(std::size_t at, bool any_case) const {
    static constexpr auto kEndings = std::to_array<std::string_view>({"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"});
    if (byte(at) != '\'') return at;
    const auto same = [&](char in_text, char in_table) {
      return in_text == in_table || (any_case && in_text == in_table - 'a' + 'A' && in_table >= 'a');
    };
    for (const std::string_view ending : kEndings) {
      if (std::ranges::equal(text_.substr(at, ending.size()), ending, same)) return at + ending.size();
    }
    return at;
  }

 private:
  std::string_view text_;
  Spaces spaces_;
  mutable std::size_t looks_ = 0;
};

}  // namespace sedge::model
