// What a node did, in a form that it cannot take back.
//
// Each node keeps one chain: entries numbered from 1, each naming the hash of the one before, each signed. An entry
// changed, left out or put in between breaks the hashes of all that follow; a chain that is cut at its end is shorter
// than a head that others remember. What is left to a liar is to show different chains to different people, and that
// takes two signatures over one number: whoever holds both holds a proof that anybody can check (an *equivocation*).
// A home that was cloned, or restored from an old copy, does the same without meaning to, and is found the same way.
//
// Entries are signed one by one, so that each is evidence alone; signing only heads was rejected: it saves 64 bytes and
// loses the proof whenever a chain is forked between two heads. A *head* is the same statement without its contents
// (number and hash): what others remember of a chain, and what an old prefix that was given up leaves behind (a
// *checkpoint*). A Merkle tree as in Certificate Transparency (RFC 9162) was rejected: it proves that one entry is in a
// log of millions without sending the log; ours are thousands, and sent whole.
// Sources: Haeberlen, Kuznetsov, Druschel 2007, "PeerReview" (chains of a node, authenticators held by others);
// Crosby, Wallach 2009 (why remembered heads decide). Grammar: docs/formats/audit.md. Threads: none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "trust/directory.h"
#include "trust/keys.h"

namespace sedge::trust {

inline constexpr std::string_view kAuditEntryDomain = "sedge.audit.entry.1";
inline constexpr std::string_view kAuditHeadDomain = "sedge.audit.head.1";
inline constexpr std::uint64_t kAuditKept = 4096;  // entries that a node keeps at least; at 300 bytes 1.2 MB
inline constexpr std::size_t kAuditBodyBytesMax = 1024;
inline constexpr std::size_t kAuditEntryBytesMax = kAuditBodyBytesMax + 256;  // 16 + 32 + 64 + five varints and a count

// What an entry tells. A number that this build does not know is kept, passed on and checked like any other.
enum class AuditKind : std::uint32_t {
  kStart = 1,      // the node began a life
  kEnrolled = 2,   // this issuer let a node in
  kRevoked = 3,    // this issuer put a node out
  kInference = 4,  // a task ended, told by its owner, or an attempt, told by who served it
  kRefusals = 5,   // a member asked for what it has no grant for, so many times
};
std::string_view audit_kind_name(std::uint32_t kind);

struct AuditEntry {
  NodeId node;
  std::uint64_t index = 0;  // from 1
  Digest previous{};        // hash of the entry before; all 0 before the first
  BootEpoch epoch;          // the life in which it was written
  std::uint64_t fleet_ms = 0;
  std::uint32_t kind = 0;  // AuditKind
  Buffer body;             // by kind
  Signature signature;     // by the node, over all the bytes before it
  friend bool operator==(const AuditEntry&, const AuditEntry&) = default;

  template <class V>
  void fields(V& visit) {
    visit("node", node);
    visit("index", index);
    visit("previous", previous);
    visit("epoch", epoch);
    visit("fleet_ms", fleet_ms);
    visit("kind", kind);
    visit("body", body);
    visit("signature", signature);
  }
};

struct AuditHead {
  NodeId node;
  std::uint64_t index = 0;  // 0: nothing was written yet
  Digest hash{};            // of the entry with this index
  bool checkpoint = false;  // entries up to this one were given up
  Signature signature;
  friend bool operator==(const AuditHead&, const AuditHead&) = default;

  template <class V>
  void fields(V& visit) {
    visit("node", node);
    visit("index", index);
    visit("hash", hash);
    visit("checkpoint", checkpoint);
    visit("signature", signature);
  }
};

// The bodies. Texts are cut to fit before they are written.
struct AuditStart {
  std::string name;
  template <class V>
  void fields(V& visit) {
    visit("name", name);
  }
};

struct AuditEnrolled {
  NodeId subject;
  std::string name;
  NodeId issuer;                 // of the issuer's key, not of the node that holds it
  std::uint64_t invitation = 0;  // its serial in the issuer's book
  template <class V>
  void fields(V& visit) {
    visit("subject", subject);
    visit("name", name);
    visit("issuer", issuer);
    visit("invitation", invitation);
  }
};

struct AuditRevoked {
  NodeId subject;
  NodeId issuer;
  Cut cut;
  template <class V>
  void fields(V& visit) {
    visit("subject", subject);
    visit("issuer", issuer);
    visit("cut", cut);
  }
};

struct AuditInference {
  TaskId task;
  Digest prompt{};         // BLAKE2b-256 of the prompt, or of the encoded turns of a conversation
  std::string model;       // name
  std::string model_hash;  // empty where no node was found for it
  NodeId owner;
  NodeId server;  // zero: nobody
  std::string outcome;
  std::uint32_t tokens = 0;
  std::uint32_t attempts = 0;  // of the owner; who served tells the number of this attempt
  template <class V>
  void fields(V& visit) {
    visit("task", task);
    visit("prompt", prompt);
    visit("model", model);
    visit("model_hash", model_hash);
    visit("owner", owner);
    visit("server", server);
    visit("outcome", outcome);
    visit("tokens", tokens);
    visit("attempts", attempts);
  }
};

struct AuditRefusals {
  NodeId peer;
  std::uint64_t count = 0;
  std::string what;  // the first of them
  template <class V>
  void fields(V& visit) {
    visit("peer", peer);
    visit("count", count);
    visit("what", what);
  }
};

void sign_entry(AuditEntry& entry, const SecretKey& key);
void sign_head(AuditHead& head, const SecretKey& key);
Buffer encode_entry(const AuditEntry& entry);
Buffer encode_head(const AuditHead& head);

// Of all but the signature: two signatures over equal contents are one statement.
Digest hash_of(const AuditEntry& entry);

// Decode and check every bound and form; the signature is not checked. Errors: DataLoss: drop it, count it.
Result<AuditEntry> decode_entry(Bytes bytes);
Result<AuditHead> decode_head(Bytes bytes);

// Errors: NotFound: no certificate (yet). Unauthenticated: not its node's.
Status verify_entry(const Directory& directory, const AuditEntry& entry);
Status verify_head(const Directory& directory, const AuditHead& head);

// Two statements of one node that cannot both be of one chain, kept as they were signed. Each is an encoded entry or
// head, told apart by the first byte of `first` and `second`: 'E' or 'H'.
struct AuditProof {
  Buffer first;
  Buffer second;
  friend bool operator==(const AuditProof&, const AuditProof&) = default;

  template <class V>
  void fields(V& visit) {
    visit("first", first);
    visit("second", second);
  }
};

using AuditStatement = std::variant<AuditEntry, AuditHead>;
AuditProof make_proof(const AuditStatement& first, const AuditStatement& second);

struct Equivocation {
  NodeId node;
  std::uint64_t index = 0;  // the number for which two hashes were signed
};
// Anybody's check of a proof. Errors: DataLoss; Unauthenticated; NotFound (no certificate); FailedPrecondition: the two
// agree with each other, so that they prove nothing.
Result<Equivocation> verify_proof(const Directory& directory, const AuditProof& proof);

// What a statement says of the chain: that the entry with this index has this hash. An entry says it of itself and of
// the one before. Empty for what goes without saying (number 0).
std::vector<std::pair<std::uint64_t, Digest>> claims_of(const AuditStatement& statement);

}  // namespace sedge::trust
