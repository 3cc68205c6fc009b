#include "node/peer_meter.h"

#include <algorithm>

namespace sedge::node {
namespace {

constexpr double kStraightCost = 0.125;

enum class Answer : std::uint8_t {
  kNone,
  kSmall,  // a packet, or what has bounds of its own
  kTable,  // at kControl
  kState
};

Answer answer_to(wire::MessageType type) {
  using enum wire::MessageType;
  switch (type) {
    case kMemberSync:
    case kMemberDigests:
      return Answer::kTable;
    case kStateVector:
    case kStateSketch:
    case kStateRanges:
    case kStateWant:
      return Answer::kState;
    case kProbe:
    case kProbeRequest:
    case kBroadcastGraft:
    case kStateStale:
    case kChunkQuery:
    case kTaskAssign:
    case kAuditRequest:
      return Answer::kSmall;
    default:
      return Answer::kNone;
  }
}

}  // namespace

bool PeerMeter::Bucket::spend(double per_s, double burst, Instant now, double amount) {
  spent = std::max(0.0, spent - to_seconds(now - at) * per_s);
  at = now;
  if (spent + amount > burst) return false;
  spent += amount;
  return true;
}

bool PeerMeter::takes(NodeId from, wire::MessageType type, const env::AnswersWaiting& waiting, Instant now) {
  Link& link = links_[from];
  const Answer answer = answer_to(type);
  const std::size_t before = answer == Answer::kTable ? waiting.control : answer == Answer::kState ? waiting.state : 0;
  bool takes = before <= options_.answer_waits;
  if (answer != Answer::kNone) takes = takes && link.asks.spend(options_.asks_per_s, options_.asks_burst, now);
  if (type == wire::MessageType::kChunkWant) {
    takes = link.wants.spend(options_.wants_per_s, options_.wants_burst, now);
  }
  dropped_ += takes ? 0 : 1;
  return takes;
}

mesh::BatchBudget PeerMeter::batch(NodeId from, bool straight, Instant now) {
  Bucket& batches = links_[from].batches;
  if (!batches.spend(options_.batches_per_s, options_.batches_burst, now, straight ? kStraightCost : 1)) {
    ++dropped_;
    return mesh::BatchBudget::kSpent;
  }
  return batches.spent > options_.batches_burst / 2 ? mesh::BatchBudget::kLow : mesh::BatchBudget::kEnough;
}

bool PeerMeter::lied(NodeId from, Instant now) {
  if (links_[from].lies.spend(options_.lies_per_s, options_.lies_burst, now)) return false;
  shun(from, now);
  return true;
}

bool PeerMeter::overran(NodeId from, std::size_t bytes, Instant now) {
  const auto amount = static_cast<double>(bytes);
  if (links_[from].overrun.spend(options_.overrun_per_s, options_.overrun_burst, now, amount)) return false;
  shun(from, now);
  return true;
}

void PeerMeter::shun(NodeId peer, Instant now) {
  std::erase_if(shunned_, [now](const auto& one) { return one.second <= now; });
  if (shunned_.size() >= kShunnedMax) {
    shunned_.erase(std::ranges::min_element(shunned_, {}, [](const auto& one) { return one.second; }));
  }
  shunned_[peer] = now + options_.shun_time;
}

bool PeerMeter::shunned(NodeId peer, Instant now) const {
  const auto found = shunned_.find(peer);
  return found != shunned_.end() && found->second > now;
}

}  // namespace sedge::node
