#include "mesh/pubsub.h"

#include <algorithm>

#include "mesh/broadcast.h"

namespace sedge::mesh {

namespace {

constexpr Duration kBatchInterval = 1ms;
constexpr std::size_t kMessageOverhead = 8;  // two counts and a flag: more than they ever take at these sizes

std::size_t batch_bytes_max(bool reliable) { return reliable ? kBatchBytesMax : kBatchDatagramBytesMax; }

}  // namespace

Status PubSub::publish(std::string_view topic, Bytes payload, PublishOptions options, Instant now) {
  SEDGE_CHECK(check_topic(topic));
  if (payload.size() > kPayloadBytesMax) {
    return fail(Code::kInvalidArgument, "a message has at most {} bytes, this has {}: share it as a model or a file",
                kPayloadBytesMax, payload.size());
  }
  if (!directory_.allows(self_, trust::Verb::kPub, topic)) {
    return fail(Code::kPermissionDenied, "this node's certificate does not grant pub:{}", topic);
  }
  if (heard_before(topic, options.once)) return {};
  ++stats_.published;
  const Class of{options.reliable, options.priority};
  Waiting& waiting = waiting_[of];
  const std::size_t bytes = topic.size() + payload.size() + kMessageOverhead + (options.once ? sizeof(TaskId) : 0);
  if (!waiting.messages.messages.empty() && waiting.bytes + bytes > batch_bytes_max(of.reliable)) {
    close(of, waiting, now);
  }
  if (waiting.messages.messages.empty()) waiting.due = std::max(now, waiting.sent + kBatchInterval);
  waiting.bytes += bytes;
  waiting_bytes_ += bytes;
  waiting.messages.messages.push_back({std::string(topic), to_buffer(payload), options.once});
  if (directory_.allows(self_, trust::Verb::kSub, topic)) deliver({std::string(topic), payload, self_});
  return {};
}

Result<SubscriptionId> PubSub::subscribe(std::string_view filter, Callback callback) {
  SEDGE_CHECK(check_filter(filter));
  const SubscriptionId id{++last_id_};
  subscribers_[id] = {std::string(filter), std::make_shared<const Callback>(std::move(callback))};
  return id;
}

void PubSub::unsubscribe(SubscriptionId id) { subscribers_.erase(id); }

Status PubSub::on_broadcast(NodeId origin, Bytes payload, Instant /*now*/) {
  SEDGE_TRY(const auto batch, wire::decode<wire::Publications>(payload));
  Status first;
  for (const wire::Publication& publication : batch.messages) {
    Status allowed = check_topic(publication.topic);
    if (allowed && !directory_.allows(origin, trust::Verb::kPub, publication.topic)) {
      allowed = fail(Code::kPermissionDenied, "{} may not publish on '{}'", origin.short_hex(), publication.topic);
    }
    if (!allowed) {
      ++stats_.refused;
      if (first) first = std::move(allowed);
      continue;
    }
    if (heard_before(publication.topic, publication.once)) continue;
    if (directory_.allows(self_, trust::Verb::kSub, publication.topic)) {
      deliver({publication.topic, publication.payload, origin});
    }
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
void PubSub::deliver(const Message& message) {
  std::vector<SubscriptionId> matching;
  for (const auto& [id, subscriber] : subscribers_) {
    if (matches(subscriber.filter, message.topic)) matching.push_back(id);
  }
  for (const SubscriptionId id : matching) {
    const auto found = subscribers_.find(id);
    if (found == subscribers_.end()) continue;
    const std::shared_ptr<const Callback> callback = found->second.callback;
    ++stats_.delivered;
    (*callback)(message);
  }
}

void PubSub::close(const Class& of, Waiting& waiting, Instant now) {
  outgoing_.push_back({wire::encode(waiting.messages), of.reliable, of.priority});
  waiting = {.messages = {}, .bytes = 0, .due = {}, .sent = now};
}

void PubSub::on_timer(Instant now) {
  for (auto& [of, waiting] : waiting_) {
    if (!waiting.messages.messages.empty() && waiting.due <= now) close(of, waiting, now);
  }
}

Instant PubSub::next_deadline() const {
  Instant next = kNever;
  for (const auto& [of, waiting] : waiting_) {
    if (!waiting.messages.messages.empty()) next = std::min(next, waiting.due);
  }
  return next;
}

std::vector<OutgoingBatch> PubSub::take_outgoing() {
  waiting_bytes_ = 0;
  for (const auto& [of, waiting] : waiting_) waiting_bytes_ += waiting.bytes;
  return std::exchange(outgoing_, {});
}

}  // namespace sedge::mesh
