// Bytes: a view of memory that somebody else owns. Buffer: bytes that we own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sedge {

using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;
using Buffer = std::vector<std::uint8_t>;

inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Buffer to_buffer(Bytes bytes) { return Buffer(bytes.begin(), bytes.end()); }

std::string to_hex(Bytes bytes);
Result<Buffer> from_hex(std::string_view text);

// RFC 4648 §5, without padding: safe in a URL, a file name and a shell word.
std::string to_base64url(Bytes bytes);
Result<Buffer> from_base64url(std::string_view text);

}  // namespace sedge
