#include "mesh/pubsub.h"

#include <algorithm>

#include "mesh/broadcast.h"

namespace sedge::mesh {
namespace {

constexpr std::size_t kCountBytesMax = 10;  // of a batch's messages, as a varint
constexpr std::size_t kRoutesMax = 1024;
constexpr std::size_t kPublishersMax = 1024;  // of a topic; either full, all are worked out again

std::size_t batch_bytes_max(bool reliable) {
  return (reliable ? kBatchBytesMax : kBatchDatagramBytesMax) - kCountBytesMax;
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

Status PubSub::publish(std::string_view topic, Bytes payload, PublishOptions options, Instant now) {
  const std::shared_ptr<Route> way = route(topic);
  SEDGE_CHECK(way->valid);
  SEDGE_CHECK(check_size(payload));
  if (!may_publish(*way, self_, topic)) {
    return fail(Code::kPermissionDenied, "this node's certificate does not grant pub:{}", topic);
  }
  if (heard_before(topic, options.once)) return {};
  ++stats_.published;
  const Class of{options.reliable, options.priority};
  Waiting& waiting = waiting_[of];
  const wire::PublicationView message{topic, payload, options.once};
  const std::size_t before = waiting.messages.size();
  waiting.messages = wire::encode(message, std::move(waiting.messages));
  waiting_bytes_ += waiting.messages.size() - before;
  if (before > 0 && waiting.messages.size() > batch_bytes_max(of.reliable)) {  // the next batch begins with it
    Buffer next(waiting.messages.begin() + static_cast<std::ptrdiff_t>(before), waiting.messages.end());
    waiting.messages.resize(before);
    close(of, waiting, now);
    waiting.messages = std::move(next);
  }
  if (waiting.count++ == 0) waiting.due = std::max(now, waiting.sent + interval_);
  if (way->hears) deliver(*way, {topic, payload, self_});
  return {};
}

Result<SubscriptionId> PubSub::subscribe(std::string_view filter, Callback callback) {
  SEDGE_CHECK(check_filter(filter));
  const SubscriptionId id{++last_id_};
  subscribers_[id] = {std::string(filter), std::make_shared<const Callback>(std::move(callback))};
  routes_.clear();
  return id;
}

void PubSub::unsubscribe(SubscriptionId id) {
  subscribers_.erase(id);
  routes_.clear();
}

Status PubSub::on_broadcast(NodeId origin, Bytes payload, Instant /*now*/) {
  SEDGE_TRY(const auto batch, wire::decode<wire::PublicationsView>(payload));
  Status first;
  for (const auto& [topic, text, once] : batch.messages) {
    const std::shared_ptr<Route> way = route(topic);
    Status allowed = way->valid;
    if (allowed && !may_publish(*way, origin, topic)) {
      allowed = fail(Code::kPermissionDenied, "{} may not publish on '{}'", origin.short_hex(), topic);
    }
    if (!allowed) {
      ++stats_.refused;
      if (first) first = std::move(allowed);
      continue;
    }
    if (!heard_before(topic, once) && way->hears) deliver(*way, {topic, text, origin});
  }
  return first;
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
void PubSub::deliver(const Route& route, const Message& message) {
  for (const SubscriptionId id : route.subscriptions) {
    const auto found = subscribers_.find(id);
    if (found == subscribers_.end()) continue;
    const std::shared_ptr<const Callback> callback = found->second.callback;
    ++stats_.delivered;
    (*callback)(message);
  }
}

void PubSub::close(const Class& of, Waiting& waiting, Instant now) {
  Buffer payload = wire::encode(Count{waiting.count});
  payload.insert(payload.end(), waiting.messages.begin(), waiting.messages.end());
  outgoing_.push_back({std::move(payload), of.reliable, of.priority});
  waiting.messages.clear();  // its room is used again
  waiting.count = 0;
  waiting.sent = now;
}

void PubSub::on_timer(Instant now) {
  for (auto& [of, waiting] : waiting_) {
    if (waiting.count > 0 && waiting.due <= now) close(of, waiting, now);
  }
}

Instant PubSub::next_deadline() const {
  Instant next = kNever;
  for (const auto& [of, waiting] : waiting_) {
    if (waiting.count > 0) next = std::min(next, waiting.due);
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
