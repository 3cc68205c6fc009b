// The little of Unicode that tokenizers need: UTF-8 that never fails, eight kinds of code points, lower case, and what
// a letter with an accent is without it. A full library (ICU: 30 MB) was rejected; a script of ours writes the tables.
// Source: RFC 3629; Unicode 15.1 (unicode_table.cc): general categories, the White_Space property, simple lower case,
// canonical decomposition.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sedge::model {

struct CodeRange {
  std::uint32_t first, last;  // inclusive
};

// kSpace is the White_Space property, kOther what is not assigned, the others the general categories L, N, M, P, S, C.
enum class CharClass : std::uint8_t { kOther, kSpace, kLetter, kNumber, kMark, kPunctuation, kSymbol, kControl };

struct ClassStart {
  std::uint32_t first;  // this one and all up to the next row's
  CharClass kind;
};
struct CodeMapping {
  std::uint32_t first, last, to;  // every code point of first..last becomes `to`
};
extern const std::span<const ClassStart> kClassStarts;            // ascending, from 0 on
extern const std::span<const CodeMapping> kLowercase;             // ascending; what is absent is its own image
extern const std::span<const CodeMapping> kFirstOfDecomposition;  // likewise

// One character of a text: its code point and how many bytes it takes. A byte that starts no well-formed
// sequence (overlong forms, surrogates and cut sequences included) is a character of its own, kNotUtf8 | byte.
struct CodePoint {
  char32_t code = 0;
  std::uint8_t bytes = 0;
};
inline constexpr char32_t kNotUtf8 = 0x8000'0000;

// Requires: at < text.size().
CodePoint next_code_point(std::string_view text, std::size_t at);

// Appends `code` as UTF-8. Requires: code <= 0x10FFFF.
void append_utf8(std::string& text, char32_t code);

// A byte that is not UTF-8 is a symbol, as U+FFFD is, which other runtimes read in its place.
CharClass char_class(char32_t code);

// One code point for one: the capital dotted I becomes i.
char32_t to_lower(char32_t code);

// The first code point of the canonical decomposition: an accented letter's base.
char32_t base_of(char32_t code);

// Whether `ranges`, ascending, hold `code`.
bool in_ranges(std::span<const CodeRange> ranges, char32_t code);

}  // namespace sedge::model
