#include "trust/keys.h"

#include <algorithm>
#include <cstring>

#include <sodium.h>

#include "base/assert.h"

namespace sedge::trust {
namespace {

// Chooses libsodium's implementations for this processor; the calls work before it, only slower, so nothing waits on
// it.
[[maybe_unused]] const int kSodiumReady = sodium_init();

std::array<std::uint8_t, 64> message_digest(std::string_view domain, Bytes message) {
  SEDGE_ASSERT(domain.size() < 256);
  const auto domain_bytes = static_cast<std::uint8_t>(domain.size());
  std::array<std::uint8_t, 64> out;
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, out.size());
  crypto_generichash_update(&state, &domain_bytes, 1);
  crypto_generichash_update(&state, as_bytes(domain).data(), domain.size());
  crypto_generichash_update(&state, message.data(), message.size());
  crypto_generichash_final(&state, out.data(), out.size());
  return out;
}

}  // namespace

void wipe(MutableBytes secret) { sodium_memzero(secret.data(), secret.size()); }

SecretKey::SecretKey(const Seed& seed) {
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> public_half;
  crypto_sign_seed_keypair(public_half.data(), bytes_.data(), seed.data());
}

SecretKey::SecretKey(SecretKey&& other) noexcept : bytes_(other.bytes_) { wipe(other.bytes_); }

SecretKey& SecretKey::operator=(SecretKey&& other) noexcept {
  if (this != &other) {
    bytes_ = other.bytes_;
    wipe(other.bytes_);
  }
  return *this;
}

SecretKey::~SecretKey() { wipe(bytes_); }

PublicKey SecretKey::public_key() const {
  PublicKey key;
  std::copy(bytes_.begin() + 32, bytes_.end(), key.bytes.begin());
  return key;
}

SecretKey SecretKey::clone() const {
  SecretKey copy;
  copy.bytes_ = bytes_;
  return copy;
}

KeyPair KeyPair::from_seed(const Seed& seed) {
  SecretKey secret(seed);
  const PublicKey public_key = secret.public_key();
  return {public_key, std::move(secret)};
}

Signature sign(const SecretKey& key, std::string_view domain, Bytes message) {
  const auto hashed = message_digest(domain, message);
  Signature signature;
  crypto_sign_detached(signature.bytes.data(), nullptr, hashed.data(), hashed.size(), key.bytes_.data());
  return signature;
}

bool verify(const PublicKey& key, std::string_view domain, Bytes message, const Signature& signature) {
  const auto hashed = message_digest(domain, message);
  return crypto_sign_verify_detached(signature.bytes.data(), hashed.data(), hashed.size(), key.bytes.data()) == 0;
}

Digest digest(Bytes message, Bytes key) {
  SEDGE_ASSERT(key.size() <= crypto_generichash_KEYBYTES_MAX);
  Digest out;
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.empty() ? nullptr : key.data(), key.size(), out.size());
  crypto_generichash_update(&state, message.data(), message.size());
  crypto_generichash_final(&state, out.data(), out.size());
  return out;
}

Digest digest(Bytes message, const std::function<void(Bytes)>& read) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  Digest out;
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, out.size());
  for (Bytes left = message; !left.empty(); left = left.subspan(std::min(kPiece, left.size()))) {
    const Bytes piece = left.first(std::min(kPiece, left.size()));
    crypto_generichash_update(&state, piece.data(), piece.size());
    read(piece);
  }
  crypto_generichash_final(&state, out.data(), out.size());
  return out;
}

Digest hmac_sha256(Bytes key, Bytes message) {
  Digest out;
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, key.data(), key.size());
  crypto_auth_hmacsha256_update(&state, message.data(), message.size());
  crypto_auth_hmacsha256_final(&state, out.data());
  return out;
}

bool equal(Bytes a, Bytes b) { return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0; }

NodeId node_id_of(const PublicKey& key) {
  const Digest hashed = digest(key.bytes);
  NodeId id;
  std::copy_n(hashed.begin(), id.bytes.size(), id.bytes.begin());
  return id;
}

}  // namespace sedge::trust
