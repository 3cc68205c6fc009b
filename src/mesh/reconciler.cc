#include "mesh/reconciler.h"

#include <algorithm>

#include "wire/codec.h"
#include "wire/reconcile_messages.h"

namespace sedge::mesh {

wire::StateSketch Reconciler::open(NodeId peer, std::size_t symbols, Instant now) {
  std::array<std::uint8_t, 8> number{};
  ++opened_;
  for (std::size_t i = 0; i < number.size(); ++i) number[i] = static_cast<std::uint8_t>(opened_ >> 8 * i);
  const trust::Digest derived = trust::digest(number, secret_);
  wire::SessionKey key;
  std::copy_n(derived.begin(), key.size(), key.begin());
  return make({peer, key}, now).open(symbols);
}

Result<crdt::SessionAnswer> Reconciler::on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  switch (type) {
    case wire::MessageType::kStateSketch: {
      SEDGE_TRY(const auto message, wire::decode<wire::StateSketch>(body));
      SEDGE_TRY(crdt::Session* const session, session_of(from, message.key, now));
      return session->on_sketch(message);
    }
    case wire::MessageType::kStateRanges: {
      SEDGE_TRY(const auto message, wire::decode<wire::StateRanges>(body));
      SEDGE_TRY(crdt::Session* const session, session_of(from, message.key, now));
      return session->on_ranges(message);
    }
    case wire::MessageType::kStateWant: {
      SEDGE_TRY(const auto message, wire::decode<wire::StateWant>(body));
      SEDGE_TRY(crdt::Session* const session, session_of(from, message.key, now));
      return session->on_want(message);
    }
    default:
      return fail(Code::kInvalidArgument, "message type {} is not of a session", static_cast<int>(type));
  }
}

// The set as it was when the session began here; made again if it is gone.
Result<crdt::Session*> Reconciler::session_of(NodeId peer, const wire::SessionKey& key, Instant now) {
  const auto at = held_.find({peer, key});
  SEDGE_CHECK(spend(peer, at == held_.end() ? 3 : 1));
  if (at == held_.end()) return &make({peer, key}, now);
  at->second.used = now;
  return &at->second.session;
}

crdt::Session& Reconciler::make(const Name& name, Instant now) {
  crdt::Session& made = held_.insert_or_assign(name, Held{crdt::Session(crdt::ItemSet(name.second, replica_)), now})
                            .first->second.session;
  while (over_bounds()) {
    auto oldest = held_.end();
    for (auto at = held_.begin(); at != held_.end(); ++at) {
      if (at->first != name && (oldest == held_.end() || at->second.used < oldest->second.used)) oldest = at;
    }
    held_.erase(oldest);
  }
  return made;
}

bool Reconciler::over_bounds() const {
  std::size_t items = 0;
  for (const auto& [name, held] : held_) items += held.session.set().size();
  return held_.size() > 1 && (held_.size() > options_.sessions_max || items > options_.items_max);
}

Status Reconciler::spend(NodeId peer, std::size_t passes) {
  constexpr std::size_t kMessage = 1000;  // what the message itself costs, in writes
  const std::size_t work = passes * (kMessage + replica_.living().size());
  std::size_t& spent = spent_[peer];
  if (spent + work > options_.work_max) {
    return fail(Code::kResourceExhausted, "{} asks for more comparisons than it gets", peer.short_hex());
  }
  spent += work;
  return {};
}

void Reconciler::on_round(Instant now) {
  std::erase_if(held_, [&](const auto& one) { return now - one.second.used > options_.keep; });
  for (auto& [peer, spent] : spent_) spent -= std::min(spent, options_.work_a_round);
  std::erase_if(spent_, [](const auto& one) { return one.second == 0; });
}

void Reconciler::forget(NodeId peer) {
  std::erase_if(held_, [&](const auto& one) { return one.first.first == peer; });
  spent_.erase(peer);
}

}  // namespace sedge::mesh
