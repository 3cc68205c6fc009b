#include "platform/publish_queue.h"

#include <cstdint>
#include <cstring>
#include <utility>

namespace sedge::platform {
namespace {

constexpr std::size_t kRoomKept = 1u << 20;  // of an emptied lane; the rest of a burst's is given back

struct Header {  // then the topic, then the payload
  std::uint32_t topic_bytes = 0;
  std::uint32_t payload_bytes = 0;
  Instant until{};
};

std::size_t lane_of(const QueuedMessage& message) {
  return 3 * static_cast<std::size_t>(message.priority) + (message.for_all ? 0 : message.reliable ? 1 : 2);
}

}  // namespace

Result<bool> PublishQueue::push(const QueuedMessage& message) {
  const Header header{static_cast<std::uint32_t>(message.topic.size()),
                      static_cast<std::uint32_t>(message.payload.size()), message.until};
  const std::size_t bytes = sizeof header + header.topic_bytes + header.payload_bytes;
  const std::lock_guard lock(mutex_);
  Lane& lane = lanes_[lane_of(message)];
  if (lane.waiting.size() + lane.held + bytes > kLaneBytesMax) {
    return fail(Code::kResourceExhausted, "{} KiB wait to be published: try again soon",
                (lane.waiting.size() + lane.held) >> 10);
  }
  const auto* raw = reinterpret_cast<const std::uint8_t*>(&header);
  lane.waiting.insert(lane.waiting.end(), raw, raw + sizeof header);
  const Bytes topic = as_bytes(message.topic);
  lane.waiting.insert(lane.waiting.end(), topic.begin(), topic.end());
  lane.waiting.insert(lane.waiting.end(), message.payload.begin(), message.payload.end());
  return !told_.exchange(true);
}

void PublishQueue::drain(const std::function<bool(const QueuedMessage&)>& take) {
  std::array<bool, kLanes> busy{};
  bool any = false;
  {
    const std::lock_guard lock(mutex_);
    told_ = false;  // whoever pushes from here on tells again
    for (std::size_t i = 0; i < kLanes; ++i) {
      busy[i] = lanes_[i].collect();
      any |= busy[i];
    }
  }
  if (!any) return;
  for (std::size_t i = 0; i < kLanes; ++i) {
    if (busy[i]) hand_over(i, take);
  }
  const std::lock_guard lock(mutex_);
  for (Lane& lane : lanes_) lane.held = lane.taken.size() - lane.at;
}

// Whether the lane has anything to hand over.
bool PublishQueue::Lane::collect() {
  if (at < taken.size()) return true;  // first what was left
  if (waiting.empty()) return false;
  taken.clear();
  if (taken.capacity() > kRoomKept) taken = {};
  at = 0;
  std::swap(taken, waiting);
  held = taken.size();
  return true;
}

void PublishQueue::hand_over(std::size_t index, const std::function<bool(const QueuedMessage&)>& take) {
  Lane& lane = lanes_[index];
  QueuedMessage message{.topic = {},
                        .payload = {},
                        .reliable = index % 3 < 2,
                        .priority = static_cast<env::Priority>(index / 3),
                        .for_all = index % 3 == 0};
  while (lane.at < lane.taken.size()) {
    Header header;
    std::memcpy(&header, lane.taken.data() + lane.at, sizeof header);
    const Bytes rest = Bytes(lane.taken).subspan(lane.at + sizeof header);
    message.topic = as_text(rest.first(header.topic_bytes));
    message.payload = rest.subspan(header.topic_bytes, header.payload_bytes);
    message.until = header.until;
    if (!take(message)) return;
    lane.at += sizeof header + header.topic_bytes + header.payload_bytes;
  }
}

std::size_t PublishQueue::bytes() {
  const std::lock_guard lock(mutex_);
  std::size_t sum = 0;
  for (const Lane& lane : lanes_) sum += lane.waiting.size() + lane.held;
  return sum;
}

}  // namespace sedge::platform
