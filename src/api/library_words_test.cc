// What two programs say to each other through the library beside plain messages: averages, causal and private ones.
#include <future>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "api/testing_fleets.h"

namespace sedge::robot {
namespace {

struct LibraryOfTwo : testing::Test {
  void SetUp() override {
    const Status started = two.start();
    ASSERT_TRUE(started) << started.error().message;
  }
  api::testing::TwoFleets two;
};

TEST_F(LibraryOfTwo, both_get_the_mean_of_what_each_says) {
  auto other =
      std::async(std::launch::async, [&] { return two.base->average("soil", 1.0, std::chrono::milliseconds(3000)); });
  const auto ours = two.rover->average("soil", 0.5, std::chrono::milliseconds(3000));
  const auto theirs = other.get();
  ASSERT_TRUE(ours) << ours.error().message;
  ASSERT_TRUE(theirs) << theirs.error().message;
  EXPECT_NEAR(ours->mean, 0.75, 1e-4);
  EXPECT_NEAR(theirs->sum, 1.5, 1e-4);
  EXPECT_EQ(ours->count, 2u);
  EXPECT_EQ(theirs->count, 2u);
  EXPECT_EQ(two.rover->average("soil/#", 1).error().code, Code::kInvalidArgument);
  EXPECT_EQ(two.rover->average("soil", 1, std::chrono::milliseconds(1)).error().code, Code::kInvalidArgument);
}

TEST_F(LibraryOfTwo, causal_messages_are_heard_and_those_that_cannot_be_are_refused) {
  std::mutex mutex;
  std::vector<std::string> heard;
  ASSERT_TRUE(two.base->subscribe("#", [&](const Message& message) {
    const std::lock_guard lock(mutex);
    heard.emplace_back(message.payload);
  }));
  for (const char* text : {"1", "2", "3"}) ASSERT_TRUE(two.rover->publish("orders", text, {.causal = true}));
  EXPECT_TRUE(api::testing::eventually([&] {
    const std::lock_guard lock(mutex);
    return heard == std::vector<std::string>{"1", "2", "3"};
  }));
  EXPECT_EQ(two.rover->publish("orders", "4", {.reliable = false, .causal = true}).error().code,
            Code::kInvalidArgument);
  EXPECT_EQ(two.rover->publish("orders", "4", {.retain = true, .causal = true}).error().code, Code::kInvalidArgument);
}

TEST_F(LibraryOfTwo, a_message_may_wait_for_all_and_then_it_is_reliable_and_not_retained) {
  std::atomic<int> heard = 0;
  ASSERT_TRUE(two.base->subscribe("log", [&](const Message&) { ++heard; }));
  ASSERT_TRUE(two.rover->publish("log", "1", {.wait_for_all = true}));
  EXPECT_TRUE(api::testing::eventually([&] { return heard == 1; }));
  EXPECT_EQ(two.rover->publish("log", "2", {.reliable = false, .wait_for_all = true}).error().code,
            Code::kInvalidArgument);
  EXPECT_EQ(two.rover->publish("log", "2", {.wait_for_all = true, .retain = true}).error().code,
            Code::kInvalidArgument);
}

TEST_F(LibraryOfTwo, a_private_number_is_told_until_the_budget_of_its_topic_is_spent) {
  const Publish privately{.privacy = Private{.epsilon = 4, .low = 0, .high = 100}};
  EXPECT_TRUE(two.rover->publish("soil", "30", privately));
  EXPECT_TRUE(two.rover->publish("soil", "30", privately));
  const Status spent = two.rover->publish("soil", "30", privately);
  ASSERT_FALSE(spent);
  EXPECT_EQ(spent.error().code, Code::kResourceExhausted);
  EXPECT_EQ(two.rover->publish("soil", "dry", privately).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(two.rover->publish("air", "30", privately)) << "another topic, another budget";
}

}  // namespace
}  // namespace sedge::robot
