#include "mesh/pubsub.h"

#include <algorithm>

#include "mesh/broadcast.h"

namespace sedge::mesh {
namespace {

constexpr std::size_t kCountBytesMax = 10;  // of a batch's messages, as a varint
constexpr std::size_t kRoutesMax = 1024;
constexpr std::size_t kPublishersMax = 1024;  // of a topic; either full, all are worked out again

std::size_t batch_bytes_max(wire::Reliability of) {
  return (of == wire::Reliability::kBestEffort ? kBatchDatagramBytesMax : kBatchBytesMax) - kCountBytesMax;
}

struct Count {
  std::uint64_t messages = 0;
  template <class V>
  void fields(V& visit) {
    visit("messages", messages);
  }
};

Status check_size(Bytes payload) {
  if (payload.size() <= kPayloadBytesMax) return {};
  return fail(Code::kInvalidArgument, "a message has at most {} bytes, this has {}: share it as a model or a file",
              kPayloadBytesMax, payload.size());
}

}  // namespace

Status check_message(std::string_view topic, Bytes payload) {
  SEDGE_CHECK(check_topic(topic));
  return check_size(payload);
}

std::shared_ptr<PubSub::Route> PubSub::route(std::string_view topic) {
  if (routes_of_ != directory_.generation() || routes_.size() > kRoutesMax) {
    routes_.clear();
    routes_of_ = directory_.generation();
  }
  if (const auto known = routes_.find(topic); known != routes_.end()) return known->second;
  auto made = std::make_shared<Route>();
  made->valid = check_topic(topic);
  if (!made->valid) return made;
  made->hears = directory_.allows(self_, trust::Verb::kSub, topic);
  for (const auto& [id, subscriber] : subscribers_) {
    if (matches(subscriber.filter, topic)) made->subscriptions.push_back(id);
  }
  return routes_.emplace(topic, std::move(made)).first->second;
}

bool PubSub::may_publish(Route& route, NodeId origin, std::string_view topic) const {
  if (const auto known = route.may_publish.find(origin); known != route.may_publish.end()) return known->second;
  if (route.may_publish.size() >= kPublishersMax) route.may_publish.clear();
  return route.may_publish[origin] = directory_.allows(origin, trust::Verb::kPub, topic);
}

Status check_options(const PublishOptions& options) {
  if (options.reliable || (!options.causal && !options.for_all)) return {};
  if (options.for_all) return fail(Code::kInvalidArgument, "a message that may be lost waits for nobody");
  return fail(Code::kInvalidArgument, "who waits for a message must be able to count on it: causal ones are reliable");
}

Status PubSub::publish(std::string_view topic, Bytes payload, PublishOptions options, Instant now) {
  const std::shared_ptr<Route> way = route(topic);
  SEDGE_CHECK(way->valid);
  SEDGE_CHECK(check_size(payload));
  if (!may_publish(*way, self_, topic)) {
    return fail(Code::kPermissionDenied, "this node's certificate does not grant pub:{}", topic);
  }
  SEDGE_CHECK(check_options(options));
  if (heard_before(topic, options.once)) return {};
  ++stats_.published;
  using enum wire::Reliability;
  const Class of{options.for_all ? kForAll : options.reliable ? kReliable : kBestEffort, options.priority};
  Waiting& waiting = waiting_[of];
  wire::PublicationView message{topic, payload, options.once};
  if (options.causal) {
    message.causal = causal_.stamp(now);
    (void)causal_.admit(self_, *message.causal, now);  // delivered here: what it causes elsewhere comes back to us
  }
  const std::optional<std::uint64_t> fleet_ms = options.lifespan && clock_ ? clock_(now) : std::nullopt;
  if (fleet_ms)
    message.expires_ms = *fleet_ms + static_cast<std::uint64_t>(std::max<Duration>(*options.lifespan, 1ms) / 1ms);
  const std::size_t before = waiting.messages.size();
  waiting.messages = wire::encode(message, std::move(waiting.messages));
  waiting_bytes_ += waiting.messages.size() - before;
  if (before > 0 && waiting.messages.size() > batch_bytes_max(of.reliability)) {  // the next batch begins with it
    Buffer next(waiting.messages.begin() + static_cast<std::ptrdiff_t>(before), waiting.messages.end());
    waiting.messages.resize(before);
    close(of, waiting, now);
    waiting.messages = std::move(next);
  }
  if (waiting.count++ == 0) waiting.due = std::max(now, waiting.sent + interval_);
  if (promises_ > 0) note_published(topic, now);
  if (way->hears) deliver(*way, {topic, payload, self_}, now);
  return {};
}

Result<SubscriptionId> PubSub::subscribe(std::string_view filter, Callback callback, SubscribeOptions options,
                                         Instant now) {
  SEDGE_CHECK(check_filter(filter));
  if (options.deadline && *options.deadline <= Duration::zero()) {
    return fail(Code::kInvalidArgument, "the deadline of '{}' is a time greater than zero", filter);
  }
  const SubscriptionId id{++last_id_};
  Subscriber& made = subscribers_[id];
  made.filter = filter;
  made.callback = std::make_shared<const Callback>(std::move(callback));
  if (options.deadline) {
    made.expectation.emplace(*options.deadline);
    if (check_topic(filter)) made.expectation->heard(filter, now);
  }
  made.options = std::make_shared<const SubscribeOptions>(std::move(options));
  routes_.clear();
  return id;
}

Result<SubscriptionId> PubSub::promise(std::string_view topic, Duration deadline,
                                       std::function<void(std::string_view)> on_late, Instant now) {
  SEDGE_CHECK(check_topic(topic));
  SEDGE_TRY(const SubscriptionId id,
            subscribe(topic, [](const Message&) {}, {.deadline = deadline, .on_late = std::move(on_late)}, now));
  subscribers_[id].promise = true;
  ++promises_;
  return id;
}

void PubSub::unsubscribe(SubscriptionId id) {
  const auto gone = subscribers_.extract(id);
  if (gone && gone.mapped().promise) --promises_;
  routes_.clear();
}

void PubSub::note_heard(SubscriptionId id, std::string_view topic, NodeId origin, Instant now) {
  const auto found = subscribers_.find(id);
  if (found == subscribers_.end() || found->second.promise) return;
  Subscriber& subscriber = found->second;
  if (subscriber.expectation) subscriber.expectation->heard(topic, now);
  if (!subscriber.options->on_liveliness || subscriber.publishers.size() >= kPublishersMax) return;
  const auto options = subscriber.options;  // it may unsubscribe itself
  if (subscriber.publishers.insert(origin).second) options->on_liveliness(origin, true);
}

void PubSub::note_published(std::string_view topic, Instant now) {
  for (auto& [id, subscriber] : subscribers_) {
    if (subscriber.promise && subscriber.filter == topic) subscriber.expectation->heard(topic, now);
  }
}

void PubSub::on_member_gone(NodeId id) {
  std::vector<std::shared_ptr<const SubscribeOptions>> tell;
  for (auto& [subscription, subscriber] : subscribers_) {
    if (subscriber.publishers.erase(id) > 0) tell.push_back(subscriber.options);
  }
  for (const auto& options : tell) options->on_liveliness(id, false);
}

void PubSub::tell_late(Instant now) {
  std::vector<std::pair<std::shared_ptr<const SubscribeOptions>, std::string>> tell;
  for (auto& [id, subscriber] : subscribers_) {
    if (!subscriber.expectation) continue;
    for (std::string& topic : subscriber.expectation->late(now))
      tell.emplace_back(subscriber.options, std::move(topic));
  }
  stats_.late += tell.size();
  for (const auto& [options, topic] : tell) {
    if (options->on_late) options->on_late(topic);
  }
}

bool PubSub::expired(const std::optional<std::uint64_t>& expires_ms, Instant now) const {
  const std::optional<std::uint64_t> fleet_ms = expires_ms && clock_ ? clock_(now) : std::nullopt;
  return fleet_ms && *fleet_ms > *expires_ms;
}

Status PubSub::on_broadcast(NodeId origin, Bytes payload, Instant now) {
  SEDGE_TRY(const auto batch, wire::decode<wire::PublicationsView>(payload));
  Status first;
  for (const wire::PublicationView& message : batch.messages) {
    const std::shared_ptr<Route> way = route(message.topic);
    Status allowed = way->valid;
    if (allowed && !may_publish(*way, origin, message.topic)) {
      allowed = fail(Code::kPermissionDenied, "{} may not publish on '{}'", origin.short_hex(), message.topic);
    }
    const bool in_order = message.causal.has_value();
    if (in_order) {
      const Status named = causal_.check(origin, *message.causal);
      if (allowed) allowed = named;
      // What is refused has its place all the same: others of its origin wait for it.
      if (named && !causal_.admit(origin, *message.causal, now)) {
        hold(origin, message, allowed.has_value(), now);
        release_held(now);
        if (allowed) continue;
      }
    }
    if (allowed)
      take(origin, message, *way, now);
    else {
      ++stats_.refused;
      if (first) first = std::move(allowed);
    }
    if (in_order) release_held(now);
  }
  return first;
}

// It is its turn.
void PubSub::take(NodeId origin, const wire::PublicationView& message, Route& way, Instant now) {
  if (expired(message.expires_ms, now)) {
    ++stats_.expired;
    return;
  }
  if (heard_before(message.topic, message.once) || !way.hears) return;
  if (message.causal && !way.subscriptions.empty()) causal_.heard(origin, *message.causal, now);
  deliver(way, {message.topic, message.payload, origin}, now);
}

void PubSub::hold(NodeId origin, const wire::PublicationView& message, bool allowed, Instant now) {
  CausalMessage held{
      .origin = origin, .context = *message.causal, .once = message.once, .expires_ms = message.expires_ms};
  if (allowed) {
    held.topic = message.topic;
    held.payload = to_buffer(message.payload);
  }
  causal_.hold(std::move(held), now);
}

void PubSub::release_held(Instant now) {
  while (const std::optional<CausalMessage> held = causal_.take_ready(now)) {
    if (held->topic.empty()) continue;
    const std::shared_ptr<Route> way = route(held->topic);  // grants may have changed meanwhile
    if (!way->valid || !may_publish(*way, held->origin, held->topic)) {
      ++stats_.refused;
      continue;
    }
    take(held->origin, {held->topic, held->payload, held->once, held->expires_ms, held->context}, *way, now);
  }
}

// Remembers it, too.
bool PubSub::heard_before(std::string_view topic, const std::optional<TaskId>& once) {
  if (!once) return false;
  Heard heard{*once, std::string(topic)};
  if (!heard_.insert(heard).second) {
    ++stats_.repeated;
    return true;
  }
  heard_order_.push_back(std::move(heard));
  if (heard_order_.size() > kOnceMax) {
    heard_.erase(heard_order_.front());
    heard_order_.pop_front();
  }
  return false;
}

// A callback may change the subscriptions: whoever matched at the start gets the message unless it has gone since.
void PubSub::deliver(const Route& route, const Message& message, Instant now) {
  for (const SubscriptionId id : route.subscriptions) {
    auto found = subscribers_.find(id);
    if (found == subscribers_.end() || found->second.promise) continue;
    if (found->second.expectation || found->second.options->on_liveliness) {
      note_heard(id, message.topic, message.origin, now);
      found = subscribers_.find(id);
      if (found == subscribers_.end()) continue;
    }
    const std::shared_ptr<const Callback> callback = found->second.callback;
    ++stats_.delivered;
    (*callback)(message);
  }
}

void PubSub::close(const Class& of, Waiting& waiting, Instant now) {
  Buffer payload = wire::encode(Count{waiting.count});
  payload.insert(payload.end(), waiting.messages.begin(), waiting.messages.end());
  outgoing_.push_back({std::move(payload), of.reliability, of.priority});
  waiting.messages.clear();  // its room is used again
  waiting.count = 0;
  waiting.sent = now;
}

void PubSub::on_timer(Instant now) {
  for (auto& [of, waiting] : waiting_) {
    if (waiting.count > 0 && waiting.due <= now) close(of, waiting, now);
  }
  release_held(now);
  tell_late(now);
}

Instant PubSub::next_deadline() const {
  Instant next = causal_.next_deadline();
  for (const auto& [of, waiting] : waiting_) {
    if (waiting.count > 0) next = std::min(next, waiting.due);
  }
  for (const auto& [id, subscriber] : subscribers_) {
    if (subscriber.expectation) next = std::min(next, subscriber.expectation->next_deadline());
  }
  return next;
}

std::vector<OutgoingBatch> PubSub::take_outgoing() {
  for (auto& [of, waiting] : waiting_) {
    if (waiting.count > 0 && interval_ == Duration::zero()) close(of, waiting, waiting.due);
  }
  waiting_bytes_ = 0;
  for (const auto& [of, waiting] : waiting_) waiting_bytes_ += waiting.messages.size();
  return std::exchange(outgoing_, {});
}

}  // namespace sedge::mesh
