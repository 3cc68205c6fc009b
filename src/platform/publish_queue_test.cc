#include "platform/publish_queue.h"

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace sedge::platform {
namespace {

using env::Priority;

std::vector<std::string> drain_all(PublishQueue& queue) {
  std::vector<std::string> got;
  queue.drain([&](const QueuedMessage& m) {
    got.push_back(std::string(m.topic) + "=" + std::string(as_text(m.payload)));
    return true;
  });
  return got;
}

TEST(PublishQueue, hands_over_in_order_and_the_urgent_first) {
  PublishQueue queue;
  EXPECT_TRUE(queue.push({"a", as_bytes("1")}).value());   // the loop must be told
  EXPECT_FALSE(queue.push({"a", as_bytes("2")}).value());  // it was
  EXPECT_FALSE(queue.push({"b", as_bytes(""), false, Priority::kUrgent}).value());
  ASSERT_TRUE(queue.push({"c", as_bytes("3"), true, Priority::kIdle, Instant{} + 7s}));
  EXPECT_EQ(drain_all(queue), (std::vector<std::string>{"b=", "a=1", "a=2", "c=3"}));
  EXPECT_EQ(queue.bytes(), 0u);
  EXPECT_TRUE(queue.push({"a", as_bytes("3")}).value());
}

TEST(PublishQueue, what_waits_for_slow_links_has_a_lane_of_its_own) {
  PublishQueue queue;
  ASSERT_TRUE(queue.push({"log", as_bytes("1"), true, Priority::kNormal, kNever, true}));
  ASSERT_TRUE(queue.push({"log", as_bytes("2"), true, Priority::kNormal}));
  std::vector<std::string> got;
  queue.drain([&](const QueuedMessage& m) {
    if (m.for_all) return false;
    got.emplace_back(as_text(m.payload));
    return true;
  });
  EXPECT_EQ(got, std::vector<std::string>{"2"});
  queue.drain([&](const QueuedMessage& m) {
    got.emplace_back(as_text(m.payload));
    return m.for_all && m.reliable;
  });
  EXPECT_EQ(got, (std::vector<std::string>{"2", "1"}));
}

TEST(PublishQueue, what_is_not_taken_stays_first_and_holds_up_its_own_lane_only) {
  PublishQueue queue;
  for (const char* text : {"1", "2", "3"}) ASSERT_TRUE(queue.push({"bulk", as_bytes(text), true, Priority::kBulk}));
  ASSERT_TRUE(queue.push({"pose", as_bytes("x"), false, Priority::kBulk}));
  std::vector<std::string> got;
  queue.drain([&](const QueuedMessage& m) {
    if (m.reliable && !got.empty() && got.back() == "1") return false;
    got.emplace_back(as_text(m.payload));
    return true;
  });
  EXPECT_EQ(got, (std::vector<std::string>{"1", "x"}));
  ASSERT_TRUE(queue.push({"bulk", as_bytes("4"), true, Priority::kBulk}));
  EXPECT_EQ(drain_all(queue), (std::vector<std::string>{"bulk=2", "bulk=3"}));
  EXPECT_EQ(drain_all(queue), (std::vector<std::string>{"bulk=4"}));
}

TEST(PublishQueue, a_full_lane_refuses_and_leaves_the_others_open) {
  PublishQueue queue;
  const std::string large(60'000, 'x');
  std::size_t taken = 0;
  while (queue.push({"t", as_bytes(large)})) ++taken;
  EXPECT_EQ(taken, PublishQueue::kLaneBytesMax / 60'017);
  EXPECT_EQ(queue.push({"t", as_bytes(large)}).error().code, Code::kResourceExhausted);
  EXPECT_TRUE(queue.push({"t", as_bytes(large), true, Priority::kUrgent}));
  queue.drain([](const QueuedMessage&) { return false; });  // a link is full: nothing leaves, nothing more fits
  EXPECT_EQ(queue.push({"t", as_bytes(large)}).error().code, Code::kResourceExhausted);
  EXPECT_EQ(drain_all(queue).size(), taken + 1);
  EXPECT_TRUE(queue.push({"t", as_bytes(large)}));
}

TEST(PublishQueue, many_threads_lose_nothing_and_keep_their_order) {
  PublishQueue queue;
  constexpr int kThreads = 4, kEach = 5000;
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        while (!queue.push({std::to_string(t), as_bytes(std::to_string(i))})) std::this_thread::yield();
      }
      --running;
    });
  }
  std::map<std::string, int> next;
  const auto take = [&](const QueuedMessage& m) {
    EXPECT_EQ(std::string(as_text(m.payload)), std::to_string(next[std::string(m.topic)]++));
    return true;
  };
  while (running > 0) queue.drain(take);
  queue.drain(take);
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < kThreads; ++t) EXPECT_EQ(next[std::to_string(t)], kEach);
}

}  // namespace
}  // namespace sedge::platform
