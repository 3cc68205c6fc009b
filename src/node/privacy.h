// What a node has told of itself under differential privacy, topic by topic, and what it may still tell.
//
// Problem: a series of measurements tells of those it was measured near, whatever each single one hides. Idea: a
// private message is a number that is clamped to bounds, put on a grid of kGridSteps, and given discrete Laplace noise
// (base/discrete_laplace.h) whose scale is the whole range over epsilon: what is heard is nearly as likely (by a factor
// of e^epsilon) whatever the number was. Epsilons of a topic add up; when the budget is spent, no more is told. What is
// spent is on the disk before the message leaves, so that no crash gives anything back.
// The budget is a topic's for the life of a home; who says the same thing on two topics spends on both, and only the
// operator can know that. Bounded: topics_max topics; more are refused.
// Rejected: a budget that fills up again with time (it would be none: the series goes on).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "env/outbox.h"
#include "env/when_durable.h"

namespace sedge::node {

inline constexpr double kEpsilonMin = 0.001;
inline constexpr double kEpsilonMax = 100;
inline constexpr double kBudgetMax = 1e9;
inline constexpr std::int64_t kGridSteps = 4096;  // of the range: far finer than the noise of the largest epsilon

struct PrivateOptions {
  double epsilon = 0;  // in steps of a millionth
  double low = 0;      // bounds of the value, the same for whatever is measured
  double high = 0;
};

// Errors: InvalidArgument.
Status check_private(const PrivateOptions& options);
// Errors: InvalidArgument: no number from 0 to kBudgetMax.
Status check_budget(double budget);
// The number in `text` with noise, as text. Errors: InvalidArgument: it is no finite number. Requires: check_private().
Result<std::string> with_noise(std::string_view text, const PrivateOptions& options,
                               const std::function<std::uint64_t()>& word);

class PrivacyLedger {
 public:
  struct Options {
    double budget = 10;  // epsilon of each topic
    std::size_t topics_max = 1024;
  };
  struct Row {
    std::string topic;
    double spent = 0;
    double left = 0;
  };
  using Then = std::function<void()>;

  explicit PrivacyLedger(Options options) : options_(options) {}
  static constexpr const char* kBucket = "privacy";  // topic -> millionths spent
  Status load(Bytes key, Bytes value);

  // `then` runs once it is on disk that so much is spent. Errors: ResourceExhausted: the budget does not go so far, and
  // nothing was spent.
  Status spend(std::string_view topic, double epsilon, Then then);
  std::vector<Row> rows() const;

  void drain(env::Outbox& out);
  void on_persisting(env::Lsn lsn) { waiting_.on_persisting(lsn); }
  void on_durable(env::Lsn upto) { waiting_.on_durable(upto); }

 private:
  Options options_;
  std::map<std::string, std::uint64_t, std::less<>> spent_;  // in millionths
  std::vector<env::Record> records_;
  env::WhenDurable waiting_;
};

}  // namespace sedge::node
