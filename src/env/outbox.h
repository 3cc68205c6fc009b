// What a core wants done, collected while it thinks and handed over by drain(). The node sorts and forwards it; no
// core ever waits for any of it.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "env/endpoint.h"
#include "env/link.h"

namespace sedge::env {

struct Send {
  NodeId to;
  Priority priority = Priority::kNormal;
  bool datagram = false;  // best effort; else a reliable frame
  Buffer frame;           // one whole message, type byte first (wire/message_type.h)
};

struct Dial {
  Endpoint address;
  NodeId expected;  // zero: whoever answers with a certificate of our fleet
};

struct Hangup {
  NodeId peer;
  LinkDown reason = LinkDown::kClosed;
};

// One durable change. Buckets are tables of the store (store/store.h).
struct Record {
  std::string bucket;
  Buffer key;
  Buffer value;
  bool erase = false;
};

// Position in the node's sequence of durable changes: on_durable(lsn) means that all up to lsn survive a power cut.
using Lsn = Number<struct LsnTag>;

struct Outbox {
  std::vector<Send> sends;
  std::vector<Dial> dials;
  std::vector<Hangup> hangups;
  std::vector<Record> records;  // committed together, in order
  Lsn lsn;                      // of `records`; on_durable(lsn) once they survive a power cut
  std::vector<Buffer> beacons;  // multicast to whoever is near
  bool empty() const { return sends.empty() && dials.empty() && hangups.empty() && records.empty() && beacons.empty(); }
};

}  // namespace sedge::env
