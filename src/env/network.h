// The lower network seam: datagrams between addresses. The platform gives real UDP, a simulation a lossy table.
#pragma once

#include "base/bytes.h"
#include "env/endpoint.h"

namespace sedge::env {

// What a QUIC endpoint wants on the wire: one or more equal-sized segments for the same destination, so that the
// platform can hand them to the kernel in one call (UDP GSO). The last segment may be shorter.
struct OutgoingDatagrams {
  Endpoint local;  // unspecified: any interface
  Endpoint remote;
  Bytes payload;  // all segments, back to back; valid until the next call into the endpoint
  std::size_t segment_bytes = 0;
  std::uint8_t ecn = 0;
};

struct IncomingDatagram {
  Endpoint local;
  Endpoint remote;
  Bytes payload;
  std::uint8_t ecn = 0;
};

}  // namespace sedge::env
