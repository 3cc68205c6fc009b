#include "model/wordpiece.h"

#include <array>

#include "model/unicode.h"

namespace sedge::model {

namespace {

constexpr char32_t kReplacement = 0xfffd;

// The blocks that BERT calls Chinese: each character is a word. The sixth begins 0x100 late in every implementation.
constexpr auto kHanBlocks = std::to_array<CodeRange>({{0x3400, 0x4dbf},
                                                      {0x4e00, 0x9fff},
                                                      {0xf900, 0xfaff},
                                                      {0x20000, 0x2a6df},
                                                      {0x2a700, 0x2b73f},
                                                      {0x2b740, 0x2b81f},
                                                      {0x2b920, 0x2ceaf},
                                                      {0x2f800, 0x2fa1f}});

bool stands_alone(char32_t code, CharClass kind) {
  return kind == CharClass::kPunctuation || (kind == CharClass::kSymbol && code < 0x7f) || in_ranges(kHanBlocks, code);
}

bool is_dropped(char32_t code, CharClass kind, WordpieceOptions options) {
  if (kind == CharClass::kControl || code == kReplacement || code >= kNotUtf8) return true;
  return options.strip_accents && kind == CharClass::kMark;
}

}  // namespace

std::vector<std::string> wordpiece_words(std::string_view text, WordpieceOptions options) {
  std::vector<std::string> words;
  bool open = false;  // the last word goes on
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = next_code_point(text, at);
    at += point.bytes;
    const bool decompose = options.strip_accents && point.code < kNotUtf8;
    const char32_t code = decompose ? base_of(point.code) : point.code;
    const CharClass kind = char_class(code);
    if (kind == CharClass::kSpace) open = false;
    if (kind == CharClass::kSpace || is_dropped(code, kind, options)) continue;
    const bool alone = stands_alone(code, kind);
    if (alone || !open) words.emplace_back(" ");
    append_utf8(words.back(), options.lowercase ? to_lower(code) : code);
    open = !alone;
  }
  return words;
}

}  // namespace sedge::model
