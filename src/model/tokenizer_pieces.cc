// GPT-2's alphabet: the bytes that are visible letters in Latin-1 stand for themselves, the 68 others take the
// code points from 256 on, in order. Source: Radford et al. 2019, the published encoder's byte table.
#include "model/tokenizer_pieces.h"

#include <array>

#include <fmt/format.h>

#include "model/unicode.h"

namespace sedge::model {

namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

struct Alphabet {
  std::array<char32_t, 256> letter{};
  std::array<std::int16_t, 256 + 68> byte{};  // of a code point, -1 for none

  constexpr Alphabet() {
    byte.fill(-1);
    char32_t next = 256;
    for (unsigned b = 0; b < 256; ++b) {
      letter[b] = stands_for_itself(b) ? b : next++;
      byte[letter[b]] = static_cast<std::int16_t>(b);
    }
  }
};
constexpr Alphabet kAlphabet;

std::string replace_all(std::string_view text, std::string_view what, std::string_view with) {
  std::string result;
  for (;;) {
    const std::size_t at = text.find(what);
    result += text.substr(0, at);
    if (at == std::string_view::npos) return result;
    result += with;
    text.remove_prefix(at + what.size());
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::optional<std::uint8_t> byte_of_piece(std::string_view spelled) {
  if (spelled.size() != 6 || !spelled.starts_with("<0x") || spelled[5] != '>') return {};
  const int high = hex_digit(spelled[3]), low = hex_digit(spelled[4]);
  if (high < 0 || low < 0) return {};
  return static_cast<std::uint8_t>(high * 16 + low);
}

std::string piece_of_byte(std::uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

std::string to_byte_letters(std::string_view bytes) {
  std::string letters;
  for (const char c : bytes) append_utf8(letters, kAlphabet.letter[static_cast<unsigned char>(c)]);
  return letters;
}

std::string from_byte_letters(std::string_view letters) {
  std::string bytes;
  for (std::size_t at = 0; at < letters.size();) {
    const CodePoint point = next_code_point(letters, at);
    const int byte = point.code < kAlphabet.byte.size() ? kAlphabet.byte[point.code] : -1;
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
    } else {
      bytes += letters.substr(at, point.bytes);
    }
    at += point.bytes;
  }
  return bytes;
}

std::string to_sentencepiece_spaces(std::string_view text) { return replace_all(text, " ", kSpaceMark); }
std::string from_sentencepiece_spaces(std::string_view piece) { return replace_all(piece, kSpaceMark, " "); }

std::string token_bytes(const Vocab& vocab, std::size_t id) {
  const std::string& spelled = vocab.tokens[id];
  switch (vocab.type(id)) {
    case TokenType::kByte:
      if (const auto byte = byte_of_piece(spelled)) return std::string(1, static_cast<char>(*byte));
      return spelled;
    case TokenType::kControl:
    case TokenType::kUnknown:
      return spelled;
    case TokenType::kUserDefined:  // byte-level BPE stores these as they are, "  " and not "ĠĠ"
      return vocab.model == "gpt2" ? spelled : from_sentencepiece_spaces(spelled);
    case TokenType::kNormal:
    case TokenType::kUnused:
      break;
  }
  return vocab.model == "gpt2" ? from_byte_letters(spelled) : from_sentencepiece_spaces(spelled);
}

}  // namespace sedge::model
