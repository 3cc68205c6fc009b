// One message to everybody: signed batches along a tree that builds and repairs itself.
//
// Problem: flooding costs a copy a link; a fixed tree breaks with every death.
// Idea: Plumtree (Leitao, Pereira, Rodrigues 2007), on a tree of shortest paths (mesh/tree.h). Links of the tree carry
// the batches, the others announcements (HAVE, gathered). Whoever hears of a batch that does not come asks the
// announcer for it, and their link carries everything for a while (GRAFT): until the tree has grown around whatever is
// in its way. Between two leaves the way along a tree is long. A link beside it closes one circle, in which one copy or
// two come twice: few, if few such links are used. So the origin, and in a large fleet those within a few hops of it,
// send on links beside the tree too, one for 20 members in all, and the batch goes on from many places at once. And in
// a small fleet the origin is linked to everybody; its batches say so, and nobody passes them on. What comes by a
// repair when it is old is announced on rather than sent on, with its age: an order of before a node started is not for
// that node, whichever way it comes. Best-effort batches take the same tree once, as datagrams where they fit, and are
// neither announced nor repaired. A batch is accepted once: a window per (origin, boot epoch) remembers which sequences
// were seen; what lies below the window counts as seen. High-water marks are persisted lazily, so that a restarted node
// does not take an old batch for a new one. They are on disk too late for the last half minute, and a node that was
// never here has none: against who sends an old order again, a batch says when it was sent, and what was sent before a
// node started is not for it. Nothing is promised about order. A member may lie: what it announces is bounded for each
// announcer, an age that it tells counts only for what is then asked for, who sends much goes behind those of its
// urgency who do not, and where a link is full, what those send who send most is noted and sent when there is room. A
// link far slower than others is left behind in the same way (mesh/pace.h), and who is asked to wait goes on at half
// the pace (mesh/allowance.h). A large payload is packed by its origin where a link of it is no cable (mesh/packing.h);
// it is signed and passed on as it is packed. Rejected: a tree a source (state grows with the fleet squared); gossip to
// random nodes (log N copies of everything).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/link.h"
#include "env/outbox.h"
#include "mesh/allowance.h"
#include "mesh/pace.h"
#include "mesh/packing.h"
#include "mesh/seen_window.h"
#include "mesh/shares.h"
#include "mesh/tree.h"
#include "trust/directory.h"
#include "trust/keys.h"
#include "wire/broadcast_messages.h"
#include "wire/message_type.h"

namespace sedge::mesh {

using wire::BatchKind;
using wire::Reliability;

inline constexpr std::size_t kBatchBytesMax = 64u << 10;
inline constexpr std::size_t kMissingMax = 4096;  // batches announced and not yet here; more are left to chance
// The largest payload of a batch that still travels as one datagram.
inline constexpr std::size_t kBatchDatagramBytesMax = env::kDatagramBytesMax - 128;

struct BroadcastStats {
  std::uint64_t sent = 0;         // batches of our own
  std::uint64_t delivered = 0;    // of others
  std::uint64_t reliable = 0;     // of these
  std::uint64_t duplicates = 0;   // of reliable ones
  std::uint64_t grafts = 0;       // repairs asked for
  std::uint64_t refused = 0;      // malformed, badly signed, revoked
  std::uint64_t given_up = 0;     // announced but never got
  std::uint64_t slowdowns = 0;    // asked of us
  std::uint64_t too_old = 0;      // sent before this node started
  std::uint64_t left_behind = 0;  // that a neighbour will not get from us: it did not keep up
  std::uint64_t shed = 0;  // not taken or not sent on at once, because links are full and their publisher goes on
};

// What is left of a neighbour's budget: kLow: it is asked to slow down; kSpent: the batch is not taken, a reliable one
// is asked for later.
enum class BatchBudget : std::uint8_t { kEnough, kLow, kSpent };

class Broadcast {
 public:
  struct Options {
    NodeId self;
    BootEpoch epoch;
    std::size_t cache_bytes_max = 8u << 20;  // batches kept for those who missed them; the oldest go first
    Duration cache_age_max = 10s;
    Duration announce_delay = 100ms;        // HAVE waits this long for more,
    Duration urgent_announce_delay = 10ms;  // or this, from urgent priorities on
    Duration graft_delay = 200ms;           // an announced batch may still come along the tree
    Duration graft_retry = 250ms;           // then the next announcer is asked
    Duration graft_time = 2s;               // the link carries everything for so long after
    Duration mark_interval = 30s;           // how often changed high-water marks are persisted
    // A batch of another node, once, and surely its own. kind and origin are its own; never called for our own batches.
    std::function<void(BatchKind kind, NodeId origin, Bytes payload, Instant now)> deliver;
    // Living members, this node included. Not set: just the neighbours.
    std::function<std::size_t()> members;
    bool pack = true;  // large payloads, where it pays
    // As Tree::Options has them.
    std::function<std::optional<wire::MemberState>(NodeId)> state_of;
    std::function<Duration(NodeId)> round_trip;
    // The least that was ever measured on the link: what waits in a full one's queues makes no cable a radio. Zero: not
    // measured. Not set: never.
    std::function<Duration(NodeId)> least_round_trip;
    // The part of the packets to a neighbour that get lost. Not set: none.
    std::function<double(NodeId)> loss;
    // Asked once of each new batch that a neighbour sends. `straight`: its own, and for everybody by itself, so that it
    // is neither checked nor passed on. Not set: always enough.
    std::function<BatchBudget(NodeId from, bool straight, Instant now)> budget;
    // Our fleet clock, 0 while it is not settled. Not set: never settled.
    std::function<std::uint64_t(Instant now)> fleet_ms;
  };

  // `key` and `directory` outlive this.
  Broadcast(Options options, const trust::SecretKey& key, const trust::Directory& directory);

  static constexpr const char* kBucket = "broadcast";
  Status load(Bytes key, Bytes value);  // before start()
  void start(Instant now);

  // Sends to everybody else. Errors: InvalidArgument: payload over kBatchBytesMax.
  Result<Sequence> broadcast(BatchKind kind, Bytes payload, Reliability reliability, env::Priority priority,
                             Instant now);

  void on_link_up(NodeId peer, Instant now);
  void on_link_down(NodeId peer, bool broke, Instant now);  // or it was closed on purpose, and other ways lead there
  void on_member_changed(NodeId id, Instant now);
  // Where over an eighth of what a link may hold waits on one that is not slow beside others, whoever goes on sending
  // reliable messages, and has sent no less than others, is asked to wait; asked ourselves, we ask on, back to who
  // publishes.
  void on_backlog(std::span<const env::LinkBacklog> waiting) { pace_.on_backlog(waiting); }
  void on_link_bytes(std::span<const env::LinkBytes> bytes, Instant now) { pace_.on_link_bytes(bytes, now); }
  const Pace& pace() const { return pace_; }
  // How long a publisher of much waits, because somebody on the way asked for that; zero: not at all.
  Duration wait(bool for_all, Instant now) { return allowances_[for_all ? 1 : 0].wait(now); }
  // Whether we have lately sent so much of what goes through here that it is for us to wait (shares.h).
  bool above_share(Instant now) { return shares_.above(options_.self, now); }
  // A link that falls takes along what was under way on it; its neighbour hears what is kept here when it is back, and
  // asks for what it missed. True: more reliable batches would push that out of what is kept before it has been asked
  // for. Who publishes waits then, until that is over, or the neighbour dead.
  bool owes(Instant now);

  // Types kBroadcast to kBroadcastSlowdownForAll. Errors: DataLoss, Unauthenticated: count it against `from`.
  Status on_message(NodeId from, wire::MessageType type, Bytes body, Instant now);

  void on_timer(Instant now);
  Instant next_deadline() const;
  void drain(env::Outbox& out);

  // Whether a byte to this neighbour costs more than the time to pack it.
  bool slow(NodeId peer) const;
  // Every member has a link to us: nobody needs to pass our batches on.
  bool direct() const { return links_.size() + 1 == members(); }
  BroadcastStats stats() const {
    BroadcastStats out = stats_;
    out.left_behind = pace_.lost();
    return out;
  }
  const PackStats& pack_stats() const { return packer_.stats(); }
  const Tree& tree() const { return tree_; }
  std::size_t missing() const { return missing_.size(); }  // at most kMissingMax
  std::size_t cache_bytes() const { return cache_bytes_; }

 private:
  // Which batches of one origin were seen: all of earlier lives, and of this one these sequences.
  struct Window {
    BootEpoch epoch;
    SeenWindow seen;
    bool marked = true;  // on disk, or needs not be
    bool contains(const wire::BatchId& id) const;
    void add(const wire::BatchId& id);
  };
  struct Cached {
    Buffer frame;
    Instant born{};  // published, as far as is known: by the announcement's age, else when it came
    env::Priority priority = env::Priority::kNormal;
    bool checked = true;  // its signature was; not yet where its origin itself brought it and nobody asked for it
  };
  struct Link {
    Instant grafted_until{};  // it carries batches whatever the tree says,
    std::size_t in_vain = 0;  // but if so many came along it of what was here
    std::vector<wire::HeldBatch> announce;
    Instant slowdown_said{};
    std::size_t noted = 0;  // of missing_: it was the first to announce them
  };
  struct Missing {
    std::deque<NodeId> announcers;
    Instant born{};
    Instant since{};
    Instant ask_at{};
    NodeId first;        // to announce it
    bool asked = false;  // so that what comes may be a repair
  };
  using MissingAt = std::map<wire::BatchId, Missing>::iterator;

  std::size_t members() const;
  double mean_loss() const;
  bool is_member(NodeId id) const;  // as far as is known, alive
  void owe(NodeId peer, Instant now);
  Status check_age(NodeId from, const wire::BatchView& batch, Instant now);
  Status check_room(const wire::BatchView& batch, Instant now);
  MissingAt forget(MissingAt missing);
  bool seen(const wire::BatchId& id) const;
  Status on_batch(NodeId from, wire::MessageType type, Bytes body, Instant now);
  void on_slowdown(NodeId from, const wire::BroadcastSlowdown& slowdown, bool for_all, Instant now);
  void on_have(NodeId from, const wire::BroadcastHave& have, Instant now);
  void on_graft(NodeId from, const wire::BroadcastGraft& graft, Instant now);
  void note_missing(const wire::BatchId& id, NodeId announcer, Instant born, Instant now);
  void on_came_again(NodeId from);
  void carry_all(Link& link, Instant now) const;
  Status check(wire::MessageType type, const wire::BatchView& batch, const wire::SignedBatchView& message) const;
  bool check(Cached& cached);
  void pass_on(wire::MessageType type, const wire::BatchView& batch, const wire::SignedBatchView& message, NodeId from,
               Cached cached, Instant now);
  bool within_budget(NodeId from, const wire::BatchView& batch, Instant now);
  bool strained(bool for_all, NodeId from, Instant now);
  void count(NodeId origin, env::Priority priority, std::size_t bytes, Instant now);
  env::Priority place_of(NodeId origin, env::Priority priority, Instant now);
  void slow_down(NodeId neighbour, bool for_all, Instant now);
  bool some_link_is_slow() const;
  void keep(const wire::BatchId& id, Cached cached, Instant now);
  void mark_seen(const wire::BatchView& batch, Instant now);
  void flush_announcements(Instant now);
  void ask_for_missing(Instant now);
  void catch_up(Instant now);
  void persist_marks();
  template <class T>
  void send(NodeId to, wire::MessageType type, const T& message);

  Options options_;
  const trust::SecretKey& key_;
  const trust::Directory& directory_;
  Instant started_{};
  Sequence sequence_;
  Tree tree_;
  Packer packer_;
  std::map<NodeId, Link> links_;
  std::unordered_map<NodeId, Window> windows_;
  std::map<wire::BatchId, Cached> cache_;
  std::deque<wire::BatchId> cache_order_;
  std::size_t cache_bytes_ = 0;
  std::uint64_t kept_bytes_ = 0;  // ever
  // Neighbours whose links fell, until they must have asked for what they missed: how much was kept until then.
  struct Owed {
    Instant until;
    std::uint64_t kept_bytes = 0;
  };
  std::map<NodeId, Owed> owed_;
  std::map<wire::BatchId, Missing> missing_;
  Pace pace_;
  std::array<Allowance, 2> allowances_;              // of messages that wait for slow links, too, the second
  Shares shares_;                                    // of all priorities together,
  std::array<Shares, env::kPriorities> each_share_;  // and of each by itself
  std::vector<NodeId> unmarked_;                     // windows that are not on disk as they are
  Instant next_announce_ = kNever;
  Instant next_ask_ = kNever;
  Instant next_mark_ = kNever;
  env::Outbox out_;
  BroadcastStats stats_;
};

}  // namespace sedge::mesh
