#include "mesh/expectation.h"

#include <algorithm>

namespace sedge::mesh {

void Expectation::heard(std::string_view topic, Instant now) {
  const auto known = heard_.find(topic);
  if (known != heard_.end()) {
    known->second = now;
  } else if (heard_.size() < kTopicsMax) {
    heard_.emplace(topic, now);
    next_ = std::min(next_, now + deadline_);
  }
}

std::vector<std::string> Expectation::late(Instant now) {
  std::vector<std::string> topics;
  if (now < next_) return topics;
  next_ = kNever;
  for (auto& [topic, at] : heard_) {
    if (at + deadline_ <= now) {
      topics.push_back(topic);
      at += (now - at) / deadline_ * deadline_;  // the period that runs
    }
    next_ = std::min(next_, at + deadline_);
  }
  return topics;
}

}  // namespace sedge::mesh
