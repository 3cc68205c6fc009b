#include "mesh/state_seen.h"

#include <algorithm>

#include "wire/codec.h"

namespace sedge::mesh {
namespace {

// Of former lives; who was away during more of them than that may miss the end of an older one, and is then mended by
// a reset as whoever comes late.
constexpr std::size_t kLivesMax = 16;

}  // namespace

std::string seen_path(NodeId id) { return fmt::format("sys/node/{}/seen", id.hex()); }

void SeenTable::note(NodeId id, const std::optional<crdt::OpView>& statement) {
  rows_.erase(id);
  if (!statement || !statement->value) return;
  auto seen = wire::decode<wire::StateSeen>(*statement->value);
  if (seen && seen->lives.size() <= kLivesMax) rows_[id] = {statement->dot, statement->stamp.ms(), *std::move(seen)};
}

std::size_t SeenTable::others() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(rows_, [&](const auto& row) { return row.first != self_ && counts(row.first); }));
}

std::uint64_t SeenTable::acknowledged_ms(bool with_self) const {
  std::optional<std::uint64_t> least;
  for (const auto& [id, row] : rows_) {
    if (!counts(id) || (id == self_ && !with_self)) continue;
    least = std::min(least.value_or(row.seen.seen_ms), row.seen.seen_ms);
  }
  return least.value_or(0);
}

std::uint64_t SeenTable::frontier_ms(std::size_t witnesses) const {
  std::vector<std::uint64_t> told;
  for (const auto& [id, row] : rows_) {
    if (id != self_ && counts(id)) told.push_back(row.seen.frontier_ms);
  }
  if (witnesses == 0 || told.size() < witnesses) return 0;
  std::ranges::sort(told, std::greater());
  return told[witnesses - 1];
}

bool SeenTable::complete(const Row& row, const crdt::VersionVector& known) {
  const auto whole = [&](const wire::StateLife& life) {
    return known.complete({row.dot.origin, life.epoch, life.last});
  };
  return known.complete(row.dot) && std::ranges::all_of(row.seen.lives, whole);
}

std::optional<std::uint64_t> SeenTable::seen_ms(const crdt::VersionVector& known, std::size_t enrolled,
                                                std::uint64_t now_ms) const {
  if (others() < enrolled) return std::nullopt;
  for (const auto& [origin, row] : known.rows()) {
    if (origin != self_ && counts(origin) && !stated(origin)) return std::nullopt;
  }
  std::uint64_t least = now_ms;
  for (const auto& [id, row] : rows_) {
    if (id == self_ || !counts(id)) continue;
    if (!complete(row, known)) return std::nullopt;
    least = std::min(least, row.stated_ms);
  }
  return least;
}

std::optional<std::uint64_t> SeenTable::in_touch_ms(const crdt::VersionVector& known, std::size_t enrolled,
                                                    std::uint64_t now_ms, Duration silence) const {
  const auto silence_ms = static_cast<std::uint64_t>(silence / 1ms);
  const bool of_two = std::max(others(), enrolled) < 2;
  std::uint64_t newest = 0;
  for (const auto& [id, row] : rows_) {
    if (id != self_ && counts(id)) newest = std::max(newest, row.stated_ms);
  }
  // Of two, each must go on without the other: who is away for good would keep the other from ever collecting.
  if (of_two && newest + silence_ms < now_ms) return now_ms;
  std::optional<std::uint64_t> least;
  for (const auto& [id, row] : rows_) {
    if (id == self_ || !counts(id) || row.stated_ms + silence_ms < newest) continue;
    if (!complete(row, known)) return std::nullopt;
    least = std::min(least.value_or(row.stated_ms), row.stated_ms);
  }
  return least.value_or(of_two ? now_ms : 0);
}

std::vector<wire::StateLife> former_lives(const crdt::VersionVector::Row* row, BootEpoch current) {
  std::vector<wire::StateLife> lives;
  if (!row) return lives;
  for (const auto& [epoch, set] : row->epochs) {
    if (epoch < current && set.max() > 0) lives.push_back({epoch, {set.max()}});
  }
  if (lives.size() > kLivesMax) lives.erase(lives.begin(), lives.end() - kLivesMax);
  return lives;
}

}  // namespace sedge::mesh
