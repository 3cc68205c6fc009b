// A keyed hash for many short inputs: SipHash-2-4 with 128 bits out.
//
// To whoever does not know the key its values are random numbers, so sums and samples of them cannot be steered by
// choosing inputs. BLAKE2b with a key promises the same at four times the price for 64 bytes (trust/keys.h), which
// counts when a hundred thousand writes are hashed for one conversation.
// Source: Aumasson & Bernstein 2012; libsodium's siphashx24.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace sedge::trust {

using ShortKey = std::array<std::uint8_t, 16>;
using ShortHash = std::array<std::uint64_t, 2>;

ShortHash short_hash(const ShortKey& key, Bytes message);

}  // namespace sedge::trust
