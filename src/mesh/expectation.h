// A subscriber's expectation that a topic is heard again in time (the deadline of DDS): a sensor that has fallen silent
// is news too.
//
// One subscription may match many topics, and most messages are in time; so hearing one only notes when, and the topics
// are looked at no earlier than the first of them may be late. A topic that is late is told once a period. Topics are
// forgotten by nobody but the bound: of those beyond kTopicsMax nothing is expected.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace sedge::mesh {

class Expectation {
 public:
  static constexpr std::size_t kTopicsMax = 1024;

  // Requires: deadline > 0.
  explicit Expectation(Duration deadline) : deadline_(deadline) {}

  // It is expected from now on, again within the deadline.
  void heard(std::string_view topic, Instant now);
  // Those that were not heard in time, at most once a deadline each.
  std::vector<std::string> late(Instant now);
  Instant next_deadline() const { return next_; }

 private:
  Duration deadline_;
  std::map<std::string, Instant, std::less<>> heard_;
  Instant next_ = kNever;  // no topic is late before
};

}  // namespace sedge::mesh
