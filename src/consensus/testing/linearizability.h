// Is there one order of all operations, each at a moment between its call and its return, that a single register a path
// would have answered alike? (Herlihy and Wing 1990.) The search is Wing and Gong's (1993) with Lowe's (2017) memory of
// configurations, as in Porcupine: try an operation that may come next, remember (done, value) pairs that were tried.
// Registers are independent, so each path is judged alone (P-compositionality), which keeps the search small.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"

namespace sedge::consensus::testing {

struct Operation {
  std::string path;
  bool write = false;
  std::string value;  // written, or read
  Instant called{};
  Instant returned = kNever;  // never: it may have happened at any time since, or not at all
  bool failed = false;        // it is known not to have happened
};

class Search {
 public:
  explicit Search(std::vector<Operation> operations) : all_(std::move(operations)), done_(all_.size(), false) {}

  // Whether the rest can be put in order where the register holds `value`.
  bool orders(const std::string& value) {
    Instant first_return = kNever;  // what is called after it cannot come before it
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (!done_[i]) first_return = std::min(first_return, all_[i].returned);
    }
    if (first_return == kNever) return true;  // only such are left as need not have happened
    if (!tried_.emplace(done_, value).second) return false;
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (done_[i] || all_[i].called > first_return) continue;
      if (!all_[i].write && all_[i].value != value) continue;
      done_[i] = true;
      if (orders(all_[i].write ? all_[i].value : value)) return true;
      done_[i] = false;
    }
    return false;
  }

 private:
  std::vector<Operation> all_;
  std::vector<bool> done_;
  std::set<std::pair<std::vector<bool>, std::string>> tried_;
};

// The first path whose history cannot be explained; none: all can. A register begins empty.
inline std::optional<std::string> not_linearizable(const std::vector<Operation>& history) {
  std::map<std::string, std::vector<Operation>> paths;
  for (const Operation& each : history) {
    if (each.failed || (!each.write && each.returned == kNever)) continue;  // says nothing
    paths[each.path].push_back(each);
  }
  for (auto& [path, operations] : paths) {
    std::ranges::sort(operations, {}, &Operation::called);
    if (!Search(operations).orders("")) return path;
  }
  return std::nullopt;
}

}  // namespace sedge::consensus::testing
