#include "crdt/item_set.h"

#include <algorithm>

#include "base/assert.h"
#include "trust/short_hash.h"

namespace sedge::crdt {

ItemSet::ItemSet(const wire::SessionKey& key, const Replica& replica) : key_(key) {
  items_.reserve(replica.living().size());
  for (const auto& [dot, op] : replica.living()) add(dot, op.stamp, op.signature);
  seal();
}

void ItemSet::add(const Dot& dot, Hlc stamp, const trust::Signature& signature) {
  const trust::ShortHash hash = trust::short_hash(key_, signature.bytes);
  items_.push_back({{stamp.value, hash[0]}, dot, hash});
}

void ItemSet::seal() {
  std::ranges::sort(items_, {}, &Item::at);
  Digest sum{};
  for (Item& item : items_) {
    for (std::size_t word = 0; word < sum.size(); ++word) sum[word] += item.sum[word];
    item.sum = sum;
  }
}

std::size_t ItemSet::position(const Bound& bound) const {
  return static_cast<std::size_t>(std::ranges::lower_bound(items_, bound, {}, &Item::at) - items_.begin());
}

Digest ItemSet::fingerprint(std::size_t from, std::size_t to) const {
  SEDGE_ASSERT(from <= to && to <= items_.size());
  Digest out = to == 0 ? Digest{} : items_[to - 1].sum;
  if (from == 0) return out;
  for (std::size_t word = 0; word < out.size(); ++word) out[word] -= items_[from - 1].sum[word];
  return out;
}

Bound ItemSet::bound_before(std::size_t at) const {
  SEDGE_ASSERT(at > 0 && at < items_.size());
  const Bound& below = items_[at - 1].at;
  const Bound& above = items_[at].at;
  if (below.stamp != above.stamp) return {above.stamp, 0};
  for (int shift = 56; shift > 0; shift -= 8) {
    const std::uint64_t prefix = above.tie >> shift << shift;
    if (prefix > below.tie) return {above.stamp, prefix};
  }
  return above;
}

std::vector<Dot> ItemSet::find(std::vector<std::uint64_t> names) const {
  std::vector<Dot> dots;
  if (names.empty()) return dots;
  std::ranges::sort(names);
  for (auto item = items_.rbegin(); item != items_.rend(); ++item) {
    if (std::ranges::binary_search(names, item->name())) dots.push_back(item->dot);
  }
  return dots;
}

wire::SessionId to_wire(std::uint64_t name) {
  wire::SessionId out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(name >> (56 - 8 * i));
  return out;
}

std::uint64_t from_wire(const wire::SessionId& name) {
  std::uint64_t out = 0;
  for (const std::uint8_t byte : name) out = out << 8 | byte;
  return out;
}

}  // namespace sedge::crdt
