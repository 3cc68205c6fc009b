// What a pre-tokenizer is made of: cuts, each of which splits every piece that the cuts before it left. A cut is one
// published regular expression or a family of them that differ in a few places, and those places are its fields.
// Source: docs/formats/tokenizer.md §3, which has the expressions.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "model/unicode.h"

namespace sedge::model {

constexpr unsigned bit(CharClass kind) { return 1u << static_cast<unsigned>(kind); }
inline constexpr unsigned kSpaces = bit(CharClass::kSpace);
inline constexpr unsigned kLetters = bit(CharClass::kLetter);
inline constexpr unsigned kNumbers = bit(CharClass::kNumber);
inline constexpr unsigned kMarks = bit(CharClass::kMark);
inline constexpr unsigned kPunctuation = bit(CharClass::kPunctuation);
inline constexpr unsigned kSymbols = bit(CharClass::kSymbol);

// [...]: the classes and the ranges, or [^...]. White space beyond ASCII is only ever met as a class.
struct CharSet {
  unsigned classes = 0;
  std::span<const CodeRange> ranges = {};
  bool negated = false;
};

// \s?[set]{min,max}
struct RunCut {
  enum class Prefix : std::uint8_t { kNone, kBlank, kAnySpace };

  CharSet set;
  Prefix prefix = Prefix::kNone;
  std::size_t chars_min = 1, chars_max = SIZE_MAX;
  bool to_the_end = false;  // $: only a run that ends the piece
};

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
struct Gpt2Cut {};

// (?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ and its kin.
struct WordCut {
  enum class Letters : std::uint8_t {
    kPlain,           // \p{L}+
    kWithMarks,       // [\p{L}\p{M}]+
    kCased,           // [^a-z]*[^A-Z]+|[^a-z]+[^A-Z]* of \p{L}: a new word where capitals begin
    kCasedWithMarks,  // the same of [\p{L}\p{M}]
    kSpaced,          // (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+: blanks between letters stay inside
    kNotHan,          // \p{L}+ without Han characters, which are words of their own, before all else
  };
  enum class Tail : std::uint8_t { kNone, kLines, kLinesSlash, kOneLineSlash };  // after other characters

  bool contractions = true;  // a word of its own: 'll
  Letters letters = Letters::kPlain;
  bool ends_in_contraction = false;  // a part of the letters before it: he'll
  std::size_t digits_max = SIZE_MAX;
  unsigned not_other = kSpaces | kLetters | kNumbers;  // what ` ?[^...]+` leaves out
  Tail tail = Tail::kLines;
  bool halved_spaces = false;  // \s{512}(?!\S)|\s{256}(?!\S)|...|\s{4}(?!\S)|\s{1,2}(?!\S)|\s
};

// [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
struct SymbolCut {
  bool lines_alone = false;  // every line end by itself: no [\r\n]* behind symbols, [\r\n] for \s*[\r\n]+
};

// A run of numbers in threes, counted from its right end: 1 234 567. What stands before it stays with its first group,
// as in llama.cpp, where the published expression keeps them apart.
struct DigitGroupCut {};

// (?=(\d{3})+(?!\d)): the same for ASCII digits, without a cut where they begin.
struct BeforeTriplesCut {};

// What one model's expression names: <sentinel:12>, and IMGIMG, one to four letters of A-I, Z; blanks in pairs and
// fours.
struct SentinelCut {};
struct ImageCut {};
struct BlankPairCut {};

using Cut = std::variant<RunCut, Gpt2Cut, WordCut, SymbolCut, DigitGroupCut, BeforeTriplesCut, SentinelCut, ImageCut,
                         BlankPairCut>;

// Appends the pieces that `cut` makes of `text`; their concatenation is `text`. Gives how many characters it looked at:
// linear in the text, whatever stands there, which tests hold it to.
std::size_t apply_cut(std::string_view text, const Cut& cut, std::vector<std::string_view>& pieces);

}  // namespace sedge::model
