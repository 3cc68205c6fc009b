#include "engine/grammar/matcher.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace sedge::engine {
namespace {

// At the bounds the table holds 16,384 positions of 200 bytes of steps and 1 M stacks of 8 bytes: some 12 MB a text.
// What a grammar of JSON meets in a thousand tokens is a tenth of that.
constexpr std::size_t kStatesMax = 1u << 14, kWaysKeptMax = 1u << 20, kFramesMax = 1u << 16;

std::uint64_t pair_of(std::uint32_t a, std::uint32_t b) { return std::uint64_t{a} << 32 | b; }

}  // namespace

Matcher::Matcher(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)), classes_(grammar_->classes()) {
  frames_.emplace_back();
  keep({});
  begin_step();
  reach({grammar_->root(), 0});
  state_ = keep(close().value_or(Position{}));
}

bool Matcher::full() const {
  return states_.size() >= kStatesMax || ways_kept_ >= kWaysKeptMax || frames_.size() >= kFramesMax;
}

// A frame is one number for equal stacks, so that equal positions are equal numbers.
std::uint32_t Matcher::push(std::uint32_t below, std::uint32_t node) {
  const auto [found, made] = frame_ids_.try_emplace(pair_of(below, node), static_cast<std::uint32_t>(frames_.size()));
  if (made) frames_.push_back({.below = below, .node = node, .depth = frames_[below].depth + 1});
  return found->second;
}

void Matcher::begin_step() {
  seen_.clear(), open_.clear();
  work_ = 0, frames_before_ = frames_.size();
}

// Each way is gone on with once, so that ways waiting are no more than ways met.
void Matcher::reach(Way way) {
  if (can_finish(way) && seen_.insert(pair_of(way.node, way.frame)).second) open_.push_back(way);
}

// Follows calls, ends of rules and edges that take nothing until every way stands before a byte. Nothing: given up;
// the stacks that it made go again, so that a table fills up at the same byte in whatever order ways were met.
std::optional<Matcher::Position> Matcher::close() {
  Position position;
  while (!open_.empty() && !over()) {
    const Way way = open_.back();
    open_.pop_back();
    const Grammar::Node& node = grammar_->node(way.node);
    if (node.takes_bytes) position.ways.push_back(way);
    if (node.final && way.frame == 0) position.complete = true;
    if (node.final && way.frame != 0) reach({frames_[way.frame].node, frames_[way.frame].below});
    work_ += grammar_->edges(way.node).size();
    if (over()) break;
    for (const Grammar::Edge& edge : grammar_->edges(way.node)) {
      if (edge.kind == Grammar::Kind::kNothing) reach({edge.target, way.frame});
      if (edge.kind != Grammar::Kind::kCall) continue;
      if (!can_finish({edge.target, way.frame})) continue;
      const std::uint32_t start = grammar_->rule_start(edge.rule);
      reach({start, grammar_->is_last(edge) ? way.frame : push(way.frame, edge.target)});
    }
  }
  if (over()) {
    gave_up_ = true;
    for (; frames_.size() > frames_before_; frames_.pop_back())
      frame_ids_.erase(pair_of(frames_.back().below, frames_.back().node));
    return std::nullopt;
  }
  std::ranges::sort(position.ways);
  return position;
}

Matcher::State Matcher::keep(Position position) {
  std::uint64_t hash = position.complete ? 1 : 0;
  for (const Way& way : position.ways)
    hash = (hash ^ pair_of(way.node, way.frame)) * 0x9E3779B97F4A7C15u, hash ^= hash >> 29;
  const auto [begin, end] = state_ids_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const Position& same = states_[it->second];
    if (same.complete == position.complete && same.ways == position.ways) return it->second;
  }
  const auto id = static_cast<State>(states_.size());
  state_ids_.emplace(hash, id);
  ways_kept_ += position.ways.size();
  next_.resize(next_.size() + classes_, Step{.to = position.ways.empty() ? kDead : kUnknown, .cost = 0});
  states_.push_back(std::move(position));
  return id;
}

std::optional<Matcher::Step> Matcher::explore(State from, std::uint8_t byte) {
  if (full()) return std::nullopt;
  begin_step();
  for (const Way& way : states_[from].ways) {
    work_ += grammar_->edges(way.node).size();
    if (over()) break;
    for (const Grammar::Edge& edge : grammar_->edges(way.node)) {
      if (edge.kind == Grammar::Kind::kBytes && byte >= edge.low && byte <= edge.high) reach({edge.target, way.frame});
    }
  }
  auto position = close();
  Step step{.to = kDead, .cost = kGivenUp};
  if (position) {
    step.cost = static_cast<State>(std::bit_width(work_)) & 0xFF;
    step.to = seen_.empty() ? kDead : keep(*std::move(position)) & kUnknown;
  }
  return next_[step_id(from, byte)] = step;
}

void Matcher::empty_but_for(std::initializer_list<State*> kept) {
  std::vector<Position> positions;
  for (const State* state : kept) positions.push_back(states_[*state]);
  const std::vector<Frame> old = std::exchange(frames_, {Frame{}});
  frame_ids_.clear(), state_ids_.clear(), states_.clear(), next_.clear();
  ways_kept_ = 0;
  ++epoch_;
  keep({});
  for (Position& position : positions) {
    for (Way& way : position.ways) {
      std::vector<std::uint32_t> nodes;  // from the top down
      for (std::uint32_t at = way.frame; at != 0; at = old[at].below) nodes.push_back(old[at].node);
      way.frame = 0;
      for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) way.frame = push(way.frame, *node);
    }
    std::ranges::sort(position.ways);
  }
  std::size_t i = 0;
  for (State* state : kept) *state = keep(std::move(positions[i++]));
}

// Where the bytes lead, however full the table: it is emptied on the way.
Matcher::State Matcher::walk(std::string_view bytes) {
  State at = state_;
  for (const char each : bytes) {
    const auto byte = static_cast<std::uint8_t>(each);
    auto to = next(at, byte);
    if (!to) {
      empty_but_for({&state_, &at});
      to = next(at, byte);
    }
    at = to ? State{to->to} : kDead;
    if (at == kDead) break;
  }
  return at;
}

bool Matcher::advance(std::string_view bytes) {
  const State to = walk(bytes);
  if (to == kDead) return false;
  state_ = to;
  return true;
}

bool Matcher::accepts(std::string_view bytes) { return walk(bytes) != kDead; }

}  // namespace sedge::engine
