// What one neighbour may cost us. A member is trusted with the fleet's work, not with our time and memory: its robot
// may be stolen, or its program wrong.
//
// Five budgets a link, each a token bucket, so that honest bursts pass:
//   asks     messages that we answer with more than they are: tables, pulls, repairs, chains. A thousand of them in one
//            packet would be a gigabyte of answers before the first is sent
//   wants    of pieces of tensors: up to 128 KiB each in return. Enough for 512 MiB/s, and no more at once than the
//            queue of a link holds
//   batches  each new one costs us a signature's check, about 60 us; what its origin sends straight to everybody is
//            not checked and counts as an eighth
//   lies     what no honest peer sends: malformed, or signed by nobody. What an honest node passes on it has checked
//   overrun  bytes that a publisher goes on sending though it was asked to wait. An honest one has half a link's queue
//   of them
// And one question at a time: whoever asks for a table or for part of the state is not answered while more than
// `answer_waits` bytes of its last answer wait on the link. An honest neighbour asks on when it has it; without this a
// member that asks and asks fills our queue to it, and with that full our own messages to everybody are told to wait.
// Over the first three, frames are dropped and counted. The asker's own protocol asks again; an honest publisher or
// relay may well have more batches than we can check, so who has used half of that budget is asked to slow down, and a
// reliable batch over it is noted as missing and fetched later. Who has used up one of the others is hung up on and not
// let back for shun_time. The other numbers are several times what was ever seen of an honest neighbour: a pull and a
// probe are tens a second.
// Rejected: one budget in bytes. An honest link may be busy to its last byte; and a byte of a pull costs us a thousand.
// Bounded: by links, and kShunnedMax. Threads: none.
#pragma once

#include <cstdint>
#include <map>

#include "base/id.h"
#include "base/time.h"
#include "env/link.h"
#include "mesh/broadcast.h"
#include "wire/message_type.h"

namespace sedge::node {

class PeerMeter {
 public:
  struct Options {
    double asks_per_s = 512;
    double asks_burst = 32;
    double wants_per_s = 4096;
    double wants_burst = 64;
    double batches_per_s = 8000;
    double batches_burst = 8000;
    std::size_t answer_waits = 32 << 10;
    double lies_per_s = 1;
    double lies_burst = 64;
    double overrun_per_s = 64.0 * 1024;
    double overrun_burst = static_cast<double>(env::kLinkQueueBytesMax) / 2;
    Duration shun_time = 60s;
    friend bool operator==(const Options&, const Options&) = default;
  };
  static constexpr std::size_t kShunnedMax = 4096;  // beyond: the one whose time ends first is let back
  PeerMeter() : PeerMeter(Options()) {}
  explicit PeerMeter(Options options) : options_(options) {}

  // False: drop this frame. Batches pass: they are counted one by one, as they turn out to be new.
  bool takes(NodeId from, wire::MessageType type, const env::AnswersWaiting& waiting, Instant now);
  // For a new batch. `straight`: one that is not checked.
  mesh::BatchBudget batch(NodeId from, bool straight, Instant now);
  // It sent what no honest peer sends. True: that was once too often, hang up.
  bool lied(NodeId from, Instant now);
  // It published so many bytes though it was asked to wait. True: as above.
  bool overran(NodeId from, std::size_t bytes, Instant now);
  bool shunned(NodeId peer, Instant now) const;
  void on_link_down(NodeId peer) { links_.erase(peer); }

  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Bucket {
    double spent = 0;  // of the burst
    Instant at{};
    bool spend(double per_s, double burst, Instant now, double amount = 1);
  };
  struct Link {
    Bucket asks, wants, batches, lies, overrun;
  };

  void shun(NodeId peer, Instant now);

  Options options_;
  std::map<NodeId, Link> links_;
  std::map<NodeId, Instant> shunned_;  // until when
  std::uint64_t dropped_ = 0;
};

}  // namespace sedge::node
