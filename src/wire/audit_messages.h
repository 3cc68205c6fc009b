// How nodes show each other their audit chains (trust/audit.h reads what is opaque here). Grammar:
// docs/formats/audit.md.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"

namespace sedge::wire {

// "Show me what you have of the subject's chain behind this index." Any member may ask any other.
struct AuditRequest {
  NodeId subject;
  std::uint64_t after = 0;  // entries from after + 1 on; 0: from the beginning
  bool heads = false;       // and, of all nodes, the newest head that you have seen
  friend bool operator==(const AuditRequest&, const AuditRequest&) = default;

  template <class V>
  void fields(V& visit) {
    visit("subject", subject);
    visit("after", after);
    visit("heads", heads);
  }
};

struct AuditChunk {
  NodeId subject;
  std::uint64_t after = 0;      // of the request
  std::vector<Buffer> heads;    // of the subject: its checkpoint, its newest head; of others where they were asked for
  std::vector<Buffer> entries;  // ascending
  bool more = false;            // ask again behind the last of them
  friend bool operator==(const AuditChunk&, const AuditChunk&) = default;

  template <class V>
  void fields(V& visit) {
    visit("subject", subject);
    visit("after", after);
    visit("heads", heads);
    visit("entries", entries);
    visit("more", more);
  }
};

}  // namespace sedge::wire
