#include "trust/rotation.h"

#include "wire/codec.h"

namespace sedge::trust {
namespace {

constexpr std::string_view kDomain = "sedge.rotation.1";

struct Statement {
  NodeId former;
  Cut last;
  PublicKey successor;
  void fields(wire::Encoder& visit) {
    visit("former", former);
    visit("last", last);
    visit("successor", successor);
  }
};

Buffer signed_bytes(const Rotation& rotation, const PublicKey& successor) {
  return wire::encode(Statement{rotation.former, rotation.last, successor});
}

}  // namespace

Rotation sign_rotation(const SecretKey& former, const PublicKey& successor, Cut last) {
  Rotation rotation{node_id_of(former.public_key()), last, {}};
  rotation.signature = sign(former, kDomain, signed_bytes(rotation, successor));
  return rotation;
}

Status check_rotation(const PublicKey& former, const PublicKey& successor, const Rotation& rotation) {
  const NodeId expected = node_id_of(former);
  if (rotation.former != expected) {
    return fail(Code::kUnauthenticated, "the invitation is for a new key of {}, and {} asks", expected.short_hex(),
                rotation.former.short_hex());
  }
  if (!verify(former, kDomain, signed_bytes(rotation, successor), rotation.signature)) {
    return fail(Code::kUnauthenticated, "the rotation is not signed by the key of {}", expected.short_hex());
  }
  return {};
}

Buffer replacement_key(std::uint64_t serial) {
  Buffer key;
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<std::uint8_t>(serial >> shift));
  return key;
}

Result<std::uint64_t> replacement_serial(Bytes key) {
  if (key.size() != 8) return fail(Code::kDataLoss, "a rotation's key has 8 bytes, this has {}", key.size());
  std::uint64_t serial = 0;
  for (const std::uint8_t byte : key) serial = serial << 8 | byte;
  return serial;
}

}  // namespace sedge::trust
