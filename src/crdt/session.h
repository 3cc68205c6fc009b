// One side of a session in which two nodes find how the writes that live with them differ, and give each other those.
//
// Who opens sends a sketch (crdt/sketch.h) of a few dozen symbols. Who can decode it answers with the writes that the
// other lacks and the names of those it wants. Who cannot asks for more symbols, three times at most, and then goes
// over to ranges (crdt/ranges.h); at once where the numbers of writes alone differ by more than a sketch can hold.
//
//   sketch ->   <- want (names), ops        -> ops                           two round trips or fewer
//   sketch ->   <- want (symbols)           -> sketch ...
//   sketch ->   <- ranges   -> ranges ...   <- want, ops     -> ops
//
// Both sides are equal after the opening: each message has an answer that depends on it and the set alone, but for the
// sketch heard so far. Every answer is bounded, so that a hostile peer buys a pass over the set with a message and no
// more; who calls this rations them (mesh/reconciler.h). Nothing here is trusted: the writes sent are judged like all.
// Formats: docs/formats/state_sync.md §4. Threads: none.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "crdt/item_set.h"
#include "crdt/sketch.h"
#include "wire/reconcile_messages.h"

namespace sedge::crdt {

// Symbols in all after the first message, the second, and so on. 48 hold some 25 differing writes in 750 bytes.
inline constexpr std::array<std::size_t, 4> kSketchSteps = {48, 128, 384, kSketchSymbolsMax};

struct SessionAnswer {
  std::optional<wire::StateSketch> sketch;
  std::optional<wire::StateRanges> ranges;
  std::optional<wire::StateWant> want;
  std::vector<Dot> send;  // to be sent as ops, newest first

  bool asks() const { return sketch || ranges || want; }
};

class Session {
 public:
  explicit Session(ItemSet set) : set_(std::move(set)), code_(set_.key()) {}

  const ItemSet& set() const { return set_; }
  // What opens a session. One symbol suffices to tell equal from different.
  wire::StateSketch open(std::size_t symbols) const { return sketch(0, symbols); }
  wire::StateRanges open_with_ranges() const;

  // Errors: DataLoss: malformed; drop it and count it against the peer.
  Result<SessionAnswer> on_sketch(const wire::StateSketch& message);
  Result<SessionAnswer> on_ranges(const wire::StateRanges& message) const;
  Result<SessionAnswer> on_want(const wire::StateWant& message) const;

 private:
  wire::StateSketch sketch(std::size_t first, std::size_t last) const;
  SessionAnswer more_symbols(std::size_t first, std::size_t last) const;
  SessionAnswer found(const SketchCode::Difference& difference) const;

  ItemSet set_;
  SketchCode code_;
  std::vector<Symbol> difference_;  // the peer's symbols so far, less ours
};

}  // namespace sedge::crdt
