#include "engine/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace sedge::engine {

PrefixCache::Key PrefixCache::key_of(std::span<const std::int32_t> ids, std::size_t block) {
  Key key;
  std::ranges::copy(ids.subspan(block * kPrefixBlock, kPrefixBlock), key.begin());
  return key;
}

// The way to `node` is fresh, the root's end of it most: no block is older than those behind it.
void PrefixCache::touch(Node* node) {
  for (; node->parent != nullptr; node = node->parent) uses_.splice(uses_.begin(), uses_, node->use);
}

void PrefixCache::evict(std::size_t bytes) {
  while (bytes_ > bytes) {
    Node* oldest = uses_.back();
    SEDGE_ASSERT(oldest->children.empty());
    uses_.pop_back();
    bytes_ -= size_of(*oldest);
    oldest->parent->children.erase(Key(oldest->key));
  }
}

PrefixCache::Way PrefixCache::walk(const std::string& scope, std::span<const std::int32_t> ids, std::size_t blocks) {
  Way way{.node = &roots_[scope]};
  for (; way.depth < blocks; ++way.depth) {
    const auto child = way.node->children.find(key_of(ids, way.depth));
    if (child == way.node->children.end()) break;
    way.node = child->second.get();
  }
  return way;
}

// The values of blocks [first, last), as many as are known on the way.
std::vector<BlockValues> PrefixCache::known(const std::string& scope, std::span<const std::int32_t> ids,
                                            std::size_t first, std::size_t last) {
  const std::lock_guard lock(mutex_);
  const Way way = walk(scope, ids, last);
  touch(way.node);
  std::vector<BlockValues> values;
  std::size_t depth = way.depth;
  for (Node* node = way.node; depth > first; --depth, node = node->parent) values.push_back(node->values);
  std::ranges::reverse(values);
  return values;
}

// Whether the way to a block is known and the block is not.
bool PrefixCache::wants(const std::string& scope, std::span<const std::int32_t> ids, std::size_t block) {
  const std::lock_guard lock(mutex_);
  return walk(scope, ids, block + 1).depth == block;
}

void PrefixCache::insert(const std::string& scope, std::span<const std::int32_t> ids, std::size_t block,
                         BlockValues values) {
  const std::lock_guard lock(mutex_);
  const Way way = walk(scope, ids, block + 1);
  if (way.depth != block) return;  // another worker was quicker, or the way to it was evicted: nobody could find it
  auto node = std::make_unique<Node>(Node{.parent = way.node, .key = key_of(ids, block), .values = std::move(values)});
  node->use = uses_.insert(uses_.begin(), node.get());
  bytes_ += size_of(*node);
  touch(node.get());
  way.node->children.emplace(node->key, std::move(node));
  evict(bytes_max_);
}

std::size_t PrefixCache::recall(const std::string& scope, std::span<const std::int32_t> ids, Sequence& sequence,
                                std::size_t limit, std::size_t blocks_max) {
  const std::size_t begun = sequence.length(), first = begun / kPrefixBlock;
  // Only blocks that lie wholly in `ids` have a name; of the last one a part may be wanted.
  const std::size_t wanted = (limit + kPrefixBlock - 1) / kPrefixBlock;
  const std::size_t last = std::min({ids.size() / kPrefixBlock, wanted, first + blocks_max});
  if (begun >= limit || first >= last) return 0;
  std::vector<BlockValues> found = known(scope, ids, first, last);
  while (store_ != nullptr && first + found.size() < last) {
    const std::size_t block = first + found.size();
    BlockValues values =
        store_->load(scope, ids.first((block + 1) * kPrefixBlock), kPrefixBlock * sequence.numbers_per_position());
    if (values == nullptr) break;
    insert(scope, ids, block, values);
    found.push_back(std::move(values));
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::size_t begin = (first + i) * kPrefixBlock, end = std::min(begin + kPrefixBlock, limit);
    sequence.copy_in(*found[i], begin, kPrefixBlock, end);
  }
  return sequence.length() - begun;
}

void PrefixCache::keep(const std::string& scope, std::span<const std::int32_t> ids, const Sequence& sequence,
                       std::size_t from, std::size_t lasting) {
  const std::size_t whole = std::min(ids.size(), sequence.length()) / kPrefixBlock;
  for (std::size_t block = from / kPrefixBlock; block < whole; ++block) {
    if (!wants(scope, ids, block)) continue;
    auto copy = std::make_shared<std::vector<float>>(kPrefixBlock * sequence.numbers_per_position());
    sequence.copy_out(block * kPrefixBlock, kPrefixBlock, *copy);
    BlockValues values = std::move(copy);
    const std::size_t end = (block + 1) * kPrefixBlock;
    if (store_ != nullptr && end <= lasting) store_->save(scope, ids.first(end), values);
    insert(scope, ids, block, std::move(values));
  }
}

void PrefixCache::shrink(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  evict(bytes);
}

std::size_t PrefixCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace sedge::engine
