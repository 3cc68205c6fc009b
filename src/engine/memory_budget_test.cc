// Texts and what is remembered share one sum: who is too much is refused, and nothing else is lost.
#include "engine/memory_budget.h"

#include <thread>

#include <gtest/gtest.h>

#include "engine/generation.h"
#include "engine/random_model.h"

namespace sedge::engine {
namespace {

const RandomModel& random_model() {
  static const RandomModel random({.context = 512});
  return random;
}

std::size_t bytes_of(std::size_t positions) { return Sequence::bytes_of(*random_model().model(), positions); }

// A node's memory, with what it remembers.
struct Node {
  explicit Node(std::size_t bytes_max) : memory(std::make_shared<MemoryBudget>(bytes_max)) {}

  Result<Generation> start(std::size_t prompt, std::size_t tokens_max, std::span<const std::int32_t> resume = {},
                           std::int32_t token = 70) {
    GenerationOptions options{.sampling = {.temperature = 1}, .tokens_max = tokens_max};
    options.cache = cache, options.memory = memory;
    return Generation::start(random_model().model(), std::vector<std::int32_t>(prompt, token), resume, options);
  }
  // Remembers a prompt of so many blocks.
  void remember(std::size_t blocks, std::int32_t token = 70) {
    Engine engine;
    Generation text = start(blocks * kPrefixBlock, 1, {}, token).value();
    while (text.finish() == Finish::kNone) ASSERT_TRUE(text.step(engine));
  }

  std::shared_ptr<MemoryBudget> memory;
  std::shared_ptr<PrefixCache> cache = std::make_shared<PrefixCache>(std::size_t{1} << 30, nullptr, memory);
};

TEST(MemoryBudget, is_never_exceeded_whoever_takes_and_gives_back_at_once) {
  MemoryBudget budget(1000);
  std::vector<std::thread> threads;
  std::atomic<std::size_t> held{0};
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 2000; ++round) {
        if (budget.take(400) != 0) continue;
        EXPECT_LE(held += 400, 1000u);
        held -= 400;
        budget.give_back(400);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.taken(), 0u);
  EXPECT_EQ(budget.take(700), 0u);
  EXPECT_EQ(budget.take(400), 100u) << "what is missing, and nothing is taken";
  EXPECT_EQ(budget.taken(), 700u);
  EXPECT_EQ(budget.take_first(400), 100u);
  EXPECT_EQ(budget.taken(), 1100u);
}

TEST(MemoryBudget, a_text_that_is_too_much_is_refused_until_another_has_ended) {
  Node node(bytes_of(64) * 2);
  std::optional<Generation> first = node.start(10, 54).value();
  const Generation second = node.start(33, 20).value();
  EXPECT_EQ(node.memory->taken(), bytes_of(64) * 2) << "what they can grow to, not what they have";
  const auto third = node.start(10, 6);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, Code::kResourceExhausted);
  EXPECT_EQ(third.error().message,
            "this text may grow to 1 MiB, 1 more than other texts leave: ask for fewer tokens, or again later");
  first.reset();
  EXPECT_TRUE(node.start(10, 6));
  EXPECT_EQ(node.memory->taken(), bytes_of(64));
}

TEST(MemoryBudget, what_is_remembered_gives_way_as_far_as_is_missing) {
  Node node(bytes_of(10 * kPrefixBlock));
  node.remember(3), node.remember(3, 71);
  const std::size_t block = bytes_of(kPrefixBlock);
  EXPECT_EQ(node.cache->bytes(), 6 * block);
  EXPECT_EQ(node.memory->taken(), 6 * block);
  const auto text = node.start(1, 5 * kPrefixBlock + 8);
  ASSERT_TRUE(text);
  EXPECT_EQ(node.cache->bytes(), 4 * block) << "a block and a half were missing";
  EXPECT_FALSE(node.start(1, 6 * kPrefixBlock));
  EXPECT_EQ(node.cache->bytes(), 4 * block) << "all of it would not have been enough";
}

TEST(MemoryBudget, what_texts_leave_bounds_what_is_remembered) {
  Node node(bytes_of(4 * kPrefixBlock));
  node.remember(3);  // the text has three blocks and a little, so that one at most has room beside it
  EXPECT_LE(node.cache->bytes(), bytes_of(kPrefixBlock));
  EXPECT_EQ(node.memory->taken(), node.cache->bytes());
  node.cache.reset();
  EXPECT_EQ(node.memory->taken(), 0u);
}

TEST(MemoryBudget, a_text_longer_than_an_empty_node_can_hold_ends_by_its_length) {
  Node node(bytes_of(48) + 5);
  Engine engine;
  Generation text = node.start(40, 300).value();
  while (text.finish() == Finish::kNone) ASSERT_TRUE(text.step(engine));
  EXPECT_EQ(text.finish(), Finish::kLength);
  EXPECT_EQ(text.tokens().size(), 9u) << "eight fill the memory, the ninth has no position of its own";
  Generation unbounded = Node(std::size_t{1} << 30).start(40, 300).value();
  while (unbounded.tokens().size() < 9) ASSERT_TRUE(unbounded.step(engine));
  EXPECT_TRUE(std::ranges::equal(unbounded.tokens().first(9), text.tokens()));
}

TEST(MemoryBudget, a_prompt_that_no_memory_here_can_hold_is_refused_and_nothing_is_forgotten_for_it) {
  Node node(bytes_of(96));
  node.remember(1);
  const std::size_t remembered = node.cache->bytes();
  ASSERT_EQ(remembered, bytes_of(kPrefixBlock));
  const auto refused = node.start(97, 10);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
  EXPECT_EQ(refused.error().message,
            "97 tokens take 1 MiB, all texts here have 0: shorten the prompt, or ask a node with more memory");
  const std::vector<std::int32_t> elsewhere(20, 71);
  EXPECT_EQ(node.start(80, 100, elsewhere).error().code, Code::kResourceExhausted) << "nor what was made elsewhere";
  EXPECT_EQ(node.cache->bytes(), remembered);
}

}  // namespace
}  // namespace sedge::engine
