// Runs a grammar over bytes: where a text stands, which byte may follow. A position is a set of stacks; positions that
// were met are kept by number with where each class of bytes leads from them, so that a step met before is one load.
// That table is what makes asking for a whole vocabulary cheap; without it each byte walks the set of stacks.
//
// Deterministic: whether a byte may follow depends on the grammar and the text alone, never on what is cached.
// Bounds, all seen as "may not follow": calls within calls (kStackDepthMax, seen so early that the text can still be
// finished), ways at once through an ambiguous grammar (kWaysMax) and edges looked at for one byte (kStepWorkMax), at
// which the byte's step is given up and told as such. What a step costs is kept beside where it leads: the same
// whichever way the table was filled, so that who walks many may count it. The table is emptied when it is full, and
// what it held is found again. Source: Tomita 1985 (stacks that share their bottoms); Dong et al. 2024, arXiv
// 2411.15100.
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
inline constexpr std::size_t kStepWorkMax = 1u << 16;  // edges; 4,096 ways of a JSON grammar look at some 20,000

class Matcher {
 public:
  // A position by number; kDead: the byte may not follow. Numbers hold until the table is emptied.
  using State = std::uint32_t;
  static constexpr State kDead = 0;
  // Where a byte leads, and the edges that were looked at to find it: fewer than 2 to the power of `cost`.
  struct Step {
    State to : 24;
    State cost : 8;
    bool given_up() const { return cost == kGivenUp; }
  };
  static constexpr State kGivenUp = 17;  // 2^kGivenUp > kStepWorkMax

  explicit Matcher(std::shared_ptr<const Grammar> grammar);

  State state() const { return state_; }
  // Whether the text so far is a whole one, and whether nothing can follow.
  bool complete() const { return states_[state_].complete; }
  bool finished() const { return complete() && states_[state_].ways.empty(); }
  // Whether a step was given up since this was made: what may not follow is then not all that does not.
  bool gave_up() const { return gave_up_; }

  // Whether all of these bytes may follow; if not, nothing changes.
  bool advance(std::string_view bytes);
  // The same asked only. Not const: what it learns is kept.
  bool accepts(std::string_view bytes);

  // For who walks many continuations: where a byte leads. nullopt: the table is full; restart() and begin again.
  std::optional<Step> next(State from, std::uint8_t byte) {
    const Step known = next_[step_id(from, byte)];
    return known.to != kUnknown ? std::optional<Step>(known) : explore(from, byte);
  }
  // The number of a step: bytes of one class share it.
  std::size_t step_id(State from, std::uint8_t byte) const { return from * classes_ + grammar_->class_of(byte); }
  // Empties the table but for where the text stands; numbers change.
  void restart() { empty_but_for({&state_}); }
  // How often the table was emptied: what was kept by number before is void.
  std::uint64_t epoch() const { return epoch_; }

 private:
  static constexpr State kUnknown = (1u << 24) - 1;

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

  std::optional<Step> explore(State from, std::uint8_t byte);
  State walk(std::string_view bytes);
  bool can_finish(Way way) const {
    return frames_[way.frame].depth + grammar_->node(way.node).depth_to_end <= kStackDepthMax;
  }
  void reach(Way way);
  bool over() const { return work_ >= kStepWorkMax || seen_.size() > kWaysMax; }
  void begin_step();
  std::optional<Position> close();
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
  std::vector<Step> next_;  // [states, classes]
  std::size_t ways_kept_ = 0;
  // Of one step: the ways that were met, those not yet gone on with, the edges looked at.
  std::unordered_set<std::uint64_t, PairHash> seen_;
  std::vector<Way> open_;
  std::size_t work_ = 0, frames_before_ = 0;
  bool gave_up_ = false;
  State state_ = kDead;
  std::uint64_t epoch_ = 0;
};

}  // namespace sedge::engine
