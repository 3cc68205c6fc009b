// A text is the same whoever guessed for it, and a draft model that thinks as the model does saves passes.
#include "engine/drafting.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/batch.h"
#include "engine/random_model.h"

namespace sedge::engine {
namespace {

struct Text {
  std::vector<std::int32_t> prompt;
  GenerationOptions options;
};

Text some_text(std::uint64_t seed, std::shared_ptr<const Model> draft) {
  Prng prng(seed);
  Text text;
  text.prompt.resize(1 + prng.below(60));
  for (auto& id : text.prompt) id = static_cast<std::int32_t>(3 + prng.below(256));
  text.options = {.sampling = {.temperature = prng.below(2) == 0 ? 0.0f : 0.9f,
                               .top_k = 40,
                               .repeat_penalty = prng.below(2) == 0 ? 1.0f : 1.2f,
                               .seed = seed},
                  .tokens_max = 1 + prng.below(40),
                  .draft_max = 1 + prng.below(7),
                  .draft_model = std::move(draft)};
  return text;
}

std::vector<std::int32_t> alone(const RandomModel& random, Text text) {
  text.options.draft_max = 0;
  Engine engine;
  Generation generation = Generation::start(random.model(), text.prompt, {}, text.options).value();
  while (generation.finish() == Finish::kNone) EXPECT_TRUE(generation.step(engine));
  return {generation.tokens().begin(), generation.tokens().end()};
}

struct Counts {
  std::size_t steps = 0, drafted = 0, accepted = 0, passes = 0;
};

// Steps all texts to their ends, each with as many guesses of the draft model as it may have.
Counts run(std::vector<Generation>& texts, std::size_t read_max, const Control* first = nullptr) {
  Engine engine;
  Drafting drafting;
  Batch batch;
  Counts counts;
  for (std::size_t bound = 0; bound < 2000; ++bound) {
    std::vector<Member> members;
    std::vector<DraftWish> wishes;
    for (Generation& text : texts) {
      if (text.ended()) continue;
      members.push_back({.generation = &text});
      if (const Guessing may = text.drafted(); may.most > 0 && text.begin_draft() != nullptr)
        wishes.push_back({&text, may.most});
    }
    if (members.empty()) return counts;
    if (!wishes.empty()) {
      drafting.begin(wishes, read_max);
      if (first != nullptr) {
        EXPECT_EQ(drafting.pass(engine, first).error().code, Code::kCancelled);
        for (const DraftWish& wish : wishes) EXPECT_NE(wish.generation->begin_draft(), nullptr);
        drafting.begin(wishes, read_max);
      }
      while (drafting.pass(engine).value() > 0) ++counts.passes;
      for (Member& member : members) {
        if (member.generation->draft() != nullptr) member.drafts = member.generation->draft()->guesses().size();
      }
    }
    EXPECT_TRUE(batch.step(engine, members, 16));
    ++counts.steps;
    for (const Member& member : members) {
      EXPECT_TRUE(member.did);
      counts.drafted += member.did->drafted, counts.accepted += member.did->accepted;
    }
  }
  ADD_FAILURE() << "the texts do not end";
  return counts;
}

TEST(Drafting, a_text_is_the_same_whoever_guesses_beside_whomever_and_however_it_is_read) {
  const RandomModel random({.context = 128});
  const RandomModel same({.context = 128}), rounded({.type = kernels::DType::kQ8_0, .context = 128}),
      other({.layers = 1, .context = 40, .seed = 7});
  const std::array drafts = {same.model(), rounded.model(), other.model()};
  EXPECT_TRUE(rc::check([&] {
    const std::shared_ptr<const Model> draft = drafts[*rc::gen::inRange<std::size_t>(0, drafts.size())];
    const std::size_t count = *rc::gen::inRange<std::size_t>(1, 4), read_max = *rc::gen::inRange<std::size_t>(1, 40);
    std::vector<std::vector<std::int32_t>> expected;
    std::vector<Generation> texts;
    for (std::size_t i = 0; i < count; ++i) {
      const Text text = some_text(*rc::gen::arbitrary<std::uint32_t>(), draft);
      expected.push_back(alone(random, text));
      texts.push_back(Generation::start(random.model(), text.prompt, {}, text.options).value());
    }
    const Control raised{true};
    run(texts, read_max, *rc::gen::arbitrary<bool>() ? &raised : nullptr);
    for (std::size_t i = 0; i < count; ++i) {
      RC_ASSERT(std::vector(texts[i].tokens().begin(), texts[i].tokens().end()) == expected[i]);
    }
  }));
}

// Drawn or not: the guess is drawn as the token is.
TEST(Drafting, every_guess_of_a_model_that_thinks_the_same_is_right) {
  const RandomModel random({.context = 256}), same({.context = 256});
  for (const float temperature : {0.0f, 1.0f}) {
    std::vector<Generation> texts;
    texts.push_back(Generation::start(random.model(), std::vector<std::int32_t>{5, 6, 7}, {},
                                      {.sampling = {.temperature = temperature, .top_p = 0.9f, .seed = 3},
                                       .tokens_max = 81,
                                       .tokens_min = 81,
                                       .draft_max = 4,
                                       .draft_model = same.model()})
                        .value());
    const Counts counts = run(texts, 64);
    EXPECT_EQ(counts.accepted, counts.drafted);
    EXPECT_EQ(texts[0].finish(), Finish::kLength);
    EXPECT_EQ(counts.steps, 1 + 80 / 5u) << "the prompt's, and five tokens each";
  }
}

TEST(Drafting, a_prompt_is_read_in_pieces_before_the_first_guess) {
  const RandomModel random({.context = 256}), same({.context = 256});
  std::vector<std::int32_t> prompt(100, 9);
  Generation text =
      Generation::start(random.model(), prompt, {}, {.tokens_max = 50, .draft_max = 3, .draft_model = same.model()})
          .value();
  Engine engine;
  while (text.prefill_left() > 0) ASSERT_TRUE(text.step(engine));
  EXPECT_EQ(text.drafted().unread, 101u);
  ASSERT_NE(text.begin_draft(), nullptr);
  Drafting drafting;
  const DraftWish wish{&text, 3};
  for (const std::size_t unread : {61u, 21u}) {
    drafting.begin({&wish, 1}, 40);
    EXPECT_EQ(drafting.pass(engine).value(), 40u);
    EXPECT_EQ(drafting.pass(engine).value(), 0u) << "no more in this step";
    EXPECT_EQ(text.drafted().unread, unread);
    EXPECT_TRUE(text.draft()->guesses().empty());
  }
  drafting.begin({&wish, 1}, 40);
  EXPECT_EQ(drafting.pass(engine).value(), 21u);
  EXPECT_EQ(drafting.pass(engine).value(), 1u);
  EXPECT_EQ(drafting.pass(engine).value(), 1u);
  EXPECT_EQ(drafting.pass(engine).value(), 0u);
  EXPECT_EQ(text.draft()->guesses().size(), 3u);
}

TEST(Drafting, a_text_goes_on_without_where_there_is_no_memory_for_the_drafts_keys_and_values) {
  const RandomModel random({.context = 256}), same({.context = 256});
  const auto memory = std::make_shared<MemoryBudget>(Sequence::bytes_of(*random.model(), 12) * 3 / 2);
  GenerationOptions options{
      .tokens_max = 10, .tokens_min = 10, .draft_max = 3, .draft_model = same.model(), .memory = memory};
  std::vector<Generation> texts;
  texts.push_back(Generation::start(random.model(), std::vector<std::int32_t>{5, 6}, {}, options).value());
  const Counts counts = run(texts, 64);
  EXPECT_EQ(counts.drafted, 0u);
  EXPECT_EQ(texts[0].tokens().size(), 10u);
  memory->set_bytes_max(Sequence::bytes_of(*random.model(), 12) * 4);
  texts[0] = Generation::start(random.model(), std::vector<std::int32_t>{5, 6}, {}, options).value();
  EXPECT_GT(run(texts, 64).drafted, 0u);
}

TEST(Drafting, a_model_of_another_vocabulary_is_refused_with_the_token_that_differs) {
  const RandomModel random, more({.control_tokens = {"<tool>"}}), one({.control_tokens = {"<a>"}}),
      two({.control_tokens = {"<b>"}});
  EXPECT_TRUE(check_draft(*random.model(), *more.model())) << "more tokens are no other tokens";
  EXPECT_TRUE(check_draft(*more.model(), *random.model()));
  const Status refused = check_draft(*one.model(), *two.model());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_NE(refused.error().message.find("'<a>' there and '<b>' here"), std::string::npos) << refused.error().message;
}

TEST(Drafting, what_the_draft_model_has_no_token_for_ends_its_guesses_and_not_the_text) {
  const RandomModel large({.context = 64, .control_tokens = {"<tool>"}}), small({.context = 64});
  const auto last = static_cast<std::int32_t>(large.model()->config().vocab - 1);
  std::vector<Generation> texts;
  texts.push_back(Generation::start(large.model(), std::vector<std::int32_t>{5, last, 6}, {},
                                    {.tokens_max = 10, .tokens_min = 10, .draft_max = 3, .draft_model = small.model()})
                      .value());
  EXPECT_EQ(run(texts, 64).drafted, 0u);
  EXPECT_EQ(texts[0].tokens().size(), 10u);
}

}  // namespace
}  // namespace sedge::engine
