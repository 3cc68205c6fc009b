// Publish and subscribe by topic. Everything published reaches every node along the broadcast tree and is matched
// there; routing by interest was rejected: subscriptions would have to be replicated before the
// first message could flow, and a late subscription would miss messages without anybody knowing.
//
// Messages of one class (reliable or not, priority) leave as one signed batch of at most 64 KiB, at most one a
// millisecond unless it is full: a message on its own leaves at once, one that follows within the millisecond waits for
// its end and for company. Best-effort batches are kept within one datagram. A publisher needs the grant `pub <topic>`:
// every receiver checks it. A subscriber needs `sub <topic>`: checked where it lives, for each message. Local
// subscribers get a message within publish() itself.
//
// A batch is accepted once, but who publishes may die and another go on: the answer of a task that was asked again, an
// order given twice. Such a message carries an id, and a node delivers at most one message of a topic and id; it
// remembers the latest kOnceMax of them.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
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
inline constexpr std::size_t kOnceMax = 8192;

struct Message {
  std::string topic;
  Bytes payload;  // valid within the callback
  NodeId origin;
};

using SubscriptionId = Number<struct SubscriptionTag>;

struct PublishOptions {
  bool reliable = true;
  env::Priority priority = env::Priority::kNormal;
  std::optional<TaskId> once = std::nullopt;
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
  std::uint64_t repeated = 0;   // known by their id
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
  std::size_t waiting_bytes() const { return waiting_bytes_; }  // published and not yet taken

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
    Instant due{};   // of these messages
    Instant sent{};  // the batch before
  };

  bool heard_before(std::string_view topic, const std::optional<TaskId>& once);
  void deliver(const Message& message);
  void close(const Class& of, Waiting& waiting, Instant now);

  NodeId self_;
  const trust::Directory& directory_;
  std::uint64_t last_id_ = 0;
  std::map<SubscriptionId, Subscriber> subscribers_;
  std::map<Class, Waiting> waiting_;
  std::vector<OutgoingBatch> outgoing_;
  std::size_t waiting_bytes_ = 0;
  using Heard = std::pair<TaskId, std::string>;
  std::set<Heard> heard_;
  std::deque<Heard> heard_order_;
  PubSubStats stats_;
};

}  // namespace sedge::mesh
