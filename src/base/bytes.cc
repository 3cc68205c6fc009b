#include "base/bytes.h"

#include <array>

namespace sedge {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<std::int8_t, 256> reverse_of(std::string_view alphabet) {
  std::array<std::int8_t, 256> table{};
  for (auto& entry : table) entry = -1;
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    table[static_cast<std::uint8_t>(alphabet[i])] = static_cast<std::int8_t>(i);
  }
  return table;
}

constexpr auto kHexValue = reverse_of(kHex);
constexpr auto kBase64Value = reverse_of(kBase64);

}  // namespace

std::string to_hex(Bytes bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text.push_back(kHex[byte >> 4]);
    text.push_back(kHex[byte & 15]);
  }
  return text;
}

Result<Buffer> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return fail(Code::kInvalidArgument, "hex text has an odd length ({})", text.size());
  Buffer bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = kHexValue[static_cast<std::uint8_t>(text[i])];
    const int low = kHexValue[static_cast<std::uint8_t>(text[i + 1])];
    if (high < 0 || low < 0) return fail(Code::kInvalidArgument, "not a lower-case hex digit at offset {}", i);
    bytes.push_back(static_cast<std::uint8_t>(high << 4 | low));
  }
  return bytes;
}

std::string to_base64url(Bytes bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t pending = 0;
  int bits = 0;
  for (const std::uint8_t byte : bytes) {
    pending = pending << 8 | byte;
    for (bits += 8; bits >= 6; bits -= 6) text.push_back(kBase64[pending >> (bits - 6) & 63]);
  }
  if (bits > 0) text.push_back(kBase64[pending << (6 - bits) & 63]);
  return text;
}

Result<Buffer> from_base64url(std::string_view text) {
  Buffer bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t pending = 0;
  int bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int value = kBase64Value[static_cast<std::uint8_t>(text[i])];
    if (value < 0) return fail(Code::kInvalidArgument, "not a base64url digit at offset {}", i);
    pending = pending << 6 | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<std::uint8_t>(pending >> bits & 255));
    }
  }
  if (bits >= 6 || (pending & ((1U << bits) - 1)) != 0) {
    return fail(Code::kInvalidArgument, "base64url text of {} digits is cut short", text.size());
  }
  return bytes;
}

}  // namespace sedge
