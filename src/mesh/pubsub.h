// Publish and subscribe by topic. Everything published reaches every node along the broadcast tree and is matched
// there; routing by interest was rejected: subscriptions would have to be replicated before the
// first message could flow, and a late subscription would miss messages without anybody knowing.
//
// Messages of one class (reliable or not, priority) leave as one signed batch of at most 64 KiB, at most one an
// interval unless it is full: a message on its own leaves at once, one that follows within the interval waits for its
// end and for company. The interval is a millisecond where others pass batches on and check each signature; where all
// are linked to us it is nothing, and what one turn of the loop published is a batch. Best-effort batches are kept
// within one datagram. A publisher needs the grant `pub <topic>`: every receiver checks it. A subscriber needs `sub
// <topic>`: checked where it lives, for each message. Local subscribers get a message within publish() itself.
//
// What a topic means here (who may publish and hear it, which filters match) is worked out once and remembered as a
// route until subscriptions or certificates change: most messages of a batch share their topic.
//
// A batch is accepted once, but who publishes may die and another go on: the answer of a task that was asked again, an
// order given twice. Such a message carries an id, and a node delivers at most one message of a topic and id; it
// remembers the latest kOnceMax of them.
//
// A message that is published `causal` is delivered nowhere before those that its publisher had delivered to its own
// subscribers (mesh/causal.h). Others are not held back by anything.
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
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/link.h"
#include "mesh/causal.h"
#include "mesh/expectation.h"
#include "mesh/topic.h"
#include "trust/directory.h"
#include "wire/broadcast_messages.h"

namespace sedge::mesh {

inline constexpr std::size_t kPayloadBytesMax = 60u << 10;
inline constexpr std::size_t kOnceMax = 8192;
inline constexpr Duration kBatchInterval = 1ms;

struct Message {
  std::string_view topic;  // both valid within the callback
  Bytes payload;
  NodeId origin;
};

using SubscriptionId = Number<struct SubscriptionTag>;

// Whether it may be published at all, grants apart. Errors: InvalidArgument.
Status check_message(std::string_view topic, Bytes payload);

struct PublishOptions {
  bool reliable = true;
  env::Priority priority = env::Priority::kNormal;
  std::optional<TaskId> once = std::nullopt;
  std::optional<Duration> lifespan = std::nullopt;  // nobody delivers it later than this
  bool causal = false;                              // after what this node had heard; reliable ones only
  bool for_all = false;  // at the pace of the slowest link on the way, not of most; reliable ones only
};

// Errors: InvalidArgument: they contradict each other.
Status check_options(const PublishOptions& options);

// What a subscriber wants to know besides the messages. The callbacks may do what a message's may.
struct SubscribeOptions {
  // Each topic that was heard is expected again within this (a filter without wildcards: from the start); if it is not,
  // on_late is called, once a period.
  std::optional<Duration> deadline = std::nullopt;
  std::function<void(std::string_view topic)> on_late{};
  // A node that published what this subscription hears was heard for the first time, or has died or left.
  std::function<void(NodeId publisher, bool alive)> on_liveliness{};
};

// What to hand to Broadcast::broadcast(BatchKind::kPubSub, ...).
struct OutgoingBatch {
  Buffer payload;
  wire::Reliability reliability = wire::Reliability::kReliable;
  env::Priority priority = env::Priority::kNormal;
};

struct PubSubStats {
  std::uint64_t published = 0;
  std::uint64_t delivered = 0;  // to local subscribers
  std::uint64_t refused = 0;    // no grant, or malformed
  std::uint64_t repeated = 0;   // known by their id
  std::uint64_t expired = 0;    // came after their lifespan
  std::uint64_t late = 0;       // topics that missed a deadline, here or of a promise
};

class PubSub {
 public:
  using Callback = std::function<void(const Message&)>;

  // `directory` outlives this.
  PubSub(NodeId self, const trust::Directory& directory, CausalOptions causal = {})
      : self_(self), directory_(directory), causal_(causal) {}
  void start(Instant now) { causal_.start(now); }

  // Errors: InvalidArgument (topic, payload over kPayloadBytesMax, or causal and best-effort); PermissionDenied.
  Status publish(std::string_view topic, Bytes payload, PublishOptions options, Instant now);

  // Errors: InvalidArgument. The callback may subscribe, unsubscribe and publish.
  Result<SubscriptionId> subscribe(std::string_view filter, Callback callback, SubscribeOptions options = {},
                                   Instant now = {});
  // The publisher's side of a deadline: on_late says that we ourselves did not publish on the topic in time.
  Result<SubscriptionId> promise(std::string_view topic, Duration deadline,
                                 std::function<void(std::string_view topic)> on_late, Instant now);
  void unsubscribe(SubscriptionId id);  // or a promise
  // A message of `id` that came another way, as a retained one does.
  void note_heard(SubscriptionId id, std::string_view topic, NodeId origin, Instant now);
  void note_published(std::string_view topic, Instant now);  // by us, another way
  // It died, left or was revoked.
  void on_member_gone(NodeId id);

  // The fleet clock in ms, or nothing while it is not settled: then nothing expires.
  void set_clock(std::function<std::optional<std::uint64_t>(Instant now)> clock) { clock_ = std::move(clock); }

  // The payload of a kPubSub batch. Errors: DataLoss: count it against the origin.
  Status on_broadcast(NodeId origin, Bytes payload, Instant now);

  // Least time between two batches of a class.
  void set_batch_interval(Duration interval) { interval_ = interval; }

  void on_timer(Instant now);
  Instant next_deadline() const;
  std::vector<OutgoingBatch> take_outgoing();
  std::size_t waiting_bytes() const { return waiting_bytes_; }  // published and not yet taken

  const PubSubStats& stats() const { return stats_; }
  const CausalOrder& causal() const { return causal_; }

 private:
  struct Subscriber {
    std::string filter;
    std::shared_ptr<const Callback> callback;  // shared: it may unsubscribe itself while it runs
    bool promise = false;                      // heard is what we publish, and nothing else
    std::optional<Expectation> expectation;
    std::shared_ptr<const SubscribeOptions> options;
    std::set<NodeId> publishers;  // heard alive, where somebody wants to know
  };
  struct Class {  // one batch is one of these
    wire::Reliability reliability = wire::Reliability::kReliable;
    env::Priority priority = env::Priority::kNormal;
    friend auto operator<=>(const Class&, const Class&) = default;
  };
  struct Waiting {
    Buffer messages;  // encoded, one behind the other
    std::uint64_t count = 0;
    Instant due{};   // of these messages
    Instant sent{};  // the batch before
  };
  struct Route {
    Status valid;  // as a topic
    bool hears = false;
    std::vector<SubscriptionId> subscriptions;  // that match, ascending
    std::map<NodeId, bool> may_publish;
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  using Routes = std::unordered_map<std::string, std::shared_ptr<Route>, TextHash, std::equal_to<>>;

  // Stays whole while callbacks change the subscriptions.
  std::shared_ptr<Route> route(std::string_view topic);
  bool may_publish(Route& route, NodeId origin, std::string_view topic) const;
  bool heard_before(std::string_view topic, const std::optional<TaskId>& once);
  bool expired(const std::optional<std::uint64_t>& expires_ms, Instant now) const;
  void deliver(const Route& route, const Message& message, Instant now);
  void take(NodeId origin, const wire::PublicationView& message, Route& way, Instant now);
  void hold(NodeId origin, const wire::PublicationView& message, bool allowed, Instant now);
  void release_held(Instant now);
  void tell_late(Instant now);
  void close(const Class& of, Waiting& waiting, Instant now);

  NodeId self_;
  const trust::Directory& directory_;
  std::uint64_t last_id_ = 0;
  std::map<SubscriptionId, Subscriber> subscribers_;
  std::size_t promises_ = 0;  // of them
  std::function<std::optional<std::uint64_t>(Instant)> clock_;
  std::map<Class, Waiting> waiting_;
  std::vector<OutgoingBatch> outgoing_;
  std::size_t waiting_bytes_ = 0;
  Duration interval_ = kBatchInterval;
  Routes routes_;
  std::uint64_t routes_of_ = 0;  // the directory's generation that they were worked out in
  using Heard = std::pair<TaskId, std::string>;
  std::set<Heard> heard_;
  std::deque<Heard> heard_order_;
  CausalOrder causal_;
  PubSubStats stats_;
};

}  // namespace sedge::mesh
