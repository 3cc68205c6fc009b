// The mean, the count and the sum of one number from each node that takes part, with nobody who collects them.
//
// Idea: push-sum (push_sum.h) in rounds. A round has a name that its participants agreed on beforehand, a beginning and
// a window. It spreads over the links: whoever hears of it passes shares on until it is over, with nothing of its own
// unless it takes part; so participants need not know, nor be linked to, each other. Averaged are a participant's
// value, a 1 of each participant, and a 1 of who began: the first over the second is the mean, the second over the
// third the count. A node joins a round in its first half, and begins its own later; the second half is for settling.
// Of rounds of one name that began within half a window the oldest goes on, by the fleet clocks of who began them, and
// takes in those of the others.
//
// Lost messages are made good by later ones; a link that falls, by a death or for another reason, is undone on both
// sides. So the result is of those who take part and live, wherever it had settled again by the end. It is only given
// if it stood still for its last turns and the count is a whole number; else the participants begin another round, as
// when the node dies that began (with it goes the one 1 that counts); after kTries rounds: Unavailable.
//
// Who takes part may lie about its value, and as a neighbour about what it was given: shares are taken from those alone
// whose certificate lets them publish on the name.
// Bounded: rounds_max rounds, rounds_of_one of them by one neighbour's word; `turns` messages a round and node, and one
// a link when it is heard of. Threads: none.
// Rejected: restarting everybody when somebody dies (undoing is exact and costs nothing); an end by consensus that the
// estimate is good enough (the window is known beforehand, to callers with deadlines too); ends by the fleet clock (a
// node whose clock is not settled could not take part).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "consensus/push_sum.h"
#include "env/outbox.h"
#include "wire/average_messages.h"

namespace sedge::consensus {

inline constexpr Duration kAverageWindow = 5s;  // where a caller names none
inline constexpr Duration kAverageWindowMin = 1s;
inline constexpr Duration kAverageWindowMax = 10min;

struct AveragerOptions {
  NodeId self;
  BootEpoch epoch;  // sessions of a later life are greater
  std::uint64_t seed = 0;
  std::uint32_t turns = 256;       // of a window: each gives half to one neighbour
  std::uint32_t still_turns = 12;  // the last ones, within which the result must not move by more than
  double tolerance = 1e-5;         // of itself
  std::size_t rounds_max = 64;
  std::size_t rounds_of_one = 16;
  std::function<std::uint64_t(Instant now)> fleet_ms;
  std::function<bool(NodeId who, std::string_view name)> allows;  // none: everybody
};

struct Average {
  double mean = 0;
  double sum = 0;
  std::uint64_t count = 0;
  std::uint32_t rounds = 0;  // it took
};

struct AveragerStats {
  std::uint64_t rounds = 0;   // heard of or begun
  std::uint64_t dropped = 0;  // shares of rounds that there was no room for
};

class Averager {
 public:
  explicit Averager(AveragerOptions options) : options_(std::move(options)), prng_(options_.seed) {}

  static constexpr std::uint32_t kTries = 3;
  // Takes part with a value; `done` is called once, when the round is over. A round that is under way has its own
  // window. Errors: InvalidArgument: no finite number, or a window out of bounds. AlreadyExists: this node takes part
  // in one of that name. ResourceExhausted: too many rounds. Unavailable: it did not settle. Aborted: by abandon().
  using Done = std::function<void(const Result<Average>&)>;
  void average(std::string name, double value, Duration window, Done done, Instant now);

  // A kAverageShare. Errors: DataLoss; PermissionDenied: the neighbour may not publish on that name.
  Status on_message(NodeId from, Bytes body, Instant now);
  void on_link_up(NodeId peer, Instant now);
  void on_link_down(NodeId peer);
  void on_timer(Instant now);
  Instant next_deadline() const;
  std::vector<env::Send> take_sends() { return std::exchange(sends_, {}); }
  void abandon();

  const AveragerStats& stats() const { return stats_; }
  std::size_t rounds() const { return rounds_.size(); }

 private:
  using Key = std::pair<std::string, wire::AverageRound>;
  struct Estimate {
    double mean = 0;
    double count = 0;
  };
  struct Round {
    Duration window{};
    Instant until{};
    Instant next_turn{};
    NodeId by;           // who told us; zero: ourselves
    bool heard = false;  // a share, since our last turn
    PushSum sums;
    std::deque<Estimate> last;
  };
  struct Part {  // ours
    double value = 0;
    Duration window{};
    Key in;
    std::uint32_t round = 1;
    Done done;
  };
  using Rounds = std::map<Key, Round>;

  void enter(const std::string& name, Part& part, Instant now);
  Rounds::iterator begin(const Key& key, NodeId by, Duration window, Duration left, Instant now);
  bool has_room(NodeId from, const std::string& name) const;
  Rounds::iterator older_of_its_time(const Key& key);
  void give_way_to(const Key& key, Duration window);
  void follow_the_older(const Key& key, Instant now);
  void turn(const Key& key, Round& round, Instant now);
  void send(const Key& key, const Round& round, NodeId to, const PushSum::Share& share, Instant now);
  void finish(const Key& key, Instant now);
  std::optional<Average> result_of(const Round& round, double value) const;
  bool takes(NodeId peer, std::string_view name) const { return !options_.allows || options_.allows(peer, name); }

  AveragerOptions options_;
  Prng prng_;
  std::set<NodeId> links_;
  Rounds rounds_;
  std::map<std::string, Part> parts_;
  std::map<Key, Instant> ended_;  // until when a straggler's share begins nothing
  std::uint64_t last_begun_ms_ = 0;
  std::vector<env::Send> sends_;
  AveragerStats stats_;
};

}  // namespace sedge::consensus
