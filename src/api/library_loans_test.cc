// Loans between two Fleets over real QUIC and real sockets.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "api/testing_fleets.h"
#include "sedge/sedge.h"
#include "wire/loan_messages.h"

namespace sedge::robot {
namespace {

using api::testing::eventually;

std::byte byte_at(std::size_t place, unsigned frame) { return static_cast<std::byte>(place * place % 251 + frame); }

Result<Loan> frame_of(Fleet& fleet, std::size_t bytes, unsigned number) {
  auto loan = fleet.loan(bytes);
  if (!loan) return loan;
  for (std::size_t i = 0; i < bytes; ++i) loan->bytes()[i] = byte_at(i, number);
  return loan;
}

bool is_frame(const LoanView& view, std::size_t bytes, unsigned number) {
  if (view.bytes().size() != bytes) return false;
  for (std::size_t i = 0; i < bytes; ++i) {
    if (view.bytes()[i] != byte_at(i, number)) return false;
  }
  return true;
}

// What a subscription was given, for a test's thread to look at.
struct Heard {
  auto callback() {
    return [this](const LoanMessage& message) {
      const std::lock_guard lock(mutex);
      views.push_back(message.payload);
      topics.emplace_back(message.topic);
      origins.emplace_back(message.origin);
    };
  }
  auto on_missed() {
    return [this](const MissedLoan& missed) {
      const std::lock_guard lock(mutex);
      errors.push_back(missed.error.code);
    };
  }
  bool has(std::size_t heard, std::size_t missed = 0) {
    const std::lock_guard lock(mutex);
    return views.size() >= heard && errors.size() >= missed;
  }

  std::mutex mutex;
  std::vector<LoanView> views;
  std::vector<std::string> topics;
  std::vector<std::string> origins;
  std::vector<Code> errors;
};

class LibraryLoans : public testing::Test {
 protected:
  void SetUp() override {
    const Status started = fleets_.start();
    ASSERT_TRUE(started) << started.error().message;
  }
  Fleet& rover() { return *fleets_.rover; }
  Fleet& base() { return *fleets_.base; }

  Heard heard_;  // outlives who tells it
  api::testing::TwoFleets fleets_;
};

TEST_F(LibraryLoans, a_subscriber_has_the_publishers_bytes_and_keeps_them_when_the_publisher_is_gone) {
  constexpr std::size_t kBytes = 3'000'001;
  ASSERT_TRUE(base().subscribe_loans("robot/+/camera", heard_.callback()));
  auto loan = frame_of(rover(), kBytes, 1);
  ASSERT_TRUE(loan) << loan.error().message;
  const std::string id = rover().id();
  const Status published = rover().publish("robot/7/camera", *std::move(loan));
  ASSERT_TRUE(published) << published.error().message;
  ASSERT_TRUE(eventually([&] { return heard_.has(1); }));
  fleets_.rover.reset();
  EXPECT_TRUE(is_frame(heard_.views[0], kBytes, 1));
  EXPECT_EQ(heard_.topics[0], "robot/7/camera");
  EXPECT_EQ(heard_.origins[0], id);
  EXPECT_EQ(base().loan_stats()->heard, 1u);
}

TEST_F(LibraryLoans, a_publisher_hears_its_own_and_many_come_in_their_order) {
  ASSERT_TRUE(rover().subscribe_loans("camera", heard_.callback()));
  const unsigned kept = static_cast<unsigned>(Options().loans_kept);
  for (unsigned i = 0; i < kept; ++i) ASSERT_TRUE(rover().publish("camera", *frame_of(rover(), 100'000, i)));
  ASSERT_TRUE(eventually([&] { return heard_.has(kept); }));
  for (unsigned i = 0; i < kept; ++i) EXPECT_TRUE(is_frame(heard_.views[i], 100'000, i)) << i;
}

TEST_F(LibraryLoans, who_holds_more_views_than_the_publisher_keeps_has_them_all) {
  const unsigned kept = static_cast<unsigned>(Options().loans_kept);
  ASSERT_TRUE(base().subscribe_loans("camera", heard_.callback()));
  for (unsigned i = 0; i < 2 * kept; ++i) {
    ASSERT_TRUE(rover().publish("camera", *frame_of(rover(), 10'000, i)));
    ASSERT_TRUE(eventually([&] { return heard_.has(i + 1); }));
  }
  for (unsigned i = 0; i < 2 * kept; ++i) EXPECT_TRUE(is_frame(heard_.views[i], 10'000, i)) << i;
}

TEST_F(LibraryLoans, a_loan_of_another_host_or_gone_is_told_and_counted) {
  ASSERT_TRUE(base().subscribe_loans("camera", heard_.callback(), {.on_missed = heard_.on_missed()}));
  const auto as_text_of = [](const wire::LoanNotice& notice) {
    return std::string(as_text(wire::encode_notice(notice)));
  };
  ASSERT_TRUE(rover().publish("camera", as_text_of({.host = {{1, 2, 3}}, .bytes = 10})));
  ASSERT_TRUE(rover().publish("camera", std::string(wire::kLoanMagic) + "torn"));
  ASSERT_TRUE(rover().publish("camera", "an ordinary message"));
  ASSERT_TRUE(rover().publish("camera", *frame_of(rover(), 10, 1)));
  ASSERT_TRUE(eventually([&] { return heard_.has(1, 2); }));
  EXPECT_EQ(heard_.errors, (std::vector{Code::kFailedPrecondition, Code::kDataLoss}));
  const auto stats = base().loan_stats();
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->heard, 1u);
  EXPECT_EQ(stats->elsewhere, 1u);
  EXPECT_EQ(stats->refused, 1u);
  EXPECT_EQ(stats->missed, 0u);
}

TEST_F(LibraryLoans, a_loan_can_be_published_from_a_callback_and_no_callback_runs_after_unsubscribe) {
  std::atomic<int> after = 0;
  std::atomic<bool> over = false;
  const auto id = base().subscribe_loans("camera", [&](const LoanMessage&) { after += over ? 1 : 0; });
  ASSERT_TRUE(id);
  ASSERT_TRUE(base().subscribe_loans("camera/again", heard_.callback()));
  ASSERT_TRUE(base().subscribe_loans("camera", [&](const LoanMessage& frame) {
    auto copy = base().loan(frame.payload.bytes().size());
    if (!copy) return;
    std::ranges::copy(frame.payload.bytes(), copy->bytes().begin());
    (void)base().publish("camera/again", *std::move(copy));
  }));
  ASSERT_TRUE(rover().publish("camera", *frame_of(rover(), 5000, 1)));
  base().unsubscribe(*id);
  over = true;
  for (unsigned i = 2; i < 5; ++i) ASSERT_TRUE(rover().publish("camera", *frame_of(rover(), 5000, i)));
  ASSERT_TRUE(eventually([&] { return heard_.has(4); }));
  EXPECT_EQ(after, 0);
  EXPECT_TRUE(is_frame(heard_.views[3], 5000, 4));
}

TEST_F(LibraryLoans, a_subscription_that_is_over_keeps_nothing_that_could_be_called) {
  auto token = std::make_shared<int>();
  const std::weak_ptr<int> remembered = token;
  const auto id = base().subscribe_loans("camera", [token](const LoanMessage&) {});
  ASSERT_TRUE(id);
  token.reset();
  ASSERT_FALSE(remembered.expired());
  base().unsubscribe(*id);
  EXPECT_TRUE(remembered.expired()) << "what is fetched for it finds nobody to tell";
}

TEST_F(LibraryLoans, a_loan_that_was_refused_is_still_there_and_one_that_was_taken_is_not) {
  ASSERT_TRUE(base().subscribe_loans("camera", heard_.callback()));
  EXPECT_EQ(rover().loan(0).error().code, Code::kInvalidArgument);
  EXPECT_EQ(rover().loan(Options().loan_bytes_kept + 1).error().code, Code::kInvalidArgument);
  auto loan = frame_of(rover(), 100, 1);
  ASSERT_TRUE(loan);
  EXPECT_EQ(rover().publish("camera", *std::move(loan), {.retain = true}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(loan->bytes().size(), 100u);
  EXPECT_EQ(rover().publish("camera/#", *std::move(loan)).error().code, Code::kInvalidArgument);
  loan->bytes()[0] = byte_at(0, 1);
  EXPECT_TRUE(rover().publish("camera", *std::move(loan)));
  EXPECT_TRUE(loan->bytes().empty());
  EXPECT_EQ(rover().publish("camera", *std::move(loan)).error().code, Code::kInvalidArgument);
  ASSERT_TRUE(eventually([&] { return heard_.has(1); }));
  EXPECT_TRUE(is_frame(heard_.views[0], 100, 1));
  auto late = frame_of(rover(), 100, 2);
  ASSERT_TRUE(rover().close());
  EXPECT_EQ(rover().publish("camera", *std::move(late)).error().code, Code::kUnavailable);
}

TEST_F(LibraryLoans, bytes_are_values_of_a_trivial_type_where_they_divide) {
  struct Point {
    float x, y, z;
  };
  ASSERT_TRUE(base().subscribe_loans("points", heard_.callback()));
  auto loan = rover().loan(10 * sizeof(Point));
  ASSERT_TRUE(loan);
  ASSERT_EQ(loan->as<Point>().size(), 10u);
  loan->as<Point>()[9] = {1, 2, 3};
  ASSERT_TRUE(rover().publish("points", *std::move(loan)));
  ASSERT_TRUE(eventually([&] { return heard_.has(1); }));
  const auto points = heard_.views[0].as<Point>();
  ASSERT_TRUE(points);
  EXPECT_EQ((*points)[9].z, 3);
  EXPECT_FALSE(heard_.views[0].as<std::byte[7]>());
}

}  // namespace
}  // namespace sedge::robot
