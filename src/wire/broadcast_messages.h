// What travels along the broadcast tree: signed batches, the two messages that repair it (Leitao, Pereira, Rodrigues:
// "Epidemic Broadcast Trees", 2007), and the one that shapes it (mesh/tree.h). The batch is signed as its encoded bytes
// and passed on unchanged, so that a relay neither re-encodes nor can alter it. Layout: docs/formats/broadcast.md.
#pragma once

#include <compare>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/time.h"
#include "wire/codec.h"
#include "wire/membership_messages.h"

namespace sedge::wire {

enum class BatchKind : std::uint8_t { kPubSub, kState, kLoad };
constexpr BatchKind wire_last(BatchKind) { return BatchKind::kLoad; }

// kBestEffort: passed on once, as a datagram where it fits, and never repaired. kForAll: as kReliable, and its origin
// waits for the slowest link on the way instead of leaving it behind; such batches travel as types of their own.
enum class Reliability : std::uint8_t { kBestEffort, kReliable, kForAll };
constexpr Reliability wire_last(Reliability) { return Reliability::kForAll; }

struct BatchId {
  NodeId origin;
  BootEpoch epoch;
  Sequence sequence;
  friend auto operator<=>(const BatchId&, const BatchId&) = default;

  template <class V>
  void fields(V& visit) {
    visit("origin", origin);
    visit("epoch", epoch);
    visit("sequence", sequence);
  }
};

// Blob: Buffer for what is kept, Bytes (a view) for what is read or written on the spot.
template <class Blob>
struct BasicBatch {
  BatchId id;
  BatchKind kind = BatchKind::kPubSub;
  Reliability reliability = Reliability::kReliable;
  std::uint8_t priority = 4;  // env::Priority of the frames that carry it
  bool direct = false;        // its origin is linked to every member: nobody passes it on unasked
  std::uint64_t sent_ms = 0;  // its origin's fleet clock as it was sent; 0: that clock was not settled
  Blob payload;
  bool reliable() const { return reliability != Reliability::kBestEffort; }
  friend bool operator==(const BasicBatch&, const BasicBatch&)
    requires std::equality_comparable<Blob>
  = default;

  template <class V>
  void fields(V& visit) {
    visit("id", id);
    visit("kind", kind);
    visit("reliability", reliability);
    visit("priority", priority);
    visit("direct", direct);
    visit("sent_ms", sent_ms);
    visit("payload", payload);
  }
};

using Batch = BasicBatch<Buffer>;
using BatchView = BasicBatch<Bytes>;

template <class Blob>
struct BasicSignedBatch {
  Blob batch;                // an encoded Batch
  RawSignature signature{};  // by its origin, domain "sedge.batch.1", or "sedge.packed.1" where its payload is packed
  std::uint8_t hops = 0;     // of who sends this: 0 its origin. Not signed; it only says how widely to pass it on
  friend bool operator==(const BasicSignedBatch&, const BasicSignedBatch&)
    requires std::equality_comparable<Blob>
  = default;

  template <class V>
  void fields(V& visit) {
    visit("batch", batch);
    visit("signature", signature);
    visit("hops", hops);
  }
};
using SignedBatch = BasicSignedBatch<Buffer>;
using SignedBatchView = BasicSignedBatch<Bytes>;

struct HeldBatch {
  BatchId id;
  std::uint64_t age_ms = 0;  // since the announcer got it: a node younger than that does not ask for it
  friend bool operator==(const HeldBatch&, const HeldBatch&) = default;

  template <class V>
  void fields(V& visit) {
    visit("id", id);
    visit("age_ms", age_ms);
  }
};

struct BroadcastHave {
  std::vector<HeldBatch> batches;
  friend bool operator==(const BroadcastHave&, const BroadcastHave&) = default;

  template <class V>
  void fields(V& visit) {
    visit("batches", batches);
  }
};

// "Send me these, and for a while everything": the tree does not bring it.
struct BroadcastGraft {
  std::vector<BatchId> wanted;
  friend bool operator==(const BroadcastGraft&, const BroadcastGraft&) = default;

  template <class V>
  void fields(V& visit) {
    visit("wanted", wanted);
  }
};

// Where the sender is in the tree: how far from which root, and who stands between (the first halves of their ids), its
// parent first and the root last. The root's own path is empty.
struct TreePosition {
  NodeId root;
  std::uint64_t distance_us = 0;
  std::vector<std::uint64_t> path;
  friend bool operator==(const TreePosition&, const TreePosition&) = default;

  template <class V>
  void fields(V& visit) {
    visit("root", root);
    visit("distance_us", distance_us);
    visit("path", path);
  }
};

// "What you send me waits in my queues: publish nothing reliable for so long, and tell whoever's you pass on."
struct BroadcastSlowdown {
  Duration retry_after{};
  friend bool operator==(const BroadcastSlowdown&, const BroadcastSlowdown&) = default;

  template <class V>
  void fields(V& visit) {
    visit("retry_after", retry_after);
  }
};

// One message that another was caused by, by its place among those that its origin published with a context.
struct CausalName {
  NodeId origin;
  BootEpoch epoch;
  std::uint64_t sequence = 0;  // from 1 in each life of the origin
  std::uint64_t age_ms = 0;    // since the publisher of the context had it: at least so old is it by now
  friend bool operator==(const CausalName&, const CausalName&) = default;

  template <class V>
  void fields(V& visit) {
    visit("origin", origin);
    visit("epoch", epoch);
    visit("sequence", sequence);
    visit("age_ms", age_ms);
  }
};

// What a message waits for: the one before it from its origin, and what that origin has heard since that one. All that
// came earlier is waited for by these.
struct CausalContext {
  BootEpoch epoch;
  std::uint64_t sequence = 0;
  std::uint64_t previous_age_ms = 0;  // of sequence - 1
  std::vector<CausalName> causes;     // at most one of an origin
  friend bool operator==(const CausalContext&, const CausalContext&) = default;

  template <class V>
  void fields(V& visit) {
    visit("epoch", epoch);
    visit("sequence", sequence);
    visit("previous_age_ms", previous_age_ms);
    visit("causes", causes);
  }
};

template <class Text, class Blob>
struct BasicPublication {
  Text topic;
  Blob payload;
  std::optional<TaskId> once = std::nullopt;               // published again, by whomever, it is not delivered again
  std::optional<std::uint64_t> expires_ms = std::nullopt;  // of the fleet clock; after it nobody delivers it
  std::optional<CausalContext> causal{};                   // it is delivered after its causes
  friend bool operator==(const BasicPublication&, const BasicPublication&)
    requires std::equality_comparable<Blob>
  = default;

  template <class V>
  void fields(V& visit) {
    visit("topic", topic);
    visit("payload", payload);
    visit("once", once);
    visit("expires_ms", expires_ms);
    visit("causal", causal);
  }
};

using Publication = BasicPublication<std::string, Buffer>;
using PublicationView = BasicPublication<std::string_view, Bytes>;

// The payload of a kPubSub batch.
template <class Message>
struct BasicPublications {
  std::vector<Message> messages;
  friend bool operator==(const BasicPublications&, const BasicPublications&)
    requires std::equality_comparable<Message>
  = default;

  template <class V>
  void fields(V& visit) {
    visit("messages", messages);
  }
};
using Publications = BasicPublications<Publication>;
using PublicationsView = BasicPublications<PublicationView>;

}  // namespace sedge::wire
