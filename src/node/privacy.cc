#include "node/privacy.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/discrete_laplace.h"
#include "wire/codec.h"

namespace sedge::node {
namespace {

constexpr double kMillion = 1e6;

struct Spent {
  std::uint64_t millionths = 0;
  template <class V>
  void fields(V& visit) {
    visit("millionths", millionths);
  }
};

std::uint64_t millionths(double epsilon) { return static_cast<std::uint64_t>(std::llround(epsilon * kMillion)); }

}  // namespace

Status check_private(const PrivateOptions& options) {
  if (!(options.epsilon >= kEpsilonMin && options.epsilon <= kEpsilonMax)) {
    return fail(Code::kInvalidArgument, "epsilon is {} to {}, not {}", kEpsilonMin, kEpsilonMax, options.epsilon);
  }
  if (!(options.low < options.high) || !std::isfinite(options.low) || !std::isfinite(options.high) ||
      !std::isfinite(options.high - options.low)) {
    return fail(Code::kInvalidArgument, "the bounds of a private value are two numbers, the lower one first");
  }
  return {};
}

Status check_budget(double budget) {
  if (budget >= 0 && budget <= kBudgetMax) return {};
  return fail(Code::kInvalidArgument, "a privacy budget is 0 to {:g}, not {}", kBudgetMax, budget);
}

Result<std::string> with_noise(std::string_view text, const PrivateOptions& options,
                               const std::function<std::uint64_t()>& word) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    return fail(Code::kInvalidArgument, "a private message is a number: '{}' is none", text.substr(0, 32));
  }
  // From here to the noise: whatever rounding does, it is a whole number from 0 to kGridSteps, and that is all that the
  // noise has to hide.
  const double range = options.high - options.low;
  const double place = (std::clamp(value, options.low, options.high) - options.low) / range;
  const std::int64_t at = std::clamp<std::int64_t>(std::llround(place * kGridSteps), 0, kGridSteps);
  std::uint64_t t = static_cast<std::uint64_t>(kGridSteps) * static_cast<std::uint64_t>(kMillion);
  std::uint64_t s = millionths(options.epsilon);
  const std::uint64_t common = std::gcd(t, s);
  const std::int64_t heard = at + discrete_laplace(t / common, s / common, word);
  return fmt::format("{}", options.low + range * (static_cast<double>(heard) / kGridSteps));
}

Status PrivacyLedger::load(Bytes key, Bytes value) {
  SEDGE_TRY(const Spent spent, wire::decode<Spent>(value));
  spent_[std::string(as_text(key))] = spent.millionths;
  return {};
}

Status PrivacyLedger::spend(std::string_view topic, double epsilon, Then then) {
  const auto known = spent_.find(topic);
  if (known == spent_.end() && spent_.size() >= options_.topics_max) {
    return fail(Code::kResourceExhausted, "this node keeps the privacy budgets of {} topics already, and '{}' is none",
                spent_.size(), topic);
  }
  const std::uint64_t before = known == spent_.end() ? 0 : known->second;
  const std::uint64_t after = before + millionths(epsilon);
  if (after > millionths(options_.budget)) {
    return fail(
        Code::kResourceExhausted,
        "the privacy budget of '{}' on this node does not go so far: {:g} of {:g} are spent, this message takes "
        "{:g}; tell it with a smaller epsilon, or raise the budget (`sedge up --privacy-budget`) and with it "
        "what can be learnt",
        topic, static_cast<double>(before) / kMillion, options_.budget, epsilon);
  }
  spent_[std::string(topic)] = after;
  records_.push_back({kBucket, to_buffer(as_bytes(topic)), wire::encode(Spent{after}), false});
  waiting_.add(std::move(then));
  return {};
}

std::vector<PrivacyLedger::Row> PrivacyLedger::rows() const {
  std::vector<Row> rows;
  for (const auto& [topic, spent] : spent_) {
    const double so_far = static_cast<double>(spent) / kMillion;
    rows.push_back({topic, so_far, std::max(0.0, options_.budget - so_far)});
  }
  return rows;
}

void PrivacyLedger::drain(env::Outbox& out) {
  out.records.insert(out.records.end(), std::make_move_iterator(records_.begin()),
                     std::make_move_iterator(records_.end()));
  records_.clear();
}

}  // namespace sedge::node
