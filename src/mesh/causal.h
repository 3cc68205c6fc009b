// After its causes: a message that was published by who had heard another is delivered nowhere before that other.
//
// Problem: the broadcast tree keeps no order between origins, and repair may bring an order after its confirmation.
// FIFO of one origin does not help: the question and the answer have two.
//
// Idea: causal broadcast (Birman, Schiper, Stephenson 1991) with direct causes only (as COPS names its nearest
// dependencies, Lloyd and others 2011). A publisher that asks for it numbers its causal messages, and each carries the
// names of those that this node delivered to a subscriber since its message before. All earlier ones are causes of
// these, or of that message before, which is waited for, too: so a context has one name for each origin heard in
// between, whatever the size of the fleet. A receiver holds a message until all that it names was delivered here.
//
// Who waits must not wait for ever: a name carries its age, and what is not here when it is `wait` old, in which
// reliable broadcast brings what it can bring, is lost. Then the message is delivered without it, and counted. What was
// published before this node started is not waited for. A cause that is here and itself waits is waited for longer, up
// to twice `wait` for each message in all, so that circles, which only a liar makes, end.
// Bounded: held_max messages and held_bytes, held_of_one of an origin, beyond which the one held longest is delivered;
// causes_max names in a context, beyond which the ones heard longest ago are left out. Threads: none.
// Rejected: vector clocks (as long as the fleet is large); holding at the publisher (it would wait for the slowest).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "wire/broadcast_messages.h"

namespace sedge::mesh {

struct CausalOptions {
  BootEpoch epoch;     // of this node's life
  Duration wait = 5s;  // what reliable broadcast has not brought by then is lost
  std::size_t causes_max = 128;
  std::size_t held_max = 1024;
  std::size_t held_of_one = 256;
  std::size_t held_bytes = 4u << 20;  // of one origin, a quarter
  std::size_t origins_max = 4096;     // beyond, the one heard longest ago counts as never heard
};

struct CausalStats {
  std::uint64_t held = 0;      // messages that came before a cause
  std::uint64_t given_up = 0;  // delivered without one
  std::uint64_t unnamed = 0;   // causes that a context of ours had no room for
};

// One message as it waits. No topic: it is not to be delivered, but others wait for its place.
struct CausalMessage {
  NodeId origin;
  wire::CausalContext context;
  std::string topic;
  Buffer payload;
  std::optional<TaskId> once;
  std::optional<std::uint64_t> expires_ms;
};

class CausalOrder {
 public:
  explicit CausalOrder(CausalOptions options) : options_(options) {}
  void start(Instant now) { started_ = now; }

  // The context of a message that we publish now.
  wire::CausalContext stamp(Instant now);
  // A message was delivered to a subscriber here: a cause of what we publish next.
  void heard(NodeId origin, const wire::CausalContext& context, Instant now);

  // Errors: DataLoss: more causes than a context has, or a message that names itself.
  Status check(NodeId origin, const wire::CausalContext& context) const;
  // True: deliver it now, it counts as delivered. False: hold() it. Requires: check().
  bool admit(NodeId origin, const wire::CausalContext& context, Instant now);
  // A second one of the same number, which only a liar sends, is dropped.
  void hold(CausalMessage message, Instant now);
  // What waits no longer, in its order; each counts as delivered. Ask until there is none.
  std::optional<CausalMessage> take_ready(Instant now);
  Instant next_deadline() const;

  const CausalStats& stats() const { return stats_; }
  std::size_t holding() const { return held_.size(); }

 private:
  struct Wait {
    NodeId origin;
    BootEpoch epoch;
    std::uint64_t sequence = 0;
    Instant until{};
  };
  struct Held {
    CausalMessage message;
    std::vector<Wait> waits;
    std::size_t next = 0;  // of them: the first that is not over
    Instant end{};         // it is not held longer, whatever it waits for
    std::size_t bytes = 0;
    bool gave_up = false;
  };
  struct Reached {
    BootEpoch epoch;
    std::uint64_t sequence = 0;  // delivered up to here
    Instant at{};
  };
  struct Heard {
    BootEpoch epoch;
    std::uint64_t sequence = 0;
    Instant at{};
  };
  using HeldId = std::uint64_t;

  std::vector<Wait> waits_of(NodeId origin, const wire::CausalContext& context, Instant now) const;
  bool reached(const Wait& wait) const;
  bool holds(const Wait& wait) const;
  bool over(HeldId id, Held& held, Instant now);
  void reach(NodeId origin, const wire::CausalContext& context, Instant now);
  void make_room(NodeId origin, std::size_t bytes);
  void release(HeldId id);
  void uncount(Held& held);

  CausalOptions options_;
  Instant started_{};
  std::uint64_t sequence_ = 0;  // of our own
  Instant published_{};
  std::map<NodeId, Heard> causes_;  // since our last message
  std::map<NodeId, Reached> reached_;
  std::map<HeldId, Held> held_;
  std::map<NodeId, std::set<HeldId>> waiting_;   // by the origin that each waits for now
  std::set<std::pair<Instant, HeldId>> timers_;  // by when it gives up waiting for that
  std::map<NodeId, std::map<std::pair<BootEpoch, std::uint64_t>, HeldId>> names_;  // of held ones, by their origin
  std::set<HeldId> awake_;                                                         // to be looked at
  HeldId last_id_ = 0;
  std::size_t held_bytes_ = 0;
  std::map<NodeId, std::size_t> bytes_of_;  // of them, by origin
  CausalStats stats_;
};

}  // namespace sedge::mesh
