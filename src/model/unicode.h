// The little of Unicode that tokenizers need: UTF-8 that never fails, and three classes of code points. A full
// library (ICU: 30 MB) was rejected; the classes are 1.3 thousand ranges that a script of ours writes.
// Source: RFC 3629; Unicode 14 general categories (unicode_table.cc), White_Space property.
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
extern const std::span<const CodeRange> kLetterRanges;  // \p{L}, ascending
extern const std::span<const CodeRange> kNumberRanges;  // \p{N}, ascending

enum class CharClass : std::uint8_t { kOther, kSpace, kLetter, kNumber };

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

CharClass char_class(char32_t code);

}  // namespace sedge::model
