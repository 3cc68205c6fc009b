#include "platform/rotation.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include "consensus/raft.h"
#include "node/boot.h"
#include "platform/file_storage.h"
#include "platform/home.h"
#include "platform/join_client.h"
#include "platform/system.h"
#include "store/store.h"
#include "trust/quorum.h"
#include "trust/rotation.h"
#include "wire/codec.h"

namespace sedge::platform {
namespace {

using trust::HomeFile;

Result<trust::SecretKey> read_key(const std::filesystem::path& home, HomeFile file) {
  SEDGE_TRY(const std::string text, read_home_file(home, file));
  return trust::decode_key(file, text);
}

Result<trust::CertificateChain> read_chain(const std::filesystem::path& home, HomeFile file) {
  SEDGE_TRY(const std::string text, read_home_file(home, file));
  return trust::decode_node_certificate(text, file);
}

Result<trust::Certificate> read_issuer(const std::filesystem::path& home, HomeFile file) {
  SEDGE_TRY(const std::string text, read_home_file(home, file));
  return trust::decode_issuer_certificate(text, file);
}

Result<trust::SecretKey> next_key(const std::filesystem::path& home, HomeFile file) {
  if (has_home_file(home, file)) return read_key(home, file);
  SystemEntropy entropy;
  auto pair = trust::KeyPair::generate(entropy);
  SEDGE_CHECK(write_home_file(home, file, trust::encode_key(file, pair.secret)));
  return std::move(pair.secret);
}

// Greater than any before, even where the clock stands in 1970.
std::uint64_t serial_after(std::uint64_t before) {
  return std::max(before + 1, static_cast<std::uint64_t>(wall_seconds()) * 1'000'000);
}

Result<trust::SecretKey> read_root_key(const std::filesystem::path& file, const trust::PublicKey& root) {
  SEDGE_TRY(const Buffer text, read_file(file, trust::kHomeFileBytesMax));
  SEDGE_TRY(trust::SecretKey key, trust::decode_key(HomeFile::kRootKey, as_text(text)));
  if (key.public_key() == root) return key;
  return fail(Code::kInvalidArgument, "{} is the root key of another fleet than this home's", file.string());
}

// Two rotations without a start between them would leave the first former id unrevoked: nobody ever saw its successor.
Status check_settled(store::Store& store, const Identity& identity) {
  return store.load(std::string(trust::Replacement::kBucket), [&](Bytes, Bytes value) -> Status {
    SEDGE_TRY(const auto replacement, wire::decode<trust::Replacement>(value));
    if (replacement.successor != identity.chain.node.subject) return {};
    return fail(Code::kFailedPrecondition,
                "this home has a new key already that its fleet has not seen: run `sedge up` once, then rotate again");
  });
}

// One of two voters that goes takes the majority with it, and nobody can put it out of the group any more.
Status check_voters(store::Store& store, NodeId self) {
  consensus::Raft raft({.self = self}, {.apply = [](consensus::Index, Bytes) {},
                                        .snapshot = [] { return Buffer(); },
                                        .restore = [](Bytes) { return Status(); }});
  SEDGE_CHECK(store.load(consensus::Raft::kBucket, [&](Bytes key, Bytes value) { return raft.load(key, value); }));
  raft.start(Instant{});
  const consensus::Configuration& parts = raft.configuration();
  if (!consensus::is_voter(parts, self) || parts.voters.size() != 2) return {};
  return fail(Code::kFailedPrecondition,
              "this node is one of two voters on agreed values, and the other could decide nothing without it: run it "
              "until `sedge leader` lists one voter or three, then rotate");
}

// The issuer's own home: nobody need be asked. What it owes, to revoke its former id, goes to its disk first.
Result<trust::CertificateChain> sign_own(store::Store& store, const Identity& identity, const trust::PublicKey& next,
                                         trust::Cut last) {
  const trust::Certificate& issuer = *identity.issuer;
  trust::Certificate node = identity.chain.node;
  node.subject = next;
  node.serial = serial_after(node.serial);
  trust::sign_certificate(node, *identity.issuer_key);
  trust::CertificateChain chain{issuer, std::move(node)};
  SEDGE_CHECK(trust::verify_chain(identity.root, chain));
  if (!issuer.grants.allows(trust::Verb::kRevoke, chain.node.name)) {
    return fail(Code::kPermissionDenied, "the issuer of this home may not revoke '{0}': it lacks revoke:{0}",
                chain.node.name);
  }
  std::uint64_t serial = trust::Replacement::kOwnSerials;
  SEDGE_CHECK(store.load(std::string(trust::Replacement::kBucket), [&](Bytes key, Bytes) -> Status {
    SEDGE_TRY(const std::uint64_t taken, trust::replacement_serial(key));
    serial = std::max(serial, taken + 1);
    return {};
  }));
  const env::Record record{.bucket = std::string(trust::Replacement::kBucket),
                           .key = trust::replacement_key(serial),
                           .value = wire::encode(trust::Replacement{identity.chain, next, last})};
  SEDGE_CHECK(store.apply(std::span(&record, 1)));
  return chain;
}

Result<trust::CertificateChain> ask_issuer(const Identity& identity, const trust::Invitation& invitation,
                                           const trust::SecretKey& next, trust::Cut last,
                                           const std::vector<std::string>& seeds, Duration patience) {
  if (invitation.root != trust::fingerprint(identity.root)) {
    return fail(Code::kInvalidArgument, "the invitation is of another fleet than this home");
  }
  const trust::Rotation rotation = trust::sign_rotation(identity.key, next.public_key(), last);
  SEDGE_TRY(const trust::JoinGrant grant, join(invitation, next, identity.chain.node.name, seeds, patience, rotation));
  return trust::decode_chain(grant.chain);
}

}  // namespace

Result<std::optional<Rotated>> finish_rotation(const std::filesystem::path& home) {
  if (!has_home_file(home, HomeFile::kNextCertificate)) return std::nullopt;
  SEDGE_TRY(trust::CertificateChain next, read_chain(home, HomeFile::kNextCertificate));
  if (has_home_file(home, HomeFile::kNextKey)) {
    SEDGE_TRY(const trust::SecretKey key, read_key(home, HomeFile::kNextKey));
    if (key.public_key() != next.node.subject) {
      return fail(Code::kDataLoss,
                  "{}: next.cert is not the certificate of next.key: remove next.cert, and rotate again",
                  home.string());
    }
    SEDGE_TRY(const trust::CertificateChain current, read_chain(home, HomeFile::kNodeCertificate));
    if (current != next) {
      SEDGE_CHECK(write_home_file(home, HomeFile::kFormerCertificate,
                                  trust::encode_node_certificate(current, HomeFile::kFormerCertificate)));
    }
    SEDGE_CHECK(write_home_file(home, HomeFile::kNodeKey, trust::encode_key(HomeFile::kNodeKey, key)));
  }
  SEDGE_CHECK(write_home_file(home, HomeFile::kNodeCertificate, trust::encode_node_certificate(next)));
  // The key first: alone it would be taken for that of a rotation which is still to be asked for.
  if (has_home_file(home, HomeFile::kNextKey)) SEDGE_CHECK(remove_home_file(home, HomeFile::kNextKey));
  SEDGE_CHECK(remove_home_file(home, HomeFile::kNextCertificate));
  SEDGE_TRY(const trust::CertificateChain former, read_chain(home, HomeFile::kFormerCertificate));
  return Rotated{std::move(next), trust::node_id_of(former.node.subject)};
}

Result<Rotated> rotate_node(const std::filesystem::path& home, const std::optional<trust::Invitation>& invitation,
                            const std::vector<std::string>& seeds, Duration patience) {
  if (!has_home_file(home, HomeFile::kNodeCertificate)) return std::unexpected(read_identity(home).error());
  SEDGE_TRY(const HomeLock lock, HomeLock::take(home));
  SEDGE_TRY(auto finished, finish_rotation(home));
  if (finished) return *std::move(finished);
  SEDGE_CHECK(finish_issuer_rotation(home));
  SEDGE_TRY(const Identity identity, read_identity(home));
  if (!invitation && !identity.issuer_key) {
    return fail(Code::kInvalidArgument,
                "this home holds no issuer's key, so it needs an invitation for its next key: `sedge fleet invite "
                "--replace {}` makes one, on the machine where the fleet was created",
                identity.chain.node.name);
  }
  FileStorage files(home);
  SEDGE_TRY(const auto store, store::Store::open(files, "state.db"));
  const NodeId self = trust::node_id_of(identity.chain.node.subject);
  SEDGE_CHECK(check_settled(*store, identity));
  SEDGE_CHECK(check_voters(*store, self));
  SEDGE_TRY(const trust::SecretKey next, next_key(home, HomeFile::kNextKey));
  SEDGE_TRY(const trust::Cut last, node::last_write(*store, self));
  auto chain = invitation ? ask_issuer(identity, *invitation, next, last, seeds, patience)
                          : sign_own(*store, identity, next.public_key(), last);
  if (!chain) return std::unexpected(std::move(chain).error());
  SEDGE_CHECK(write_home_file(home, HomeFile::kNextCertificate,
                              trust::encode_node_certificate(*chain, HomeFile::kNextCertificate)));
  SEDGE_TRY(finished, finish_rotation(home));
  return *std::move(finished);
}

Result<std::optional<RotatedIssuer>> finish_issuer_rotation(const std::filesystem::path& home) {
  if (!has_home_file(home, HomeFile::kNextIssuerCertificate)) return std::nullopt;
  SEDGE_TRY(trust::Certificate next, read_issuer(home, HomeFile::kNextIssuerCertificate));
  if (has_home_file(home, HomeFile::kNextIssuerKey)) {
    SEDGE_TRY(const trust::SecretKey key, read_key(home, HomeFile::kNextIssuerKey));
    if (key.public_key() != next.subject) {
      return fail(Code::kDataLoss,
                  "{}: next-issuer.cert is not the certificate of next-issuer.key: remove next-issuer.cert, and rotate "
                  "again",
                  home.string());
    }
    SEDGE_TRY(const trust::Certificate current, read_issuer(home, HomeFile::kIssuerCertificate));
    if (current != next) {
      SEDGE_CHECK(write_home_file(home, HomeFile::kFormerIssuerCertificate,
                                  trust::encode_issuer_certificate(current, HomeFile::kFormerIssuerCertificate)));
    }
    SEDGE_CHECK(write_home_file(home, HomeFile::kIssuerKey, trust::encode_key(HomeFile::kIssuerKey, key)));
    SEDGE_CHECK(write_home_file(home, HomeFile::kIssuerCertificate, trust::encode_issuer_certificate(next)));
    SEDGE_TRY(trust::CertificateChain own, read_chain(home, HomeFile::kNodeCertificate));
    if (own.issuer != next) {
      own.issuer = next;
      own.node.serial = serial_after(own.node.serial);
      trust::sign_certificate(own.node, key);
      SEDGE_CHECK(write_home_file(home, HomeFile::kNodeCertificate, trust::encode_node_certificate(own)));
    }
    SEDGE_CHECK(remove_home_file(home, HomeFile::kNextIssuerKey));  // first, as above
  }
  SEDGE_CHECK(remove_home_file(home, HomeFile::kNextIssuerCertificate));
  SEDGE_TRY(const trust::Certificate former, read_issuer(home, HomeFile::kFormerIssuerCertificate));
  return RotatedIssuer{std::move(next), trust::node_id_of(former.subject)};
}

Result<RotatedIssuer> rotate_issuer(const std::filesystem::path& home, const std::filesystem::path& root_key) {
  if (!has_home_file(home, HomeFile::kNodeCertificate)) return std::unexpected(read_identity(home).error());
  SEDGE_TRY(const HomeLock lock, HomeLock::take(home));
  SEDGE_CHECK(finish_rotation(home));
  SEDGE_TRY(auto finished, finish_issuer_rotation(home));
  if (finished) return *std::move(finished);
  SEDGE_TRY(const Identity identity, read_identity(home));
  if (!identity.issuer_key) {
    return fail(Code::kFailedPrecondition, "{} holds no issuer's key: rotate it where the fleet was created",
                home.string());
  }
  if (has_home_file(home, HomeFile::kFormerIssuerCertificate)) {
    return fail(Code::kFailedPrecondition,
                "the issuer before this one is not retired yet: run `sedge up`, then `sedge fleet retire-issuer`");
  }
  SEDGE_TRY(const trust::SecretKey root, read_root_key(root_key, identity.root));
  SEDGE_TRY(const trust::SecretKey next, next_key(home, HomeFile::kNextIssuerKey));
  trust::Certificate issuer = *identity.issuer;
  issuer.subject = next.public_key();
  issuer.serial = serial_after(issuer.serial);
  trust::sign_certificate(issuer, root);
  SEDGE_CHECK(trust::verify_issuer(identity.root, issuer));
  SEDGE_CHECK(write_home_file(home, HomeFile::kNextIssuerCertificate,
                              trust::encode_issuer_certificate(issuer, HomeFile::kNextIssuerCertificate)));
  SEDGE_TRY(finished, finish_issuer_rotation(home));
  return *std::move(finished);
}

Result<Buffer> force_quorum(const std::filesystem::path& home, const std::filesystem::path& root_key,
                            wire::ForcedQuorum quorum) {
  SEDGE_TRY(const Identity identity, read_identity(home));
  SEDGE_TRY(const trust::SecretKey root, read_root_key(root_key, identity.root));
  SystemEntropy entropy;
  while (quorum.group == wire::GroupId{} || quorum.group == quorum.former) quorum.group = {entropy.u64()};
  trust::QuorumOrder order{std::move(quorum), {}};
  trust::sign_quorum(order, root);
  return trust::encode_quorum(order);
}

Result<trust::Revocation> retire_issuer(const std::filesystem::path& home, const std::filesystem::path& root_key) {
  SEDGE_TRY(const Identity identity, read_identity(home));
  if (!has_home_file(home, HomeFile::kFormerIssuerCertificate)) {
    return fail(Code::kFailedPrecondition, "{} has no former issuer to retire: `sedge fleet rotate-issuer` comes first",
                home.string());
  }
  SEDGE_TRY(const trust::SecretKey root, read_root_key(root_key, identity.root));
  SEDGE_TRY(const trust::Certificate former, read_issuer(home, HomeFile::kFormerIssuerCertificate));
  trust::Revocation revocation;
  revocation.subject = trust::node_id_of(former.subject);
  // Whoever is still below it is out; what it wrote was written by a member, and stays.
  constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();
  revocation.cut = {{kAll}, {kAll}};
  trust::sign_revocation(revocation, root);
  return revocation;
}

}  // namespace sedge::platform
