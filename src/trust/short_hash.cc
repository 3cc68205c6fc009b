#include "trust/short_hash.h"

#include <sodium.h>

namespace sedge::trust {

ShortHash short_hash(const ShortKey& key, Bytes message) {
  std::array<std::uint8_t, crypto_shorthash_siphashx24_BYTES> out;
  crypto_shorthash_siphashx24(out.data(), message.data(), message.size(), key.data());
  ShortHash words{};
  for (std::size_t i = 0; i < out.size(); ++i) words.at(i / 8) |= std::uint64_t{out[i]} << (8 * (i % 8));
  return words;
}

}  // namespace sedge::trust
