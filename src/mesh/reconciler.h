// The sessions of reconciliation that this node has a part in (crdt/session.h): their keys, their sets, and how much
// work a peer may cause.
//
// A session's key comes from the node's own secret and a count, so that nobody but the two who hold it can know it. Who
// answers needs no state but the set under that key, and makes it again when it is gone: a session can be dropped at
// any time. Sets are large (64 bytes a write), so that only a few are kept, for seconds. A pass over all writes is dear
// (at 100,000 some ten milliseconds), so that each peer is granted a few a second; beyond that it is not answered.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "crdt/replica.h"
#include "crdt/session.h"
#include "trust/keys.h"
#include "wire/message_type.h"

namespace sedge::mesh {

class Reconciler {
 public:
  struct Options {
    Duration keep = 5s;               // a set is dropped when nobody has spoken of it for this long
    std::size_t sessions_max = 8;     // then the one unused longest goes,
    std::size_t items_max = 393'216;  // and so while all sets together hold more: 24 MiB, three full ones
    // Writes looked at for one peer, at once and anew each round. At 100,000 writes a session takes 4 to 10 passes.
    std::size_t work_max = 1'200'000;
    std::size_t work_a_round = 300'000;
  };
  // `replica` must outlive this. `secret`: of this life of the node.
  Reconciler(const crdt::Replica& replica, const trust::Digest& secret) : Reconciler(replica, secret, Options()) {}
  Reconciler(const crdt::Replica& replica, const trust::Digest& secret, Options options)
      : replica_(replica), secret_(secret), options_(options) {}

  wire::StateSketch open(NodeId peer, std::size_t symbols, Instant now);
  // Errors: DataLoss: malformed, count it against the peer. ResourceExhausted: it asked for too much; not answered.
  Result<crdt::SessionAnswer> on_message(NodeId from, wire::MessageType type, Bytes body, Instant now);
  void on_round(Instant now);
  void forget(NodeId peer);
  std::size_t sessions() const { return held_.size(); }

 private:
  struct Held {
    crdt::Session session;
    Instant used;
  };
  using Name = std::pair<NodeId, wire::SessionKey>;  // a peer cannot speak in another's session

  Result<crdt::Session*> session_of(NodeId peer, const wire::SessionKey& key, Instant now);
  crdt::Session& make(const Name& name, Instant now);
  bool over_bounds() const;
  Status spend(NodeId peer, std::size_t passes);

  const crdt::Replica& replica_;
  trust::Digest secret_;
  Options options_;
  std::uint64_t opened_ = 0;
  std::map<Name, Held> held_;
  std::map<NodeId, std::size_t> spent_;  // writes looked at
};

}  // namespace sedge::mesh
