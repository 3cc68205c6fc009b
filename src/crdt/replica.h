// The replicated values of a node: a set of living writes, and the four rules by which one write ends another's life.
//
//   newest wins     a register keeps its newest write, a counter the newest of each origin (its totals so far).
//                   Newest: greater (stamp, dot).
//   seen is gone    a multi-value register and each element of a set keep all writes that no other one names as
//                   replaced. A write replaces those of an origin up to the dot it names, and never one with a later
//                   stamp. An element is in its set while one of its living writes is an insert: adds win.
//
//   out stays out   each element of a 2P-set keeps one write: a removal before any insert, whatever their stamps, and
//                   the newest of those. So who removes ends all inserts of the element, those to come included.
//
//   newest stay     a log keeps as many of its newest entries as it was made for, of those since it was last cleared.
//                   How many is part of the slot: where two nodes disagree there are two logs, and the newest is read.
//
// All are functions of the set of writes alone, so every node that has the same writes has the same values, whatever
// the order, repetition or grouping in which they came. "Up to the dot" makes knowledge of a replacement survive the
// replaced replacement itself (c replaces b which replaced a: c names b's and a's origins), so a replaced write can be
// erased at once everywhere. "Never a later stamp" keeps a lying writer from ending writes that do not exist yet.
// Removals, erased registers and cleared logs stay as one living write, their slot's tombstone, until they are replaced
// or collected: somebody who knows that nobody can bring what they ended (mesh/state_sync.h) says up to which stamp
// they may go. From then on the digest leaves them out, whether or not they are still here, so that who has collected
// and who is about to are equal. Where a path holds several families after a conflict they stay: the newest tells which
// one is read. A removal from a 2P-set is none of these: an insert made years later must still meet it. It stays, and
// counts in what its writer may hold.
// Rejected: causal contexts as version vectors over the whole store (Almeida et al. 2018), smaller, but they would
// have to be believed when a peer states them.
// Sources: Shapiro et al. 2011 (the types); Bieniusa et al. 2012 (sets without tombstones a write).
// In memory a write is one packed record (crdt/record.h), and three orders hold a pointer to it: its writer's by dot,
// the one by place, and tombstones by age. Searching them is all that a merge does; what is iterated is in an order
// that all nodes share (docs/adr/0042-a-write-is-one-record.md). Bounded by Limits. Threads: none.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "crdt/op.h"
#include "crdt/record.h"
#include "crdt/sorted_blocks.h"

namespace sedge::crdt {

struct Value {
  Family family = Family::kRegister;
  std::vector<Buffer> values;  // register: one. multi: all concurrent ones, oldest first. sets: elements in byte order.
                               // log: oldest first
  std::vector<Dot> dots;       // log: the write of each value
  std::uint64_t keep = 0;      // log: how many entries it keeps
  std::int64_t total = 0;      // counter; stays at the ends of its range
  Hlc stamp;                   // of the newest write, which also tells the family
  NodeId writer;
  friend bool operator==(const Value&, const Value&) = default;
};

enum class Merge : std::uint8_t {
  kMerged,     // it lives
  kDuplicate,  // it lived already
  kReplaced,   // others had already ended its life
  kConflict,   // another write with the same dot exists: its origin equivocates. The greater signature stays
};

struct MergeResult {
  Merge outcome = Merge::kMerged;
  std::vector<Dot> ended;  // writes that live no more: erase them from disk
};

class Living;

class Replica {
 public:
  // Entries under "sys/" have a sixteenth more room: acknowledgements and revocations must get in when all else is
  // full.
  struct Limits {
    std::size_t writes_max = 131'072;
    std::size_t bytes_max = 256u << 20;
    std::size_t origin_part = 2;  // one origin may hold half of either, so that it cannot keep all others from writing
  };
  Replica() : Replica(Limits()) {}
  explicit Replica(Limits limits) : limits_(limits) {}
  ~Replica();
  Replica(const Replica&) = delete;  // records are held once
  Replica& operator=(const Replica&) = delete;

  // Of all that is returned as a view, the replica is the holder, until it is changed: copy() what is to last.

  // Requires: the bounds of decode_op().
  // Errors: ResourceExhausted: it would live, but there is no room; nothing changed.
  Result<MergeResult> apply(const OpView& op);
  // Whether apply() would find room for it.
  Status check_room(const OpView& op) const;
  // Whether it would end anything but tombstones.
  bool ends_something(const OpView& op) const;
  // Takes back a living write (revocation, collection). False if it does not live.
  bool withdraw(const Dot& dot);

  // None: nothing was ever written there, or it was erased. A set may be empty.
  std::optional<Value> read(std::string_view path) const;
  // In order of paths; all that start with `prefix`. `visit` may change the replica.
  void for_each(std::string_view prefix, const std::function<void(const std::string&, const Value&)>& visit) const;

  // The register that lives there, erased or not.
  std::optional<OpView> register_at(std::string_view path) const;
  // Whether anything lives outside "sys/".
  bool holds_entries() const;

  // Whether something of another family than this lives there.
  bool holds_other(std::string_view path, Family family) const;

  // For the next write. What a write of this kind at this place has to name as replaced:
  std::vector<Dot> replaced_by(OpKind kind, std::string_view path, const std::optional<Buffer>& value) const;
  // How many entries the log there keeps, cleared or not. None: no log.
  std::optional<std::uint64_t> keep_of(std::string_view path) const;
  // Whether the element is removed from the 2P-set there.
  bool removed_for_good(std::string_view path, const Buffer& element) const;
  // A counter's own totals. None: it never counted here.
  std::optional<OpView> counter_of(std::string_view path, NodeId origin) const;

  // All living writes, in order of dots.
  Living living() const;
  const Digest& digest() const { return digest_; }
  Digest digest_of(NodeId origin) const;
  // Without the tombstones stamped before `upto`. Cost: O(those).
  Digest digest_without(Hlc upto) const;

  std::size_t tombstones() const { return tombstones_.size(); }
  // Whether there is one stamped from `from` on and before `upto`.
  bool has_tombstone(Hlc from, Hlc upto) const;
  // Those stamped before `upto` that may go, the oldest first, without those that `keep` names.
  std::vector<Dot> collectable(Hlc upto, std::size_t max, const std::function<bool(const Dot&)>& keep) const;
  std::size_t bytes() const { return bytes_; }

 private:
  friend class Living;
  using Records = SortedBlocks<Record*>;
  using Position = Records::Position;
  // What one write can end: the rest of its slot. Registers have one slot at a path, counters one an origin, sets (of
  // both sorts) one an element, logs one for each number of entries kept.
  struct Slot {
    std::string_view path;
    Family family = Family::kRegister;
    Bytes element;
    NodeId origin;
    std::uint64_t keep = 0;
  };
  struct Turn {
    Origin* origin = nullptr;  // none: nothing of it lives
    Position at;               // among its writes
  };
  struct Plan {
    Merge outcome = Merge::kMerged;
    std::vector<const Record*> ended{};
    Turn turn{};       // where it belongs
    Position place{};  // of its slot
  };

  static Slot slot_of(const OpView& op);
  static std::strong_ordering compare(const Record& record, const Slot& slot);
  // Where in each of the three orders something is, or would be.
  Turn turn_of(const Dot& dot) const;
  static Position position(const Origin& origin, const Dot& dot);
  Position position(const Slot& slot) const;  // its first write, or what comes behind it
  Position behind(std::string_view path) const;
  Position position(Hlc stamp, const Dot& dot) const;
  Position place_of(const Record* record, Position from) const;
  const Record* find(const Dot& dot) const;
  static const Record* at(const Turn& turn, const Dot& dot);
  // Those from `at` on for which of_it() is true, and moves `at` behind them.
  template <class While>
  std::vector<const Record*> take(Position& at, const While& of_it) const;
  std::vector<const Record*> in(const Slot& slot) const;
  std::optional<OpView> only_in(const Slot& slot) const;

  Plan plan(const OpView& op) const;
  Plan plan_log(const OpView& op, const Slot& slot, Plan plan) const;
  Status check_room(const OpView& op, const Plan& planned) const;
  Limits room_for(const OpView& op) const;
  Status check_part(const OpView& op, const Plan& planned) const;
  void insert(const OpView& op, const Plan& planned);
  void erase(const Record* record);
  void forget(const Record* record);
  Origin& make_origin(NodeId id);
  void account(const OpView& op, Origin& origin, bool add);
  bool holds_one(std::string_view path) const;

  Limits limits_;
  Origins origins_;     // of those whose writes ever lived here: members
  Records places_;      // in order of slots
  Records tombstones_;  // in order of (stamp, dot)
  std::size_t writes_ = 0;
  std::uint64_t changes_ = 0;
  Digest digest_{};
  std::size_t bytes_ = 0;
};

// The living writes as a range of (dot, write), in order of dots. Iterators, too, are good until the replica is
// changed: asserted.
class Living {
 public:
  class Iterator {
   public:
    using value_type = std::pair<Dot, OpView>;
    using difference_type = std::ptrdiff_t;
    struct Arrow {
      value_type value;
      const value_type* operator->() const { return &value; }
    };

    Iterator() = default;
    value_type operator*() const;
    Arrow operator->() const { return {**this}; }
    Iterator& operator++();
    Iterator operator++(int) { return std::exchange(*this, std::next(*this)); }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    friend class Living;
    Iterator(const Replica& replica, std::size_t origin, Replica::Position at);
    void skip();

    const Replica* replica_ = nullptr;
    std::uint64_t changes_ = 0;  // of the replica, until now
    std::size_t origin_ = 0;
    Replica::Position at_;
  };

  explicit Living(const Replica& replica) : replica_(&replica) {}
  std::size_t size() const { return replica_->writes_; }
  bool empty() const { return size() == 0; }
  Iterator begin() const { return {*replica_, 0, {}}; }
  Iterator end() const { return {*replica_, replica_->origins_.size(), {}}; }
  Iterator find(const Dot& dot) const;
  bool contains(const Dot& dot) const { return replica_->find(dot) != nullptr; }
  // Requires: it lives.
  OpView at(const Dot& dot) const { return *replica_->find(dot); }
  Iterator lower_bound(const Dot& dot) const;
  Iterator upper_bound(const Dot& dot) const;

 private:
  const Replica* replica_;
};

inline Living Replica::living() const { return Living(*this); }

// Adds the dots of `more` to `all`: for each origin its newest.
void merge_dots(std::vector<Dot>& all, std::span<const Dot> more);

}  // namespace sedge::crdt
