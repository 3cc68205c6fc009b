// What travels along the broadcast tree: signed batches, the two messages that repair it (Leitao, Pereira, Rodrigues:
// "Epidemic Broadcast Trees", 2007), and the one that shapes it (mesh/tree.h). The batch is signed as its encoded bytes
// and passed on unchanged, so that a relay neither re-encodes nor can alter it. Layout: docs/formats/broadcast.md.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "wire/codec.h"
#include "wire/membership_messages.h"

namespace sedge::wire {

enum class BatchKind : std::uint8_t { kPubSub, kState, kLoad };
constexpr BatchKind wire_last(BatchKind) { return BatchKind::kLoad; }

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

struct Batch {
  BatchId id;
  BatchKind kind = BatchKind::kPubSub;
  bool reliable = true;       // false: passed on once, as a datagram where it fits, and never repaired
  std::uint8_t priority = 4;  // env::Priority of the frames that carry it
  bool direct = false;        // its origin is linked to every member: nobody passes it on unasked
  Buffer payload;
  friend bool operator==(const Batch&, const Batch&) = default;

  template <class V>
  void fields(V& visit) {
    visit("id", id);
    visit("kind", kind);
    visit("reliable", reliable);
    visit("priority", priority);
    visit("direct", direct);
    visit("payload", payload);
  }
};

struct SignedBatch {
  Buffer batch;              // an encoded Batch
  RawSignature signature{};  // by its origin, domain "sedge.batch.1"
  std::uint8_t hops = 0;     // of who sends this: 0 its origin. Not signed; it only says how widely to pass it on
  friend bool operator==(const SignedBatch&, const SignedBatch&) = default;

  template <class V>
  void fields(V& visit) {
    visit("batch", batch);
    visit("signature", signature);
    visit("hops", hops);
  }
};

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

// The payload of a kPubSub batch.
struct Publication {
  std::string topic;
  Buffer payload;
  std::optional<TaskId> once = std::nullopt;  // published again, by whomever, it is not delivered again
  friend bool operator==(const Publication&, const Publication&) = default;

  template <class V>
  void fields(V& visit) {
    visit("topic", topic);
    visit("payload", payload);
    visit("once", once);
  }
};

struct Publications {
  std::vector<Publication> messages;
  friend bool operator==(const Publications&, const Publications&) = default;

  template <class V>
  void fields(V& visit) {
    visit("messages", messages);
  }
};

}  // namespace sedge::wire
