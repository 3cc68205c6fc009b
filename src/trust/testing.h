// A whole fleet in memory, from a seed: for tests and simulations, never for a real one (its keys are guessable).
#pragma once

#include <cstdint>
#include <string>

#include "base/prng.h"
#include "trust/certificate.h"
#include "trust/directory.h"
#include "trust/invitation.h"
#include "trust/keys.h"
#include "trust/revocation.h"

namespace sedge::trust::testing {

// An EntropySource that repeats.
struct SeededSource {
  explicit SeededSource(std::uint64_t seed) : prng(seed) {}
  void fill(MutableBytes out) {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(prng.next() >> 56);
  }
  Prng prng;
};

struct Member {
  KeyPair keys;
  CertificateChain chain;
  Buffer encoded;
  NodeId id;
};

struct Fleet {
  explicit Fleet(std::uint64_t seed)
      : source(seed), root(KeyPair::generate(source)), issuer(KeyPair::generate(source)) {
    issuer_certificate.fleet = fingerprint(root.public_key);
    issuer_certificate.role = Role::kIssuer;
    issuer_certificate.subject = issuer.public_key;
    issuer_certificate.name = "issuer";
    issuer_certificate.grants = Grants::of_an_issuer();
    issuer_certificate.serial = 1;
    sign_certificate(issuer_certificate, root.secret);
    source.fill(secret);
  }

  Member enrol(const std::string& name, const Grants& grants = Grants::of_a_node()) {
    return enrol(name, KeyPair::generate(source), grants);
  }
  Member enrol(const std::string& name, KeyPair keys, const Grants& grants) {
    Certificate node;
    node.fleet = issuer_certificate.fleet;
    node.role = Role::kNode;
    node.subject = keys.public_key;
    node.name = name;
    node.grants = grants;
    node.serial = ++serial;
    sign_certificate(node, issuer.secret);
    Member member{std::move(keys), {issuer_certificate, node}, {}, {}};
    member.encoded = encode_chain(member.chain);
    member.id = node_id_of(member.keys.public_key);
    return member;
  }

  Revocation revoke(const Member& member, Cut cut = {}) const {
    Revocation revocation{member.id, cut, RevokedByIssuer{issuer_certificate, member.chain}, {}};
    sign_revocation(revocation, issuer.secret);
    return revocation;
  }

  SeededSource source;
  KeyPair root;
  KeyPair issuer;
  Certificate issuer_certificate;
  FleetSecret secret{};
  std::uint64_t serial = 1;
};

}  // namespace sedge::trust::testing
