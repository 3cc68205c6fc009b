#include "consensus/push_sum.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace sedge::consensus {

void PushSum::move(const Share& share, double sign) {
  for (std::size_t i = 0; i < sums_.size(); ++i) sums_[i] += sign * share.sums[i];
  weight_ += sign * share.weight;
}

PushSum::Share& PushSum::given_to(NodeId peer) {
  Share& total = given_[peer];
  if (total.sums.empty()) {
    total.sums.resize(sums_.size());
    total.session = session_;
  }
  return total;
}

PushSum::Share PushSum::give(NodeId to) {
  Share& total = given_to(to);
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
  Share before;
  if (const auto known = taken_.find(from); known != taken_.end()) {
    before = known->second;
    if (share.session < before.session) return {};  // of a time that it has taken back
    if (share.session == before.session && share.number <= before.number) return {};  // doubled or overtaken
  }
  before.sums.resize(sums_.size());
  std::vector<double> sums = sums_;
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += share.sums[i] - before.sums[i];
  const double weight = weight_ + (share.weight - before.weight);
  // Each is a number, and their sum is none: who passes it on is not to blame.
  if (!std::ranges::all_of(sums, finite) || !finite(weight)) return {};
  sums_ = std::move(sums);
  weight_ = weight;
  taken_[from] = share;
  return {};
}

void PushSum::forget(NodeId peer) {
  if (const auto given = given_.extract(peer)) {
    move(given.mapped(), 1);
    ++session_;  // whatever comes of the former one later counts no more
  }
  if (const auto taken = taken_.extract(peer)) move(taken.mapped(), -1);
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
