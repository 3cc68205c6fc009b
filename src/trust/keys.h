// Keys, signatures and the two hashes that everything in the trust room stands on.
//
// A node's key is Ed25519 and does two jobs: TLS proves with it who is at the other end of a link, and we sign with
// it what travels through others. One key for both is safe only if a signature for one purpose can never serve
// another, so every signature of ours is made over BLAKE2b-512(length of domain | domain | message), 64 bytes,
// with a domain such as "sedge.op.1". TLS signs at least 98 bytes that begin with 64 spaces (RFC 8446 §4.4.3): the
// two never meet. Hashing first also means one pass over a 64 KiB batch and no copy; Ed25519's own two passes of
// SHA-512 would cost four times that. Ed25519ph was rejected: libsodium's has no context string.
// Randomness is handed in: anything with fill(MutableBytes), such as env::Entropy, which this room may not know.
#pragma once

#include <array>
#include <compare>
#include <concepts>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"

namespace sedge::trust {

template <class T>
concept EntropySource = requires(T& source, MutableBytes out) { source.fill(out); };

struct PublicKey {
  std::array<std::uint8_t, 32> bytes{};
  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("key", bytes);
  }
};

struct Signature {
  std::array<std::uint8_t, 64> bytes{};
  friend auto operator<=>(const Signature&, const Signature&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("signature", bytes);
  }
};

using Seed = std::array<std::uint8_t, 32>;
using Digest = std::array<std::uint8_t, 32>;

// Overwrites secrets in a way that the compiler keeps.
void wipe(MutableBytes secret);

// Move-only, wiped when it goes. What it guards is its seed.
class SecretKey {
 public:
  SecretKey() = default;
  explicit SecretKey(const Seed& seed);
  SecretKey(SecretKey&& other) noexcept;
  SecretKey& operator=(SecretKey&& other) noexcept;
  ~SecretKey();

  PublicKey public_key() const;
  Bytes seed() const { return Bytes(bytes_).first(32); }
  // For a holder that needs a second one (the TLS side of a node): said aloud, never by accident.
  SecretKey clone() const;

 private:
  friend Signature sign(const SecretKey& key, std::string_view domain, Bytes message);
  std::array<std::uint8_t, 64> bytes_{};  // seed, then public key: libsodium's form
};

struct KeyPair {
  PublicKey public_key;
  SecretKey secret;

  static KeyPair from_seed(const Seed& seed);
  template <EntropySource E>
  static KeyPair generate(E& entropy) {
    Seed seed;
    entropy.fill(seed);
    KeyPair pair = from_seed(seed);
    wipe(seed);
    return pair;
  }
};

Signature sign(const SecretKey& key, std::string_view domain, Bytes message);

// False for any other key, domain, message or signature, and for keys of small order. Cost: about 60 us and one pass.
[[nodiscard]] bool verify(const PublicKey& key, std::string_view domain, Bytes message, const Signature& signature);

// BLAKE2b-256; with a key it is a MAC or a key derivation. At most 64 bytes of key.
Digest digest(Bytes message, Bytes key = {});

// The same of what may be larger than memory: after each piece `read` is told, so that it may go.
Digest digest(Bytes message, const std::function<void(Bytes piece)>& read);

// RFC 2104 with SHA-256.
Digest hmac_sha256(Bytes key, Bytes message);

// In constant time.
[[nodiscard]] bool equal(Bytes a, Bytes b);

// The first 16 bytes of BLAKE2b-256 of the key.
NodeId node_id_of(const PublicKey& key);

// What a fleet is named by everywhere: BLAKE2b-256 of its root key.
using Fingerprint = Digest;
inline Fingerprint fingerprint(const PublicKey& root) { return digest(root.bytes); }

}  // namespace sedge::trust
