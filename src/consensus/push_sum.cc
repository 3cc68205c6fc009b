#include "consensus/push_sum.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace sedge::consensus {

PushSum::Share PushSum::give(NodeId to) {
  Share& total = given_[to];
  total.sums.resize(sums_.size());
  ++total.number;
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    sums_[i] /= 2;
    total.sums[i] += sums_[i];
  }
  weight_ /= 2;
  total.weight += weight_;
  return total;
}

Status PushSum::take(NodeId from, const Share& share) {
  if (share.sums.size() != sums_.size()) {
    return fail(Code::kDataLoss, "a share of {} sums, ours has {}", share.sums.size(), sums_.size());
  }
  const auto finite = [](double value) { return std::isfinite(value); };
  if (!std::ranges::all_of(share.sums, finite) || !finite(share.weight)) {
    return fail(Code::kDataLoss, "a share that is no finite number");
  }
  Share& before = taken_[from];
  if (share.number <= before.number) return {};  // doubled or overtaken
  before.sums.resize(sums_.size());
  for (std::size_t i = 0; i < sums_.size(); ++i) sums_[i] += share.sums[i] - before.sums[i];
  weight_ += share.weight - before.weight;
  before = share;
  return {};
}

void PushSum::add(const std::vector<double>& change) {
  SEDGE_ASSERT(change.size() == sums_.size());
  for (std::size_t i = 0; i < sums_.size(); ++i) sums_[i] += change[i];
}

std::vector<double> PushSum::estimate() const {
  if (!(weight_ > 0)) return {};
  std::vector<double> quotients = sums_;
  for (double& each : quotients) each /= weight_;
  return quotients;
}

}  // namespace sedge::consensus
