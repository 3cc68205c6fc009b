// Is there one order of all operations, each at a moment between its call and its return, that a single register a path
// would have answered alike? (Herlihy and Wing 1990.) Registers are independent, so each path is judged alone.
//
// Where every value is written once, as here, the question needs no search (Gibbons and Korach 1997). A write and the
// reads of its value stand together in any such order, and one such cluster must come before another if any operation
// of it returned before one of the other was called. There is an order if no read returned before its write was called,
// and no two clusters must each come before the other: a longer circle has such a pair in it, of the cluster that was
// called last and the one after it. Rejected: search with a memory of what was tried (Wing and Gong 1993, Lowe 2017),
// which takes any history: writes that never returned double its work, each of them.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/assert.h"
#include "base/time.h"

namespace sedge::consensus {

struct Operation {
  std::string path;
  bool write = false;
  std::string value;  // written, by no other; or read
  Instant called{};
  Instant returned = kNever;  // never: it may have happened at any time since, or not at all
};

namespace history {

struct Cluster {  // a write and the reads of its value
  bool written = false, read = false;
  Instant written_from{};
  Instant first_read = kNever;                                // that returned
  Instant first_return = kNever, last_call = Instant::min();  // of any of them
};

// Whether an operation of `a` returned before one of `b` was called.
inline bool precedes(const Cluster& a, const Cluster& b) { return a.first_return < b.last_call; }

inline bool has_order(const std::vector<Cluster>& clusters) {
  for (const Cluster& each : clusters) {
    if (!each.written || each.first_read < each.written_from) return false;
  }
  for (std::size_t a = 0; a < clusters.size(); ++a) {
    for (std::size_t b = a + 1; b < clusters.size(); ++b) {
      if (precedes(clusters[a], clusters[b]) && precedes(clusters[b], clusters[a])) return false;
    }
  }
  return true;
}

}  // namespace history

// The first path whose history cannot be explained; none: all can. A register begins empty, before everything.
inline std::optional<std::string> not_linearizable(const std::vector<Operation>& operations) {
  using history::Cluster;
  std::map<std::string, std::map<std::string, Cluster>> paths;
  for (const Operation& each : operations) {
    if (!each.write && each.returned == kNever) continue;  // says nothing
    auto& values = paths[each.path];
    if (values.empty()) values[""] = {.written = true, .written_from = Instant::min(), .first_return = Instant::min()};
    Cluster& cluster = values[each.value];
    if (each.write) {
      SEDGE_ASSERT(!cluster.written);
      cluster.written = true;
      cluster.written_from = each.called;
    } else {
      cluster.read = true;
      cluster.first_read = std::min(cluster.first_read, each.returned);
    }
    cluster.first_return = std::min(cluster.first_return, each.returned);
    cluster.last_call = std::max(cluster.last_call, each.called);
  }
  for (const auto& [path, values] : paths) {
    std::vector<Cluster> clusters;
    for (const auto& [value, cluster] : values) {
      const bool happened = cluster.read || cluster.first_return != kNever;
      if (happened) clusters.push_back(cluster);
    }
    if (!history::has_order(clusters)) return path;
  }
  return std::nullopt;
}

}  // namespace sedge::consensus
