// Times that are asked for their quantiles.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "base/time.h"

namespace sedge::sim {

// Sorted once, then asked.
class Samples {
 public:
  void add(Duration value) { values_.push_back(value); }
  std::vector<double> all_ms() {
    std::ranges::sort(values_);
    std::vector<double> all;
    for (const Duration value : values_) all.push_back(to_ms(value));
    return all;
  }
  std::optional<double> ms(double quantile) {
    if (values_.empty()) return std::nullopt;
    std::ranges::sort(values_);
    const auto at = static_cast<std::size_t>(quantile * static_cast<double>(values_.size() - 1));
    return to_ms(values_[at]);
  }

 private:
  std::vector<Duration> values_;
};

}  // namespace sedge::sim
