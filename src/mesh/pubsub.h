// Publish and subscribe by topic. Everything published reaches every node along the broadcast tree and is matched
// there; routing by interest was rejected: subscriptions would have to be replicated before the
// first message could flow, and a late subscription would miss messages without anybody knowing.
//
// Messages of one class (reliable or not, priority) wait at most 1 ms for company and leave as one signed batch of at
// most 64 KiB; best-effort batches are kept within one datagram. A publisher needs the grant `pub <topic>`: every
// receiver checks it. A subscriber needs `sub <topic>`: checked where it lives, for each message.
// Local subscribers get a message within publish() itself.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/link.h"
#include "mesh/topic.h"
#include "trust/directory.h"
#include "wire/broadcast_messages.h"

namespace sedge::mesh {

inline constexpr std::size_t kPayloadBytesMax = 60u << 10;

struct Message {
  std::string topic;
  Bytes payload;  // valid within the callback
  NodeId origin;
};

using SubscriptionId = Number<struct SubscriptionTag>;

struct PublishOptions {
  bool reliable = true;
  env::Priority priority = env::Priority::kNormal;
};

// What to hand to Broadcast::broadcast(BatchKind::kPubSub, ...).
struct OutgoingBatch {
  Buffer payload;
  bool reliable = true;
  env::Priority priority = env::Priority::kNormal;
};

struct PubSubStats {
  std::uint64_t published = 0;
  std::uint64_t delivered = 0;  // to local subscribers
  std::uint64_t refused = 0;    // no grant, or malformed
};

class PubSub {
 public:
  using Callback = std::function<void(const Message&)>;

  // `directory` outlives this.
  PubSub(NodeId self, const trust::Directory& directory) : self_(self), directory_(directory) {}

  // Errors: InvalidArgument (topic, or payload over kPayloadBytesMax); PermissionDenied.
  Status publish(std::string_view topic, Bytes payload, PublishOptions options, Instant now);

  // Errors: InvalidArgument. The callback may subscribe, unsubscribe and publish.
  Result<SubscriptionId> subscribe(std::string_view filter, Callback callback);
  void unsubscribe(SubscriptionId id);

  // The payload of a kPubSub batch. Errors: DataLoss: count it against the origin.
  Status on_broadcast(NodeId origin, Bytes payload, Instant now);

  void on_timer(Instant now);
  Instant next_deadline() const;
  std::vector<OutgoingBatch> take_outgoing();

  const PubSubStats& stats() const { return stats_; }

 private:
  struct Subscriber {
    std::string filter;
    std::shared_ptr<const Callback> callback;  // shared: it may unsubscribe itself while it runs
  };
  struct Class {  // one batch is one of these
    bool reliable = true;
    env::Priority priority = env::Priority::kNormal;
    friend auto operator<=>(const Class&, const Class&) = default;
  };
  struct Waiting {
    wire::Publications messages;
    std::size_t bytes = 0;
    Instant since{};
  };

  void deliver(const Message& message);
  void close(const Class& of, Waiting& waiting);

  NodeId self_;
  const trust::Directory& directory_;
  std::uint64_t last_id_ = 0;
  std::map<SubscriptionId, Subscriber> subscribers_;
  std::map<Class, Waiting> waiting_;
  std::vector<OutgoingBatch> outgoing_;
  PubSubStats stats_;
};

}  // namespace sedge::mesh
