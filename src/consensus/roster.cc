#include "consensus/roster.h"

#include <algorithm>

namespace sedge::consensus {
namespace {

const Candidate* find(const std::vector<Candidate>& members, NodeId id) {
  const auto found = std::ranges::find(members, id, &Candidate::id);
  return found == members.end() ? nullptr : &*found;
}

Configuration without(Configuration from, NodeId id) {
  remove(from.voters, id);
  remove(from.learners, id);
  return from;
}

std::optional<NodeId> longest_alive(const Configuration& now, NodeId self, const std::vector<Candidate>& members,
                                    const RosterOptions& options) {
  const Candidate* best = nullptr;
  for (const Candidate& each : members) {
    if (!each.alive || each.revoked || !each.able || each.in_state < options.settled) continue;
    if (each.id == self || is_part(now, each.id)) continue;
    if (best == nullptr || each.in_state > best->in_state) best = &each;
  }
  return best == nullptr ? std::nullopt : std::optional(best->id);
}

}  // namespace

std::optional<Configuration> next_configuration(const Configuration& now, NodeId self,
                                                const std::vector<Candidate>& members,
                                                const std::function<bool(NodeId)>& ready,
                                                const RosterOptions& options) {
  std::optional<NodeId> long_dead;
  for (const NodeId id : now.voters) {
    const Candidate* of = find(members, id);
    if (id == self || of == nullptr) continue;
    if (of->revoked) return without(now, id);
    if (!of->alive && of->in_state >= options.replace_after) long_dead = id;
  }
  std::vector<NodeId> heirs;
  for (const NodeId id : now.learners) {
    const Candidate* of = find(members, id);
    if (of == nullptr || of->revoked || (!of->alive && of->in_state >= options.drop_learner)) return without(now, id);
    if (of->alive && ready(id)) heirs.push_back(id);
  }
  const bool even = now.voters.size() % 2 == 0;
  if (now.voters.size() < options.voters_max && heirs.size() >= (even ? 1 : 2)) {
    Configuration next = without(now, heirs.front());
    add(next.voters, heirs.front());
    return next;
  }
  if (long_dead && !heirs.empty()) return without(now, *long_dead);
  std::size_t wanted = long_dead ? 1 : 0;
  if (now.voters.size() < options.voters_max) wanted = even ? 1 : 2;
  Configuration next = now;
  if (next.learners.size() > wanted) {
    next.learners.pop_back();
    return next;
  }
  if (next.learners.size() == wanted) return std::nullopt;
  const auto newcomer = longest_alive(now, self, members, options);
  if (!newcomer) return std::nullopt;
  add(next.learners, *newcomer);
  return next;
}

}  // namespace sedge::consensus
