// Decoding and classes. ASCII answers from a table, the rest by binary search: a tokenizer spends its time elsewhere.
#include "model/unicode.h"

#include <algorithm>

namespace sedge::model {

namespace {

constexpr std::string_view kAsciiSymbols = "$+<=>^`|~";

constexpr CharClass ascii_class(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return CharClass::kLetter;
  if (c >= '0' && c <= '9') return CharClass::kNumber;
  if (c == ' ' || (c >= 9 && c <= 13)) return CharClass::kSpace;
  if (c < ' ' || c == 0x7f) return CharClass::kControl;
  return kAsciiSymbols.contains(c) ? CharClass::kSymbol : CharClass::kPunctuation;
}

constexpr auto kAsciiClasses = [] {
  std::array<CharClass, 128> classes{};
  for (std::size_t i = 0; i < classes.size(); ++i) classes[i] = ascii_class(static_cast<char>(i));
  return classes;
}();

char32_t image(std::span<const CodeMapping> mappings, char32_t code) {
  const auto after = std::ranges::upper_bound(mappings, code, {}, &CodeMapping::first);
  return after != mappings.begin() && code <= std::prev(after)->last ? std::prev(after)->to : code;
}

}  // namespace

CharClass char_class(char32_t code) {
  if (code < kAsciiClasses.size()) return kAsciiClasses[code];
  if (code >= kNotUtf8) return CharClass::kSymbol;
  return std::prev(std::ranges::upper_bound(kClassStarts, code, {}, &ClassStart::first))->kind;
}

char32_t to_lower(char32_t code) { return image(kLowercase, code); }
char32_t base_of(char32_t code) { return image(kFirstOfDecomposition, code); }

bool in_ranges(std::span<const CodeRange> ranges, char32_t code) {
  const auto after = std::ranges::upper_bound(ranges, code, {}, &CodeRange::first);
  return after != ranges.begin() && code <= std::prev(after)->last;
}

CodePoint next_code_point(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> char32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const CodePoint bad{kNotUtf8 | lead, 1};
  const std::uint8_t bytes = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (bytes == 0) return bad;
  char32_t code = lead & (0xffu >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return bad;
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  if (code < kLeast[bytes] || surrogate || code > 0x10ffff) return bad;
  return {code, bytes};
}

void append_utf8(std::string& text, char32_t code) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xc0 | code >> 6);
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
  }
  put(0x80 | (code & 0x3f));
}

}  // namespace sedge::model
