// The living writes of a node as one session of reconciliation sees them: named, ordered and summed up.
//
// A write is named by a keyed hash of its signature, which covers its dot and all else, so that two writes under one
// dot (its origin equivocates) have two names. The key is drawn for the session and known to the two who hold it:
// whoever writes cannot choose names that cancel out in a sum, fall together in a sketch or make bounds long. Order is
// (stamp, name), so that what is new lies together at the end; names decide among equal stamps, and being random they
// differ early. A running sum of all names makes any range's fingerprint a subtraction.
// The set is a copy: it stays as it is while writes come and go. Making it costs a pass over the replica and a sort.
// Rejected: a tree that is kept up to date. Its sums must be the same for every peer, so its names would be known to
// all, and sums of known names can be forged by who may write (Wagner 2002); homomorphic hashes that cannot
// (LtHash, 2 KiB a sum) cost every write what only a rare session needs.
// Memory: 64 bytes a write, while the session lasts. Threads: none.
#pragma once

#include <cstdint>
#include <vector>

#include "crdt/dot.h"
#include "crdt/hlc.h"
#include "crdt/replica.h"
#include "trust/keys.h"
#include "wire/reconcile_messages.h"

namespace sedge::crdt {

// Between items: those at or above it have a greater (stamp, name) or the same.
struct Bound {
  std::uint64_t stamp = 0;
  std::uint64_t tie = 0;
  friend auto operator<=>(const Bound&, const Bound&) = default;
};
inline constexpr Bound kBottom{0, 0};
inline constexpr Bound kTop{~std::uint64_t{0}, ~std::uint64_t{0}};  // no stamp comes near it: quarantine holds it back

class ItemSet {
 public:
  struct Item {
    Bound at;  // stamp, name
    Dot dot;
    Digest sum{};  // of all up to this one

    std::uint64_t name() const { return at.tie; }
  };

  explicit ItemSet(const wire::SessionKey& key) : key_(key) {}
  ItemSet(const wire::SessionKey& key, const Replica& replica);
  // Then seal(), before anything is read.
  void add(const Dot& dot, Hlc stamp, const trust::Signature& signature);
  void seal();

  const wire::SessionKey& key() const { return key_; }
  const std::vector<Item>& items() const { return items_; }
  std::size_t size() const { return items_.size(); }
  // How many lie below. Cost: O(log n).
  std::size_t position(const Bound& bound) const;
  // Requires: from <= to <= size().
  Digest fingerprint(std::size_t from, std::size_t to) const;
  // The shortest bound that has the item before `at` below it and the one at `at` above. Requires: 0 < at < size().
  Bound bound_before(std::size_t at) const;
  // The dots of those that bear one of these names, newest first. Cost: O(n log names).
  std::vector<Dot> find(std::vector<std::uint64_t> names) const;

 private:
  wire::SessionKey key_;
  std::vector<Item> items_;
};

wire::SessionId to_wire(std::uint64_t name);
std::uint64_t from_wire(const wire::SessionId& name);

}  // namespace sedge::crdt
