// What a node counts, in the text format that Prometheus scrapes. The cores count already; nothing is counted twice:
// each scrape reads them and lets prometheus-cpp write the text. A registry of live counters was rejected: the
// sans-IO cores would have to know it.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "node/node.h"
#include "platform/runtime.h"

namespace sedge::api {

// What the HTTP server adds.
struct HttpStats {
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;       // answered with a status of 400 or more
  std::uint64_t disconnects = 0;  // clients that went before their answer was whole
  std::size_t connections = 0;
};

std::string metrics_text(const node::Node& node, const platform::TransportStats& transport,
                         const platform::Energy& energy, const HttpStats& http);

}  // namespace sedge::api
