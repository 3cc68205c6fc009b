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
    if (memory_ != nullptr) memory_->give_back(size_of(*oldest));
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

// The values of blocks [first, last), as many as are known on the way. What is of an answer becomes a prompt's when the
// conversation goes on: then the store gets it.
std::vector<BlockValues> PrefixCache::known(const std::string& scope, std::span<const std::int32_t> ids,
                                            std::size_t first, std::size_t last, std::size_t lasting) {
  std::vector<BlockValues> values;
  std::vector<std::size_t> fresh;  // to the store, which may look at its files: not under the lock
  {
    const std::lock_guard lock(mutex_);
    const Way way = walk(scope, ids, last);
    touch(way.node);
    std::size_t depth = way.depth;
    for (Node* node = way.node; depth > first; --depth, node = node->parent) {
      values.push_back(node->values);
      const bool lasts = store_ != nullptr && depth * kPrefixBlock <= lasting;
      if (lasts && !std::exchange(node->stored, true)) fresh.push_back(depth);
    }
  }
  std::ranges::reverse(values);
  for (const std::size_t depth : fresh) store_->save(scope, ids.first(depth * kPrefixBlock), values[depth - first - 1]);
  return values;
}

// How many blocks on the way of `ids` are here, of the first `most`.
std::size_t PrefixCache::known_blocks(const std::string& scope, std::span<const std::int32_t> ids, std::size_t most) {
  const std::lock_guard lock(mutex_);
  return walk(scope, ids, most).depth;
}

void PrefixCache::insert(const std::string& scope, std::span<const std::int32_t> ids, std::size_t block,
                         BlockValues values, bool stored) {
  const std::lock_guard lock(mutex_);
  const Way way = walk(scope, ids, block + 1);
  if (way.depth != block) return;  // another worker was quicker, or the way to it was evicted: nobody could find it
  auto node = std::make_unique<Node>(
      Node{.parent = way.node, .key = key_of(ids, block), .values = std::move(values), .stored = stored});
  node->use = uses_.insert(uses_.begin(), node.get());
  const std::size_t size = size_of(*node);
  bytes_ += size;
  touch(node.get());
  way.node->children.emplace(node->key, std::move(node));
  // What texts leave is the bound where it is less. Over it for no longer than this: one block goes for another.
  const std::size_t over = memory_ == nullptr ? 0 : memory_->take_first(size);
  evict(std::min(bytes_max_, bytes_ - std::min(over, bytes_)));
}

std::size_t PrefixCache::recall(const std::string& scope, std::span<const std::int32_t> ids, Sequence& sequence,
                                std::size_t limit, std::size_t blocks_max, std::size_t lasting) {
  const std::size_t begun = sequence.length(), first = begun / kPrefixBlock;
  // Only blocks that lie wholly in `ids` have a name; of the last one a part may be wanted.
  const std::size_t wanted = (limit + kPrefixBlock - 1) / kPrefixBlock;
  const std::size_t last = std::min({ids.size() / kPrefixBlock, wanted, first + blocks_max});
  if (begun >= limit || first >= last) return 0;
  std::vector<BlockValues> found = known(scope, ids, first, last, lasting);
  while (store_ != nullptr && first + found.size() < last) {
    const std::size_t block = first + found.size();
    BlockValues values =
        store_->load(scope, ids.first((block + 1) * kPrefixBlock), kPrefixBlock * sequence.bytes_per_position());
    if (values == nullptr) break;
    insert(scope, ids, block, values, true);
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
    const std::size_t end = (block + 1) * kPrefixBlock, here = known_blocks(scope, ids, block + 1);
    const bool lasts = store_ != nullptr && end <= lasting;
    // Without the way to it nobody finds a block here; in the store it has a name of its own.
    if (here > block || (here < block && !lasts)) continue;
    auto copy = std::make_shared<Buffer>(kPrefixBlock * sequence.bytes_per_position());
    sequence.copy_out(block * kPrefixBlock, kPrefixBlock, *copy);
    BlockValues values = std::move(copy);
    if (lasts) store_->save(scope, ids.first(end), values);
    insert(scope, ids, block, std::move(values), lasts);
  }
}

bool PrefixCache::give_way(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > bytes_) return false;
  evict(bytes_ - bytes);
  return true;
}

std::size_t PrefixCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

namespace {

constexpr std::size_t kMakeRoomTries = 4;  // others may take what was given way to: not for ever

std::size_t mib_of(std::size_t bytes) { return (bytes >> 20) + (bytes % (1 << 20) != 0 ? 1 : 0); }

}  // namespace

Result<MemoryShare> take_memory(const std::shared_ptr<MemoryBudget>& memory, PrefixCache* cache, std::size_t bytes) {
  if (memory == nullptr) return MemoryShare{};
  std::size_t missing = 0;
  for (std::size_t i = 0; i < kMakeRoomTries; ++i) {
    missing = memory->take(bytes);
    if (missing == 0) return MemoryShare(memory, bytes);
    if (cache == nullptr || !cache->give_way(missing)) break;
  }
  return fail(Code::kResourceExhausted,
              "this text may grow to {} MiB, {} more than other texts leave: ask for fewer tokens, or again later",
              mib_of(bytes), mib_of(missing));
}

}  // namespace sedge::engine
