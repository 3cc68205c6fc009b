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
// Bounded by Limits. Threads: none.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "crdt/op.h"

namespace sedge::crdt {

// Names a set of living writes: the sum of what each contributes, so that it changes by one addition a write and
// does not depend on order. A checksum against accidents; who may write could forge equality by effort.
using Digest = std::array<std::uint64_t, 2>;

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
  Replica(const Replica&) = delete;  // slots point into living_
  Replica& operator=(const Replica&) = delete;

  // Errors: ResourceExhausted: it would live, but there is no room; nothing changed.
  Result<MergeResult> apply(Op op);
  // Whether apply() would find room for it.
  Status check_room(const Op& op) const;
  // Whether it would end anything but tombstones.
  bool ends_something(const Op& op) const;
  // Takes back a living write (revocation, collection). False if it does not live.
  bool withdraw(const Dot& dot);

  // None: nothing was ever written there, or it was erased. A set may be empty.
  std::optional<Value> read(std::string_view path) const;
  // In order of paths; all that start with `prefix`.
  void for_each(std::string_view prefix, const std::function<void(const std::string&, const Value&)>& visit) const;

  // The register that lives there, erased or not.
  const Op* register_at(std::string_view path) const;
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
  const Op* counter_of(std::string_view path, NodeId origin) const;

  const std::map<Dot, Op>& living() const { return living_; }
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
  // What one write can end: the rest of its slot. Registers have one slot, counters one an origin, sets (of both sorts)
  // one an element, logs one for each number of entries kept.
  using Slot = std::pair<Family, Buffer>;
  using Slots = std::map<Slot, std::vector<const Op*>>;

  static Slot slot_of(const Op& op);
  MergeResult plan(const Op& op) const;
  static MergeResult plan_log(const Op& op, const std::vector<const Op*>& slot, MergeResult result);
  Status check_room(const Op& op, const MergeResult& planned) const;
  Limits room_for(const Op& op) const;
  Status check_part(const Op& op, const MergeResult& planned) const;
  const std::vector<const Op*>* find(std::string_view path, const Slot& slot) const;
  void insert(Op op);
  void erase(const Dot& dot);
  void account(const Op& op, bool add);
  bool holds_one(std::string_view path) const;

  Limits limits_;
  std::map<Dot, Op> living_;
  std::map<std::string, Slots, std::less<>> entries_;
  struct Origin {
    Digest digest{};
    std::size_t writes = 0;
    std::size_t bytes = 0;
  };
  std::map<NodeId, Origin> origins_;
  std::map<std::pair<Hlc, Dot>, Digest> tombstones_;  // and what each adds to the digest
  Digest digest_{};
  std::size_t bytes_ = 0;
};

// Adds the dots of `more` to `all`: for each origin its newest.
void merge_dots(std::vector<Dot>& all, const std::vector<Dot>& more);

}  // namespace sedge::crdt
