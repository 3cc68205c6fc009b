// Keys and values of prompts' beginnings, kept to be copied: a conversation's next turn, or a thousand questions under
// one instruction, compute what is new and no more.
//
// The problem: prompts begin alike, and prefill is most of what a short answer costs. The idea: since a position's keys
// and values depend on the tokens up to it and on nothing else, bit for bit (engine.h), those of whole blocks of
// kPrefixBlock tokens are kept in a tree whose edges are blocks of tokens; a new text walks down it as far as its
// tokens lead and copies what it finds. The least recently used block goes first when the bound is reached, or when
// texts want the memory; a walk makes its whole way fresh, the root last, so that this is always a leaf. Blocks that
// are not here may be in a BlockStore, which outlives the process and gets those for which there is no room here.
// Rejected: pages that texts share (attention would read through a table; a copy is little beside computing); a tree
// over single tokens (a node each, for nothing but the last incomplete block). Source: Zheng et al. 2024 (SGLang,
// RadixAttention).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/memory_budget.h"
#include "engine/sequence.h"

namespace sedge::engine {

inline constexpr std::size_t kPrefixBlock = 32;  // tokens

// Keys and values of one block, as Sequence::copy_out gives them.
using BlockValues = std::shared_ptr<const Buffer>;

// Where blocks go that memory has no room for, or whose process ends. Any thread calls it.
class BlockStore {
 public:
  virtual ~BlockStore() = default;
  // The block that ends after `tokens`, which are all from the text's first: exactly `bytes` of them, or nothing.
  virtual BlockValues load(const std::string& scope, std::span<const std::int32_t> tokens, std::size_t bytes) = 0;
  // Returns at once; may come to nothing.
  virtual void save(const std::string& scope, std::span<const std::int32_t> tokens, BlockValues values) = 0;
};

class PrefixCache {
 public:
  // Bytes of values, which count in `memory` too, if there is one. A store outlives the cache.
  explicit PrefixCache(std::size_t bytes_max, BlockStore* store = nullptr,
                       std::shared_ptr<MemoryBudget> memory = nullptr)
      : bytes_max_(bytes_max), store_(store), memory_(std::move(memory)) {}
  ~PrefixCache() { evict(0); }
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // Goes on with `sequence`, which stands anywhere in `ids`, as far as up to `blocks_max` known blocks lead, but not
  // past `limit` positions. `scope` names what else the values depend on: the model's content and the numeric class.
  // What ends at `lasting` or before and was kept for memory alone goes to the store now. Returns how many positions it
  // gained.
  std::size_t recall(const std::string& scope, std::span<const std::int32_t> ids, Sequence& sequence, std::size_t limit,
                     std::size_t blocks_max, std::size_t lasting);

  // Keeps the blocks of `ids` that `sequence` has computed, from the one that position `from` lies in; in the store too
  // those that end at `lasting` or before, whether memory has room for them or not.
  void keep(const std::string& scope, std::span<const std::int32_t> ids, const Sequence& sequence, std::size_t from,
            std::size_t lasting);

  // Forgets blocks of `bytes` or some more, when memory is wanted for something else. False: it has not so many, and
  // forgot nothing.
  bool give_way(std::size_t bytes);
  std::size_t bytes() const;

 private:
  using Key = std::array<std::int32_t, kPrefixBlock>;
  struct Node {
    Node* parent = nullptr;
    Key key{};
    BlockValues values;
    bool stored = false;  // the store was given it
    std::map<Key, std::unique_ptr<Node>> children;
    std::list<Node*>::iterator use;
  };

  struct Way {
    Node* node = nullptr;  // the deepest that is known
    std::size_t depth = 0;
  };

  static Key key_of(std::span<const std::int32_t> ids, std::size_t block);
  Way walk(const std::string& scope, std::span<const std::int32_t> ids, std::size_t blocks);
  std::vector<BlockValues> known(const std::string& scope, std::span<const std::int32_t> ids, std::size_t first,
                                 std::size_t last, std::size_t lasting);
  std::size_t known_blocks(const std::string& scope, std::span<const std::int32_t> ids, std::size_t most);
  void insert(const std::string& scope, std::span<const std::int32_t> ids, std::size_t block, BlockValues values,
              bool stored);
  void touch(Node* node);
  void evict(std::size_t bytes);
  static std::size_t size_of(const Node& node) { return node.values->size(); }

  std::size_t bytes_max_;
  BlockStore* store_;
  std::shared_ptr<MemoryBudget> memory_;
  mutable std::mutex mutex_;
  std::map<std::string, Node> roots_;  // few: one a model
  std::list<Node*> uses_;              // newest first
  std::size_t bytes_ = 0;
};

// A share of `memory` for a text that may grow to so many bytes; where there is no memory budget, none. Of what is
// missing, beginnings that `cache` remembers give way, if they are enough.
// Errors: ResourceExhausted: ask for less, or again later.
Result<MemoryShare> take_memory(const std::shared_ptr<MemoryBudget>& memory, PrefixCache* cache, std::size_t bytes);

}  // namespace sedge::engine
