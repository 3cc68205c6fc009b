// Which neighbours keep up with what is sent to all, and what waits for those that do not.
//
// Problem: a reliable message to everybody goes over every link of the tree. If its publisher waits for the slowest of
// them, one robot at the edge of the radio's range holds up the fleet; if it does not, that link's queue grows until
// the link is cut.
// Idea: a slow link is not one where much waits, for that is where most is sent, but one that, while much waits,
// carries less than a quarter of what other links have shown that they carry, in either direction, at least as many of
// them as carry as little as it does. Such a link is left behind: batches for it are only noted, by their ids, and sent
// out of what is kept for repairs anyway (mesh/broadcast.h) as it empties, the most urgent and then the oldest first.
// What its neighbour gets another way meanwhile is struck off; what is no longer kept is lost to it, and counted.
// Publishers wait for all other links, so that who overruns the fleet is slowed and loses nothing; and for the slow
// ones too, if they want every message to arrive (wire::Reliability::kForAll). Rejected: waiting for all (one link of
// 20 KB/s among 50 nodes had a publisher of 200 KB/s refused three messages in five); to leave behind by what waits,
// rather than by what is carried (a link that has more to carry than others of its kind would lose it, while its
// publishers could have been slowed).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "env/link.h"
#include "wire/broadcast_messages.h"

namespace sedge::mesh {

class Pace {
 public:
  void on_link_up(NodeId peer, Instant now);
  void on_link_down(NodeId peer);
  // All links on which anything waits.
  void on_backlog(std::span<const env::LinkBacklog> waiting);
  // All links, every 100 ms or so.
  void on_link_bytes(std::span<const env::LinkBytes> bytes, Instant now);
  void on_sent(NodeId peer, std::size_t bytes);  // since on_backlog()

  // Bytes on, and noted for, the fullest link but `except`; of slow ones only if it is to wait `for_all`.
  std::size_t waiting(bool for_all, NodeId except = {}) const;
  std::size_t waiting_on(NodeId peer) const;
  bool slow(NodeId peer) const;
  // Whether a batch for this neighbour is to be noted.
  bool behind(NodeId peer) const;

  void note(NodeId peer, env::Priority priority, const wire::BatchId& id, std::size_t bytes, Instant now);
  void on_has(NodeId peer, const wire::BatchId& id);  // the neighbour has it
  // What may go to whom now. `kept`: whether a batch still is.
  using Kept = std::function<bool(const wire::BatchId& id)>;
  std::vector<std::pair<NodeId, wire::BatchId>> take(Instant now, const Kept& kept);
  Instant next_deadline() const { return next_; }

  std::size_t noted() const { return noted_; }
  std::uint64_t lost() const { return lost_; }  // batches, ever, each for one neighbour

 private:
  using Place = std::pair<env::Priority, std::uint64_t>;
  struct Noted {
    wire::BatchId id;
    std::size_t bytes = 0;
  };
  struct Link {
    std::size_t queued = 0, unsent = 0;
    env::LinkBytes bytes;            // when last measured,
    Instant measured{};              // which was then;
    bool busy = false;               // and whether much waited;
    double carries = 0;              // bytes a second while much does
    double sends = 0, receives = 0;  // bytes a second, the most that it has shown; fades
    int slow_for = 0;                // measurements, one after the other
    bool slow = false;
    std::map<Place, Noted> noted;
    std::size_t noted_bytes = 0;
    std::map<wire::BatchId, Place> places;  // of the same
  };

  static std::optional<double> measure(Link& link, const env::LinkBytes& bytes, Instant now);
  bool keeps_up(double carried) const;
  void strike(Link& link, std::map<Place, Noted>::iterator noted);

  std::map<NodeId, Link> links_;
  bool quiet_ = true;  // nothing waits anywhere
  std::size_t noted_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t lost_ = 0;
  Instant next_ = kNever;
};

}  // namespace sedge::mesh
