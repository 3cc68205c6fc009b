// What travels along the broadcast tree: signed batches, and the three messages that keep the tree (Leitao, Pereira,
// Rodrigues: "Epidemic Broadcast Trees", 2007). The batch is signed as its encoded bytes and passed on unchanged, so
// that a relay neither re-encodes nor can alter it. Layout: docs/formats/broadcast.md.
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
  Buffer payload;
  friend bool operator==(const Batch&, const Batch&) = default;

  template <class V>
  void fields(V& visit) {
    visit("id", id);
    visit("kind", kind);
    visit("reliable", reliable);
    visit("priority", priority);
    visit("payload", payload);
  }
};

struct SignedBatch {
  Buffer batch;              // an encoded Batch
  RawSignature signature{};  // by its origin, domain "sedge.batch.1"
  friend bool operator==(const SignedBatch&, const SignedBatch&) = default;

  template <class V>
  void fields(V& visit) {
    visit("batch", batch);
    visit("signature", signature);
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

// "Send me these, and from now on everything": the link becomes part of the tree.
struct BroadcastGraft {
  std::vector<BatchId> wanted;
  friend bool operator==(const BroadcastGraft&, const BroadcastGraft&) = default;

  template <class V>
  void fields(V& visit) {
    visit("wanted", wanted);
  }
};

// "I had that already": the link leaves the tree and carries announcements only.
struct BroadcastPrune {
  friend bool operator==(const BroadcastPrune&, const BroadcastPrune&) = default;

  template <class V>
  void fields(V&) {}
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
