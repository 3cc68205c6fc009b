// The scanners. Each alternative of an expression is one function that says how far it matches at a place, and they
// are tried in the order of the expression, which is what a leftmost-first regex engine does. What no alternative
// matches stays together up to the next match.
#include "model/bpe_cuts.h"

#include <algorithm>
#include <string_view>

#include "model/bpe_scanner.h"

namespace sedge::model {

namespace {

constexpr std::string_view kLineEnds = "\r\n";

// Of every cut below: the end of its match at `at`, or `at` for none.

bool holds(const CharSet& set, const Scanner::Char& c) {
  const bool by_range = in_ranges(set.ranges, c.code) && (c.code < 0x80 || c.kind != CharClass::kSpace);
  return ((bit(c.kind) & set.classes) != 0 || by_range) != set.negated;
}

std::size_t match(Scanner& text, const RunCut& cut, std::size_t at) {
  std::size_t end = at;
  if (cut.prefix == RunCut::Prefix::kBlank && text.byte(at) == ' ') end = at + 1;
  if (cut.prefix == RunCut::Prefix::kAnySpace && text.is(at, kSpaces)) end = text.look(at).end;
  if (cut.to_the_end) {
    const bool ends = text.is(at, kSpaces) && text.spaces(at).end == text.size();
    return ends ? text.size() : at;
  }
  std::size_t chars = 0;
  while (chars < cut.chars_max && !text.done(end) && holds(cut.set, text.look(end))) {
    end = text.look(end).end;
    ++chars;
  }
  return chars >= cut.chars_min ? end : at;
}

std::size_t match(Scanner& text, const Gpt2Cut&, std::size_t at) {
  if (const std::size_t end = text.contraction(at, false); end > at) return end;
  constexpr unsigned kRest = ~(kSpaces | kLetters | kNumbers);
  const std::size_t start = text.byte(at) == ' ' ? at + 1 : at;
  for (const unsigned classes : {kLetters, kNumbers, kRest}) {
    if (const std::size_t end = text.run(start, classes); end > start) return end;
  }
  return text.all_but_last_space(at);
}

bool is_han(char32_t code) {
  static constexpr auto kHan = std::to_array<CodeRange>({{0x3400, 0x4dbf},
                                                         {0x4e00, 0x9fff},
                                                         {0xf900, 0xfaff},
                                                         {0x20000, 0x2a6df},
                                                         {0x2a700, 0x2b73f},
                                                         {0x2b740, 0x2ebef},
                                                         {0x2f800, 0x2fa1f}});
  return in_ranges(kHan, code);
}

std::size_t run_of_han(const Scanner& text, std::size_t at, bool han, unsigned classes) {
  while (text.is(at, classes) && is_han(text.look(at).code) == han) at = text.look(at).end;
  return at;
}

// "[^a-z]*[^A-Z]+" of the classes, or `at`: the first part gives back what the second needs.
std::size_t small_end(const Scanner& text, std::size_t at, unsigned classes) {
  std::size_t end = at, caseless_end = at;
  for (; text.is(end, classes) && !(text.byte(end) >= 'a' && text.byte(end) <= 'z'); end = text.look(end).end) {
    if (!(text.byte(end) >= 'A' && text.byte(end) <= 'Z')) caseless_end = text.look(end).end;
  }
  const std::size_t small = end;
  while (text.is(end, classes) && !(text.byte(end) >= 'A' && text.byte(end) <= 'Z')) end = text.look(end).end;
  return end > small ? end : caseless_end;
}

// "P?[^a-z]*[^A-Z]+|P?[^a-z]+[^A-Z]*" of the classes, where P is what stands at `at` if `prefixed`. A mark may be P, or
// be one of the letters where P leaves none.
std::size_t cased(const Scanner& text, std::size_t at, unsigned classes, bool prefixed) {
  const std::size_t behind = text.look(at).end;
  if (prefixed) {
    if (const std::size_t end = small_end(text, behind, classes); end > behind) return end;
  }
  if (const std::size_t end = small_end(text, at, classes); end > at) return end;
  const std::size_t start = prefixed ? behind : at;
  const std::size_t end = text.run(start, classes);  // capitals alone are left
  return end > start ? end : at;
}

// "(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+"
std::size_t spaced(const Scanner& text, std::size_t at) {
  while (text.is(at, kLetters)) {
    at = text.run(text.look(at).end, kMarks);
    if (text.byte(at) == ' ' && text.is(at + 1, kLetters)) ++at;
  }
  return at;
}

// "[^\r\n\p{L}\p{N}]?" and letters, in the manner of the cut.
std::size_t match_letters(const Scanner& text, const WordCut& cut, std::size_t at) {
  using Letters = WordCut::Letters;
  const Scanner::Char first = text.look(at);
  if (first.kind == CharClass::kNumber || first.code == '\r' || first.code == '\n') return at;
  const bool prefixed = first.kind != CharClass::kLetter;
  const unsigned with_marks = kLetters | kMarks;
  if (cut.letters == Letters::kCased) return cased(text, at, kLetters, prefixed);
  if (cut.letters == Letters::kCasedWithMarks) return cased(text, at, with_marks, prefixed);
  std::size_t start = prefixed ? first.end : at, end = start;
  switch (cut.letters) {
    case Letters::kSpaced:
      end = spaced(text, start);
      break;
    case Letters::kNotHan:
      end = run_of_han(text, start, false, kLetters);
      break;
    case Letters::kWithMarks:
      if (first.kind == CharClass::kMark) start = at;
      end = text.run(start, with_marks);
      break;
    default:
      end = text.run(start, kLetters);
  }
  return end > start ? end : at;
}

std::size_t match_tail(const Scanner& text, WordCut::Tail tail, std::size_t at) {
  using Tail = WordCut::Tail;
  if (tail == Tail::kNone) return at;
  if (tail == Tail::kLines) return text.run_of(at, kLineEnds);
  return text.run_of(at, "\r\n/", tail == Tail::kOneLineSlash ? 1 : SIZE_MAX);
}

// As many characters as the largest of 512, 256 ... 4, 2, 1 that leaves white space or nothing behind.
std::size_t halved(Scanner& text, std::size_t at) {
  constexpr std::size_t kMost = 512;
  const Scanner::Spaces& spaces = text.spaces(at);
  std::size_t chars = 0;
  for (std::size_t end = at; chars <= kMost && end < spaces.end; ++chars) end = text.look(end).end;
  std::size_t step = kMost;
  while (step > 1 && (chars < step || (chars == step && spaces.end < text.size()))) step /= 2;
  return text.run(at, kSpaces, step);
}

std::size_t match(Scanner& text, const WordCut& cut, std::size_t at) {
  const bool apart = cut.letters == WordCut::Letters::kNotHan;
  if (const std::size_t end = apart ? run_of_han(text, at, true, ~0u) : at; end > at) return end;
  if (const std::size_t end = cut.contractions ? text.contraction(at, true) : at; end > at) return end;
  if (const std::size_t end = match_letters(text, cut, at); end > at) {
    return cut.ends_in_contraction ? text.contraction(end, true) : end;
  }
  if (text.is(at, kNumbers)) return text.run(at, kNumbers, cut.digits_max);
  const std::size_t start = text.byte(at) == ' ' ? at + 1 : at;
  if (const std::size_t end = text.run(start, ~cut.not_other); end > start) return match_tail(text, cut.tail, end);
  if (const std::size_t end = text.lines(at); end > at) return end;
  return cut.halved_spaces && text.is(at, kSpaces) ? halved(text, at) : text.all_but_last_space(at);
}

std::size_t match(Scanner& text, const SymbolCut& cut, std::size_t at) {
  const Scanner::Char first = text.look(at);
  if (first.code < 0x80 && text.is(at, kPunctuation | kSymbols)) {
    std::size_t end = first.end;
    while (text.look(end).code < 0x80 && text.is(end, kLetters)) ++end;
    if (end > first.end) return end;
  }
  const bool prefix = !text.is(at, kLetters | kMarks | kPunctuation | kSymbols) && !kLineEnds.contains(text.byte(at));
  const std::size_t letters = prefix ? first.end : at;
  if (const std::size_t end = text.run(letters, kLetters | kMarks); end > letters) return end;
  const std::size_t start = text.byte(at) == ' ' ? at + 1 : at;
  if (const std::size_t end = text.run(start, kPunctuation | kSymbols); end > start) {
    return cut.lines_alone ? end : text.run_of(end, kLineEnds);
  }
  if (cut.lines_alone && text.run_of(at, kLineEnds, 1) > at) return at + 1;
  if (const std::size_t end = cut.lines_alone ? at : text.lines(at); end > at) return end;
  return text.all_but_last_space(at);
}

std::size_t match(Scanner& text, const SentinelCut&, std::size_t at) {
  constexpr std::string_view kName = "<sentinel:";
  if (!text.text().substr(at).starts_with(kName)) return at;
  const std::size_t digits = at + kName.size(), end = text.run_of(digits, "0123456789");
  return end > digits && text.byte(end) == '>' ? end + 1 : at;
}

std::size_t match(Scanner& text, const ImageCut&, std::size_t at) {
  constexpr std::string_view kName = "IMGIMG";
  if (!text.text().substr(at).starts_with(kName)) return at;
  const std::size_t letters = at + kName.size(), end = text.run_of(letters, "ABCDEFGHI", 4);
  return end > letters && text.byte(end) == 'Z' ? end + 1 : at;
}

std::size_t match(Scanner& text, const BlankPairCut&, std::size_t at) {
  if (text.byte(at) == '\t' || text.byte(at) == '\n') return at + 1;
  const std::size_t blanks = text.run_of(at, " ", 4) - at;
  return blanks == 4 ? at + 4 : blanks >= 2 ? at + 2 : at;
}

template <class CutKind>
std::size_t split(std::string_view piece, const CutKind& cut, std::vector<std::string_view>& pieces) {
  Scanner text(piece);
  std::size_t from = 0;
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t end = match(text, cut, at);
    if (end == at) {
      at = text.look(at).end;
      continue;
    }
    if (at > from) pieces.push_back(piece.substr(from, at - from));
    pieces.push_back(piece.substr(at, end - at));
    from = at = end;
  }
  if (from < piece.size()) pieces.push_back(piece.substr(from));
  return text.looks();
}

std::size_t split(std::string_view piece, const DigitGroupCut&, std::vector<std::string_view>& pieces) {
  const Scanner text(piece);
  std::size_t from = 0;
  for (std::size_t at = 0; at < piece.size();) {
    std::size_t chars = 0;
    for (std::size_t end = at; text.is(end, kNumbers); end = text.look(end).end) ++chars;
    if (chars == 0) at = text.look(at).end;
    for (std::size_t group = 0; chars > 0; chars -= group) {
      group = chars % 3 == 0 ? 3 : chars % 3;
      at = text.run(at, kNumbers, group);
      pieces.push_back(piece.substr(from, at - from));
      from = at;
    }
  }
  if (from < piece.size()) pieces.push_back(piece.substr(from));
  return text.looks();
}

std::size_t split(std::string_view piece, const BeforeTriplesCut&, std::vector<std::string_view>& pieces) {
  const Scanner text(piece);
  std::size_t from = 0;
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t end = text.run_of(at, "0123456789");
    if (end == at) ++at;
    for (; at < end; ++at) {
      if ((end - at) % 3 != 0 || at == from) continue;
      pieces.push_back(piece.substr(from, at - from));
      from = at;
    }
  }
  if (from < piece.size()) pieces.push_back(piece.substr(from));
  return piece.size();
}

}  // namespace

std::size_t apply_cut(std::string_view text, const Cut& cut, std::vector<std::string_view>& pieces) {
  return std::visit([&](const auto& kind) { return split(text, kind, pieces); }, cut);
}

}  // namespace sedge::model
