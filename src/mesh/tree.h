// The tree that broadcasts travel along: one for the whole fleet, of the shortest paths from one node.
//
// Problem: Plumtree's own rule (who gets a copy twice prunes the link of the second) lets whoever spoke last shape the
// tree. With many origins the paths wander, each death floods, and grafts undo what prunes did: 200 nodes over links of
// 10 to 50 ms heard each other after 270 ms in the median and 492 ms at the 99th percentile, where the shortest
// paths take about 90, with 0.2 duplicates a node.
// Idea: say how far from the root you are. Each node tells its neighbours its root (the smallest id that it has heard
// of and that lives), its distance from it in time, and the nodes on the way (a path vector, as BGP's: who stands on a
// path does not follow it, so there are no loops to count up in). Each follows the neighbour that brings it nearest.
// Batches go along these links; between any two nodes that is at most twice the way to the root, and nobody gets
// two. A message is sent only when something changed; where neighbours do not agree on the root, their link counts as
// part of the tree, so that a change costs duplicates and never a batch.
// Rejected: a tree for each origin (most speak once in minutes; their trees would be built for one message); electing
// the root by centrality (in a random overlay everybody is about as central, and the smallest id needs no votes).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "wire/broadcast_messages.h"
#include "wire/membership_messages.h"

namespace sedge::mesh {

class Tree {
 public:
  struct Options {
    NodeId self;
    Duration gather = 5ms;          // a change waits this long for more before it is told
    Duration patience = 2s;         // between two changes of the parent that only make the way shorter
    Duration review_interval = 2s;  // round trips change without anybody telling
    // What membership believes of a node; nothing: it was never heard of, and is no root. Not set: all live.
    std::function<std::optional<wire::MemberState>(NodeId)> state_of;
    // Smoothed, zero where not measured. Not set: never measured.
    std::function<Duration(NodeId)> round_trip;
  };
  explicit Tree(Options options);

  void on_link_up(NodeId peer, Instant now);
  void on_link_down(NodeId peer, Instant now);
  void on_position(NodeId from, const wire::TreePosition& position, Instant now);
  // Something is believed of this node that was not.
  void on_member_changed(NodeId id, Instant now);
  void on_timer(Instant now);
  Instant next_deadline() const { return std::min(next_tell_, next_review_); }
  // To whom our position is to be told.
  std::vector<std::pair<NodeId, wire::TreePosition>> take_positions();

  // Whether batches go along the link to this neighbour.
  bool holds(NodeId peer) const;
  NodeId root() const { return root_; }
  std::optional<NodeId> parent() const { return parent_; }
  Duration distance() const { return distance_; }  // from the root

 private:
  struct Link {
    std::optional<wire::TreePosition> position;
    bool told = false;  // our position, once at least
  };
  void choose(Instant now);
  std::optional<Duration> distance_by(NodeId peer, const Link& link) const;
  bool lives(NodeId id) const;
  wire::TreePosition position() const;

  Options options_;
  std::uint64_t own_name_ = 0;
  std::map<NodeId, Link> links_;
  NodeId root_;
  std::optional<NodeId> parent_;
  Duration distance_{};
  wire::TreePosition told_;
  bool to_all_ = false;
  std::vector<std::pair<NodeId, wire::TreePosition>> out_;
  Instant switched_{};
  Instant next_tell_ = kNever;
  Instant next_review_ = kNever;
};

}  // namespace sedge::mesh
