#include "mesh/state_reset.h"

#include <algorithm>

#include "wire/state_messages.h"

namespace sedge::mesh {
namespace {

// Not about what is never collected: what ends it lives and comes by itself.
bool asked_about(const crdt::OpView& op, crdt::Hlc upto) {
  return op.stamp < upto && op.kind != crdt::OpKind::kCounter && !crdt::is_tombstone(op) &&
         crdt::family_of(op.kind) != crdt::Family::k2PSet && !op.path.starts_with("sys/");
}

}  // namespace

std::optional<DotSet> StateReset::page(NodeId peer, const crdt::Replica& replica, std::uint64_t frontier_ms,
                                       std::size_t enough) {
  const bool all = heard() < enough;
  const auto open = [&](const crdt::Dot& dot) {
    const auto at = votes_.find(dot);
    return at != votes_.end() && at->second.undecided(enough);
  };
  Witness& witness = witnesses_[peer];
  if (witness.done) return std::nullopt;
  if (witness.frontier_ms == 0) witness.frontier_ms = frontier_ms;
  witness.asked.clear();
  std::size_t listed = 0;
  const crdt::Living living = replica.living();
  for (auto at = living.upper_bound(witness.upto); at != living.end() && listed < wire::kStaleDotsMax; ++at) {
    const auto [dot, op] = *at;
    if (!asked_about(op, crdt::Hlc::at_ms(witness.frontier_ms)) || !(all || open(dot))) continue;
    witness.asked[{dot.origin, dot.epoch}].add(dot.sequence.value, dot.sequence.value);
    ++listed;
  }
  witness.done = listed == 0;
  if (witness.done) return std::nullopt;
  return witness.asked;
}

Status StateReset::answer(NodeId peer, const DotSet& gone, const DotSet& unseen, std::uint64_t frontier_ms) {
  const auto found = witnesses_.find(peer);
  if (found == witnesses_.end() || found->second.asked.empty())
    return {};  // late: asked again meanwhile, or not at all
  Witness& witness = found->second;
  const auto in_question = [&](const DotSet& dots) -> Result<bool> {
    SEDGE_TRY(const std::vector<crdt::Dot> named, dots_of(dots, wire::kStaleDotsMax));
    return std::ranges::all_of(named, [&](const crdt::Dot& dot) { return contains(witness.asked, dot); });
  };
  SEDGE_TRY(const bool gone_asked, in_question(gone));
  SEDGE_TRY(const bool unseen_asked, in_question(unseen));
  if (frontier_ms < witness.frontier_ms || !gone_asked || !unseen_asked) {
    return fail(Code::kDataLoss, "an answer about other writes than were asked about");
  }
  SEDGE_TRY(const std::vector<crdt::Dot> asked, dots_of(witness.asked, wire::kStaleDotsMax));
  for (const crdt::Dot& dot : asked) {
    Votes& votes = votes_[dot];
    ++(contains(gone, dot) ? votes.gone : contains(unseen, dot) ? votes.unseen : votes.lives);
  }
  witness.upto = asked.back();
  witness.asked.clear();
  return {};
}

bool StateReset::heard(NodeId peer) const {
  const auto found = witnesses_.find(peer);
  return found != witnesses_.end() && found->second.done;
}

std::size_t StateReset::heard() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(witnesses_, [](const auto& witness) { return witness.second.done; }));
}

std::uint64_t StateReset::frontier_ms() const {
  std::uint64_t least = ~std::uint64_t{0};
  for (const auto& [peer, witness] : witnesses_) {
    if (witness.done) least = std::min(least, witness.frontier_ms);
  }
  return least;
}

std::vector<crdt::Dot> StateReset::over(std::size_t witnesses) const {
  std::vector<crdt::Dot> dots;
  for (const auto& [dot, votes] : votes_) {
    if (votes.over(witnesses)) dots.push_back(dot);
  }
  return dots;
}

bool StateReset::undecided(std::size_t witnesses) const {
  return std::ranges::any_of(votes_, [&](const auto& vote) { return vote.second.undecided(witnesses); });
}

}  // namespace sedge::mesh
