// How two sets differ, from a message as long as the difference, whatever their size: a rateless set sketch.
//
// A set is coded as an endless row of symbols, each the XOR of the names that fall into it. Symbol 0 holds all names;
// symbol i holds each with probability 1/(1 + i/2). The difference of two sets' symbols is the sketch of their
// difference: a symbol with one name left is read off, that name is taken out of all its symbols, and so on until
// symbol 0 is empty. Some 1.4 to 2 symbols a differing name suffice, and who cannot decode asks for more of the row.
// Names and where they fall depend on the session's key: nobody who writes can make them fall together.
// Rejected: a sketch of a size chosen beforehand (Eppstein et al. 2011) needs an estimate and fails when it is wrong;
// minisketch (BCH codes) is shorter, but decodes in time quadratic in the difference.
// Source: Yang, Gilad, Alizadeh 2024, "Practical Rateless Set Reconciliation". Theirs draws the next symbol with
// floating point; here it is the smallest integer that solves the same inequality, the same on every machine.
// Threads: re-entrant.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "crdt/item_set.h"
#include "wire/reconcile_messages.h"

namespace sedge::crdt {

inline constexpr std::size_t kSketchSymbolsMax = 1024;  // about 700 differing names in 14 KB

struct Symbol {
  std::uint64_t count = 0;  // modulo 2^64: a difference may be negative
  std::uint64_t names = 0;
  std::uint32_t checks = 0;
  friend bool operator==(const Symbol&, const Symbol&) = default;

  bool empty() const { return *this == Symbol{}; }
};

class SketchCode {
 public:
  explicit SketchCode(const wire::SessionKey& key);

  // Symbols [first, last). Cost: O(n log last): at 1,024 symbols 12 of them a name.
  std::vector<Symbol> encode(const ItemSet& set, std::size_t first, std::size_t last) const;

  struct Difference {
    std::vector<std::uint64_t> added;    // only in the minuend
    std::vector<std::uint64_t> removed;  // only in the subtrahend
  };
  // From the symbols of one set less those of another. None: too few of them, or not what encode() makes.
  // Cost: at most one name a symbol is read off, whatever is in them.
  std::optional<Difference> decode(std::vector<Symbol> symbols) const;

 private:
  std::uint32_t check_of(std::uint64_t name) const;
  template <class Each>
  void walk(std::uint64_t name, std::size_t last, Each&& each) const;

  Digest salt_;
};

Symbol operator-(const Symbol& a, const Symbol& b);
wire::SketchSymbol to_wire(const Symbol& symbol);
Symbol from_wire(const wire::SketchSymbol& symbol);

}  // namespace sedge::crdt
