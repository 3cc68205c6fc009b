#include "trust/beacon.h"

#include <algorithm>
#include <array>

#include <sodium.h>

#include "trust/keys.h"
#include "wire/codec.h"

namespace sedge::trust {
namespace {

constexpr std::array<std::uint8_t, 4> kMagic = {'S', 'G', 'B', '1'};
constexpr std::size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kMacBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

Digest derive(const FleetSecret& fleet, std::string_view use) { return digest(as_bytes(use), fleet); }

}  // namespace

Buffer seal_beacon(const FleetSecret& fleet, const Beacon& beacon, std::uint64_t rotation) {
  const Buffer plain = wire::encode(beacon);
  Buffer hashed = plain;
  for (int shift = 0; shift < 64; shift += 8) hashed.push_back(static_cast<std::uint8_t>(rotation >> shift));
  const Digest tag = digest(hashed, derive(fleet, "sedge.beacon.tag.1"));
  const Digest key = derive(fleet, "sedge.beacon.seal.1");

  Buffer out(kMagic.size() + kTagBytes + plain.size() + kMacBytes);
  std::copy(kMagic.begin(), kMagic.end(), out.begin());
  std::copy_n(tag.begin(), kTagBytes, out.begin() + kMagic.size());
  crypto_aead_xchacha20poly1305_ietf_encrypt(out.data() + kMagic.size() + kTagBytes, nullptr, plain.data(),
                                             plain.size(), kMagic.data(), kMagic.size(), nullptr, tag.data(),
                                             key.data());
  return out;
}

Result<Beacon> open_beacon(const FleetSecret& fleet, Bytes bytes) {
  const std::size_t head = kMagic.size() + kTagBytes;
  if (bytes.size() > kBeaconBytesMax || bytes.size() <= head + kMacBytes ||
      !std::equal(kMagic.begin(), kMagic.end(), bytes.begin())) {
    return fail(Code::kDataLoss, "{} bytes that are no beacon", bytes.size());
  }
  const Digest key = derive(fleet, "sedge.beacon.seal.1");
  const Bytes sealed = bytes.subspan(head);
  Buffer plain(sealed.size() - kMacBytes);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain.data(), nullptr, nullptr, sealed.data(), sealed.size(),
                                                 kMagic.data(), kMagic.size(), bytes.data() + kMagic.size(),
                                                 key.data()) != 0) {
    return fail(Code::kUnauthenticated, "a beacon of another fleet");
  }
  return wire::decode<Beacon>(plain);
}

}  // namespace sedge::trust
