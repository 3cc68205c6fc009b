#include "engine/prompt_lookup.h"

#include "base/prng.h"

namespace sedge::engine {
namespace {

std::uint64_t hash_before(std::span<const std::int32_t> ids, std::size_t place, std::size_t order) {
  std::uint64_t state = order;
  for (const std::int32_t id : ids.subspan(place - order, order)) {
    state ^= static_cast<std::uint32_t>(id);
    state = splitmix64(state);
  }
  return state;
}

}  // namespace

std::vector<std::int32_t> PromptLookup::guess(std::span<const std::int32_t> ids, std::size_t most) {
  for (; indexed_ < ids.size(); ++indexed_) {  // the newest place has nothing behind it yet
    for (std::size_t i = 0; i < kOrders.size(); ++i) {
      if (indexed_ < kOrders[i]) continue;
      places_[i][hash_before(ids, indexed_, kOrders[i])] = static_cast<std::uint32_t>(indexed_);
    }
  }
  std::vector<std::int32_t> guessed;
  for (std::size_t i = 0; i < kOrders.size() && guessed.empty(); ++i) {
    if (ids.size() < kOrders[i]) continue;
    const auto found = places_[i].find(hash_before(ids, ids.size(), kOrders[i]));
    if (found == places_[i].end()) continue;
    const std::size_t place = found->second, period = ids.size() - place;
    // What reaches the end goes round: a text that repeats itself goes on repeating.
    for (std::size_t k = 0; k < most; ++k) guessed.push_back(ids[place + k % period]);
  }
  return guessed;
}

}  // namespace sedge::engine
