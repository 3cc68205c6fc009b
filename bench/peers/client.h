// A client of another messaging system, under the same measurement as Sedge (bench/measure.h). Each system is one file
// that says how to open a Channel; client.cc is the main() of all. The broker, its certificates and the environment
// come from run.py.
//
// Each system is used as its own documents advise for speed, through its stock C library: what it can be told about
// latency and throughput it is told. Rejected: our own minimal clients (then we would measure those).
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "measure.h"

namespace sedge::bench {

struct Endpoint {
  int port = 0;        // the broker's, on 127.0.0.1
  int qos = 0;         // where the system has levels
  std::string folder;  // ca.pem, client.pem, client.key; TLS with both sides' certificates
};

// Errors: Unavailable: the broker is not there or refuses.
Result<std::unique_ptr<Channel>> open_channel(const Endpoint& endpoint);

// Of the client library that this program runs with.
std::string library_version();

}  // namespace sedge::bench
