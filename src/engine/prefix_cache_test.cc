// A beginning that was computed once is copied, and nothing that is said changes by it.
#include "engine/prefix_cache.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/generation.h"
#include "engine/random_model.h"

namespace sedge::engine {
namespace {

const RandomModel& random_model() {
  static const RandomModel random({.context = 512});
  return random;
}

std::vector<std::int32_t> some_ids(std::size_t count, std::uint64_t seed) {
  Prng prng(seed);
  std::vector<std::int32_t> ids(count);
  for (auto& id : ids) id = static_cast<std::int32_t>(3 + prng.below(256));
  return ids;
}

struct Said {
  std::vector<std::int32_t> tokens;
  std::size_t cached = 0;
};

Said say(std::span<const std::int32_t> prompt, std::shared_ptr<PrefixCache> cache, const std::string& scope = "m",
         const RandomModel& random = random_model()) {
  Engine engine;
  GenerationOptions options{.sampling = {.temperature = 1, .seed = 3}, .tokens_max = 6};
  options.cache = std::move(cache);
  options.cache_scope = scope;
  Generation text = Generation::start(random.model(), prompt, {}, options).value();
  while (text.finish() == Finish::kNone) EXPECT_TRUE(text.step(engine));
  return {{text.tokens().begin(), text.tokens().end()}, text.cached()};
}

std::size_t block_bytes() {
  const Sequence sequence = Sequence::make(*random_model().model()).value();
  return kPrefixBlock * sequence.bytes_per_position();
}

TEST(PrefixCache, a_shared_beginning_is_copied_and_the_text_is_the_same) {
  auto cache = std::make_shared<PrefixCache>(std::size_t{1} << 20);
  const auto beginning = some_ids(100, 1);
  auto one = beginning, other = beginning;
  one.push_back(40), other.push_back(50);
  EXPECT_EQ(say(one, cache).cached, 0u);
  const Said copied = say(other, cache);
  EXPECT_EQ(copied.cached, 96u) << "three whole blocks";
  EXPECT_EQ(copied.tokens, say(other, nullptr).tokens);
}

TEST(PrefixCache, a_beginning_goes_there_and_back_as_keys_and_values_are_kept) {
  const auto prompt = some_ids(101, 12);
  for (const auto format : {kernels::DType::kF16, kernels::DType::kQ8_0, kernels::DType::kQ4_0}) {
    const RandomModel random({.heads = 2, .kv_heads = 1, .context = 512, .model = {.cache = format}});
    auto cache = std::make_shared<PrefixCache>(std::size_t{1} << 20);
    const Said first = say(prompt, cache, "m", random), again = say(prompt, cache, "m", random);
    EXPECT_EQ(again.cached, 96u) << kernels::format_of(format).name;
    EXPECT_EQ(again.tokens, first.tokens) << kernels::format_of(format).name;
  }
}

TEST(PrefixCache, the_last_token_is_computed_even_if_all_is_known) {
  auto cache = std::make_shared<PrefixCache>(std::size_t{1} << 20);
  const auto prompt = some_ids(64, 2);
  const Said first = say(prompt, cache), again = say(prompt, cache);
  EXPECT_EQ(again.cached, 63u);
  EXPECT_EQ(again.tokens, first.tokens);
}

TEST(PrefixCache, a_text_resumed_past_its_end_asks_for_nothing) {
  auto cache = std::make_shared<PrefixCache>(std::size_t{1} << 20);
  const auto prompt = some_ids(40, 10), made = some_ids(90, 11);
  auto all = prompt;
  all.insert(all.end(), made.begin(), made.end());
  say(all, cache);
  Engine engine;
  GenerationOptions options{.tokens_max = 3};
  options.cache = cache;
  options.cache_scope = "m";
  Generation text = Generation::start(random_model().model(), prompt, made, options).value();
  EXPECT_EQ(text.step(engine)->finish, Finish::kLength);
  EXPECT_EQ(text.cached(), 0u);
}

TEST(PrefixCache, a_conversation_goes_on_from_what_was_answered) {
  auto cache = std::make_shared<PrefixCache>(std::size_t{1} << 20);
  auto turn = some_ids(60, 3);
  const Said answer = say(turn, cache);
  turn.insert(turn.end(), answer.tokens.begin(), answer.tokens.end());
  turn.push_back(77);
  EXPECT_EQ(say(turn, cache).cached, 64u) << "the last of these blocks ends in the answer";
}

TEST(PrefixCache, other_models_and_other_tokens_share_nothing) {
  auto cache = std::make_shared<PrefixCache>(std::size_t{1} << 20);
  auto prompt = some_ids(70, 4);
  say(prompt, cache);
  EXPECT_EQ(say(prompt, cache, "another").cached, 0u);
  prompt[0] ^= 1;
  EXPECT_EQ(say(prompt, cache).cached, 0u) << "what stands first decides about all behind it";
}

TEST(PrefixCache, the_bound_holds_and_what_was_used_last_stays) {
  auto cache = std::make_shared<PrefixCache>(4 * block_bytes());
  const auto a = some_ids(65, 5), b = some_ids(65, 6), c = some_ids(65, 7);
  say(a, cache), say(b, cache);
  EXPECT_EQ(say(a, cache).cached, 64u);
  say(c, cache);  // b was used least recently
  EXPECT_EQ(cache->bytes(), 4 * block_bytes());
  EXPECT_EQ(say(a, cache).cached, 64u);
  EXPECT_EQ(say(b, cache).cached, 0u);
  EXPECT_FALSE(cache->give_way(4 * block_bytes() + 1));
  EXPECT_EQ(cache->bytes(), 4 * block_bytes()) << "it could not have been enough";
  EXPECT_TRUE(cache->give_way(2 * block_bytes() + 1));
  EXPECT_EQ(cache->bytes(), block_bytes());
}

TEST(PrefixCache, any_prompts_in_any_order_say_what_they_say_without_it) {
  EXPECT_TRUE(rc::check([] {
    const auto blocks = *rc::gen::inRange<std::size_t>(0, 12);
    auto cache = std::make_shared<PrefixCache>(blocks * block_bytes());
    std::vector<std::vector<std::int32_t>> known = {some_ids(90, 8)};
    for (int i = 0; i < 6; ++i) {  // each takes some of another's beginning
      auto prompt = known[*rc::gen::inRange<std::size_t>(0, known.size())];
      prompt.resize(*rc::gen::inRange<std::size_t>(0, prompt.size() + 1));
      const auto more = some_ids(*rc::gen::inRange<std::size_t>(1, 60), *rc::gen::arbitrary<std::uint64_t>());
      prompt.insert(prompt.end(), more.begin(), more.end());
      RC_ASSERT(say(prompt, cache).tokens == say(prompt, nullptr).tokens);
      RC_ASSERT(cache->bytes() <= blocks * block_bytes());
      known.push_back(std::move(prompt));
    }
  }));
}

// A store that keeps all, or gives up what it has.
class Shelf final : public BlockStore {
 public:
  BlockValues load(const std::string& scope, std::span<const std::int32_t> tokens, std::size_t count) override {
    ++loads;
    const auto found = blocks_.find({scope, {tokens.begin(), tokens.end()}});
    if (found == blocks_.end() || found->second->size() != count) return nullptr;
    return found->second;
  }
  void save(const std::string& scope, std::span<const std::int32_t> tokens, BlockValues values) override {
    blocks_[{scope, {tokens.begin(), tokens.end()}}] = std::move(values);
  }
  int loads = 0;

 private:
  std::map<std::pair<std::string, std::vector<std::int32_t>>, BlockValues> blocks_;
};

TEST(PrefixCache, what_memory_has_not_the_store_may_have) {
  Shelf shelf;
  const auto prompt = some_ids(100, 9);
  const Said first = say(prompt, std::make_shared<PrefixCache>(std::size_t{1} << 20, &shelf));
  auto after_restart = std::make_shared<PrefixCache>(std::size_t{1} << 20, &shelf);
  const Said again = say(prompt, after_restart);
  EXPECT_EQ(again.cached, 96u);
  EXPECT_EQ(again.tokens, first.tokens);
  const int loads = shelf.loads;
  EXPECT_EQ(say(prompt, after_restart).cached, 96u);
  EXPECT_EQ(shelf.loads, loads) << "in memory again";
  EXPECT_EQ(say(prompt, std::make_shared<PrefixCache>(0, &shelf)).tokens, first.tokens) << "with no memory at all";
}

TEST(PrefixCache, what_memory_has_no_room_for_the_store_gets) {
  const auto prompt = some_ids(100, 12);
  for (const std::size_t blocks : {0u, 1u, 2u}) {
    Shelf shelf;
    auto cache = std::make_shared<PrefixCache>(blocks * block_bytes(), &shelf);
    const Said first = say(prompt, cache), again = say(prompt, cache);
    EXPECT_EQ(again.cached, 96u) << blocks;
    EXPECT_EQ(again.tokens, first.tokens);
  }
}

TEST(PrefixCache, an_answer_that_a_prompt_goes_on_from_lasts_as_the_prompt_does) {
  Shelf shelf;
  auto cache = std::make_shared<PrefixCache>(std::size_t{1} << 20, &shelf);
  auto turn = some_ids(60, 3);
  const Said answer = say(turn, cache);
  turn.insert(turn.end(), answer.tokens.begin(), answer.tokens.end());
  turn.push_back(77);
  EXPECT_EQ(say(turn, std::make_shared<PrefixCache>(0, &shelf)).cached, 32u) << "an answer alone is not written";
  Shelf other;
  cache = std::make_shared<PrefixCache>(std::size_t{1} << 20, &other);
  say(std::span(turn).first(60), cache);
  EXPECT_EQ(say(turn, cache).cached, 64u);
  EXPECT_EQ(say(turn, std::make_shared<PrefixCache>(0, &other)).cached, 64u);
}

}  // namespace
}  // namespace sedge::engine
