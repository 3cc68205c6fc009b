// Questions about who decides. A configuration changes by one voter at a time, so that any majority of the old one and
// any of the new one have a node in common and no joint phase is needed (Ongaro 2014, chapter 4).
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <vector>

#include "base/id.h"
#include "wire/consensus_messages.h"

namespace sedge::consensus {

using wire::Configuration;

inline bool contains(const std::vector<NodeId>& sorted, NodeId id) { return std::ranges::binary_search(sorted, id); }
inline bool is_voter(const Configuration& of, NodeId id) { return contains(of.voters, id); }
inline bool is_part(const Configuration& of, NodeId id) { return is_voter(of, id) || contains(of.learners, id); }
inline std::size_t majority(const Configuration& of) { return of.voters.size() / 2 + 1; }

inline void add(std::vector<NodeId>& sorted, NodeId id) {
  const auto at = std::ranges::lower_bound(sorted, id);
  if (at == sorted.end() || *at != id) sorted.insert(at, id);
}
inline void remove(std::vector<NodeId>& from, NodeId id) { std::erase(from, id); }

// As the wire demands it: sorted, each once, nobody both, not too many.
inline constexpr std::size_t kPartsMax = 16;
inline bool well_formed(const Configuration& of) {
  const auto strictly = [](const std::vector<NodeId>& ids) {
    return std::ranges::adjacent_find(ids, std::greater_equal<>()) == ids.end();
  };
  return strictly(of.voters) && strictly(of.learners) && of.voters.size() + of.learners.size() <= kPartsMax &&
         std::ranges::none_of(of.learners, [&](NodeId id) { return is_voter(of, id); });
}

// How many voters are in one and not in the other.
inline std::size_t voters_changed(const Configuration& a, const Configuration& b) {
  std::vector<NodeId> different;
  std::ranges::set_symmetric_difference(a.voters, b.voters, std::back_inserter(different));
  return different.size();
}

}  // namespace sedge::consensus
