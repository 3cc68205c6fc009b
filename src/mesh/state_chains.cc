// The certificates of those whose writes live here. Who passes a write on shows its writer's certificate to who lacks
// it; the writer may be dead, and the membership forgets it then. So the chain is on disk as long as one of its
// subject's writes is. Our own is in the home.
#include <algorithm>
#include <utility>

#include "mesh/state_sync.h"

namespace sedge::mesh {
namespace {

std::size_t hash_of(Bytes chain) { return std::hash<std::string_view>()(as_text(chain)); }

}  // namespace

bool StateSync::writes_live_of(NodeId origin) const {
  const auto first = replica_.living().lower_bound(crdt::Dot{origin, {}, {}});
  return first != replica_.living().end() && first->first.origin == origin;
}

// Of a home from before they were kept, and of our own former ids.
void StateSync::keep_chains() {
  std::vector<NodeId> gone;
  for (const auto& [origin, chain] : chains_) gone.push_back(origin);
  std::ranges::sort(gone);  // records are written in an order that is the same on every machine
  for (const NodeId origin : gone) drop_chain(origin);  // a crash came before
  const crdt::Living living = replica_.living();
  for (auto at = living.begin(); at != living.end();) {
    const NodeId origin = at->first.origin;
    keep_chain(origin);
    at = living.upper_bound(crdt::Dot{origin, {~std::uint64_t{0}}, {~std::uint64_t{0}}});
  }
}

void StateSync::keep_chain(NodeId origin) {
  if (origin == options_.self) return;
  const auto [kept, first] = chains_.try_emplace(origin);
  if (!first && kept->second.generation == directory_.generation()) return;
  const Bytes chain = directory_.chain_of(origin);
  kept->second.generation = directory_.generation();
  if (chain.empty()) return;
  const std::size_t before = std::exchange(kept->second.hash, hash_of(chain));
  if (!first && before == kept->second.hash) return;
  lazy({std::string(kStateChainBucket), to_buffer(origin.view()), to_buffer(chain), false});
}

void StateSync::drop_chain(NodeId origin) {
  if (writes_live_of(origin) || chains_.erase(origin) == 0) return;
  lazy({std::string(kStateChainBucket), to_buffer(origin.view()), {}, true});
}

// One that is not good any more (it has expired) is of no use to others either: not an error.
Status StateSync::load_chain(Bytes key, Bytes value) {
  SEDGE_TRY(const trust::CertificateChain chain, trust::decode_chain(value));
  const NodeId origin = trust::node_id_of(chain.node.subject);
  if (to_buffer(origin.view()) != to_buffer(key)) return fail(Code::kDataLoss, "holds the chain of {}", origin.hex());
  chains_[origin].hash = hash_of(value);
  if (hooks.learn_chain) static_cast<void>(hooks.learn_chain(value));
  return {};
}

}  // namespace sedge::mesh
