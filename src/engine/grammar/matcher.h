// Runs a grammar over bytes: where a text stands, which byte may follow. A position is a set of stacks; positions that
// were met are kept by number with where each class of bytes leads from them, so that a step met before is one load.
// That table is what makes asking for a whole vocabulary cheap; without it each byte walks the set of stacks.
//
// Deterministic: whether a byte may follow depends on the grammar and the text alone, never on what is cached.
// Bounds, all seen as "may not follow": calls within calls (kStackDepthMax, seen so early that the text can still be
// finished), ways at once through an ambiguous grammar (kWaysMax). The table is emptied when it is full, and what it
// held is found again. Source: Tomita 1985 (stacks that share their bottoms); Dong et al. 2024, arXiv 2411.15100.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/grammar/grammar.h"

namespace sedge::engine {

inline constexpr std::size_t kWaysMax = 4096;

class Matcher {
 public:
  // A position by number; kDead: the byte may not follow. Numbers hold until the table is emptied.
  using State = std::uint32_t;
  static constexpr State kDead = 0;

  explicit Matcher(std::shared_ptr<const Grammar> grammar);

  State state() const { return state_; }
  // Whether the text so far is a whole one, and whether nothing can follow.
  bool complete() const { return states_[state_].complete; }
  bool finished() const { return complete() && states_[state_].ways.empty(); }

  // Whether all of these bytes may follow; if not, nothing changes.
  bool advance(std::string_view bytes);
  // The same asked only. Not const: what it learns is kept.
  bool accepts(std::string_view bytes);

  // For who walks many continuations: where a byte leads. nullopt: the table is full; restart() and begin again.
  std::optional<State> next(State from, std::uint8_t byte) {
    const State known = next_[from * classes_ + grammar_->class_of(byte)];
    return known != kUnknown ? std::optional<State>(known) : explore(from, byte);
  }
  // Empties the table but for where the text stands; numbers change.
  void restart() { empty_but_for({&state_}); }
  // How often the table was emptied: what was kept by number before is void.
  std::uint64_t epoch() const { return epoch_; }
  bool fresh() const { return states_.size() <= 2; }

 private:
  static constexpr State kUnknown = ~0u;

  // The part of a stack below a call: where to go on after it, and what stands below that. Frame 0 is the bottom.
  struct Frame {
    std::uint32_t below = 0, node = 0, depth = 0;
  };
  // One stack: the node on top, and the frames under it.
  struct Way {
    std::uint32_t node, frame;
    friend auto operator<=>(const Way&, const Way&) = default;
  };
  struct Position {
    std::vector<Way> ways;  // ascending, each node takes bytes
    bool complete = false;
  };
  struct PairHash {
    std::size_t operator()(std::uint64_t key) const { return key * 0x9E3779B97F4A7C15u >> 17; }
  };

  std::optional<State> explore(State from, std::uint8_t byte);
  State walk(std::string_view bytes);
  bool can_finish(Way way) const {
    return frames_[way.frame].depth + grammar_->node(way.node).depth_to_end <= kStackDepthMax;
  }
  Position close(std::vector<Way> open);
  std::uint32_t push(std::uint32_t below, std::uint32_t node);
  State keep(Position position);
  bool full() const;
  void empty_but_for(std::initializer_list<State*> kept);

  std::shared_ptr<const Grammar> grammar_;
  std::size_t classes_;
  std::vector<Frame> frames_;
  std::unordered_map<std::uint64_t, std::uint32_t, PairHash> frame_ids_;
  std::vector<Position> states_;  // 0: dead
  std::unordered_multimap<std::uint64_t, State> state_ids_;
  std::vector<State> next_;  // [states, classes]
  std::size_t ways_kept_ = 0;
  std::unordered_set<std::uint64_t, PairHash> seen_;  // while closing one position
  State state_ = kDead;
  std::uint64_t epoch_ = 0;
};

}  // namespace sedge::engine
