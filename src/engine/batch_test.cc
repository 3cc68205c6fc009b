// Whoever shares a step has the very tokens it would have alone.
#include "engine/batch.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <map>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/pacer.h"
#include "engine/random_model.h"

namespace sedge::engine {
namespace {

struct Asked {
  std::vector<std::int32_t> prompt;
  GenerationOptions options;
};

// Prompts of 1 to 40 tokens, greedy or sampled, some with penalties.
Asked some_text(std::uint64_t seed) {
  Prng prng(seed);
  Asked asked;
  asked.prompt.resize(1 + prng.below(40));
  for (auto& id : asked.prompt) id = static_cast<std::int32_t>(3 + prng.below(256));
  asked.options.sampling = {.temperature = prng.below(2) == 0 ? 0.0f : 1.1f,
                            .top_k = 40,
                            .repeat_penalty = prng.below(2) == 0 ? 1.0f : 1.2f,
                            .seed = seed};
  asked.options.tokens_max = 1 + prng.below(20);
  if (prng.below(2) == 0) {  // says things again, so that there is something to guess
    for (std::size_t i = 4; i < asked.prompt.size(); ++i) asked.prompt[i] = asked.prompt[i - 4];
  }
  return asked;
}

Generation begin(const RandomModel& random, const Asked& asked) {
  return Generation::start(random.model(), asked.prompt, {}, asked.options).value();
}

std::vector<std::int32_t> alone(const RandomModel& random, const Asked& asked) {
  Engine engine;
  Generation text = begin(random, asked);
  while (text.finish() == Finish::kNone) EXPECT_TRUE(text.step(engine));
  return {text.tokens().begin(), text.tokens().end()};
}

// Where each text is: positions that are computed, tokens that are made.
std::vector<std::pair<std::size_t, std::size_t>> standing(std::span<const Member> members) {
  std::vector<std::pair<std::size_t, std::size_t>> all;
  for (const Member& member : members) {
    all.emplace_back(member.generation->computed(), member.generation->tokens().size());
  }
  return all;
}

// Lets the computation it watches wait, go on, or give up, at any moment.
class Meddler {
 public:
  Meddler() : thread_([this] { meddle(); }) {}
  ~Meddler() {
    over_ = true;
    thread_.join();
  }
  void watch(Control* control) {
    const std::lock_guard lock(mutex_);
    control_ = control;
  }

 private:
  void meddle() {
    for (Prng prng(1); !over_;) {
      std::this_thread::sleep_for(std::chrono::microseconds(prng.below(100)));
      const std::lock_guard lock(mutex_);
      if (control_ == nullptr) continue;
      if (prng.below(2) == 0) {
        control_->pause();
        std::this_thread::sleep_for(std::chrono::microseconds(prng.below(100)));
        control_->resume();
      } else {
        control_->cancel();
      }
    }
  }
  std::mutex mutex_;
  Control* control_ = nullptr;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

TEST(Batch, gives_each_text_its_own_tokens_whoever_joins_leaves_waits_or_is_cancelled_beside_it) {
  const RandomModel q8({.type = kernels::DType::kQ8_0, .context = 128});
  const RandomModel f32({.context = 128});
  const RandomModel small({.heads = 2, .kv_heads = 1, .context = 128, .model = {.cache = kernels::DType::kQ4_0}});
  Meddler meddler;
  EXPECT_TRUE(rc::check([&](std::uint64_t seed) {
    const RandomModel& random = *std::array{&q8, &f32, &small}[seed % 3];
    Prng prng(seed);
    Engine engine({.threads = 1 + static_cast<unsigned>(prng.below(2)), .chunk_tokens = 1 + prng.below(40)});
    Batch batch;
    std::map<std::size_t, Generation> running;
    std::map<std::size_t, Asked> asked;
    std::size_t begun = 0, total = 2 + prng.below(6);
    while (begun < total || !running.empty()) {
      if (begun < total && prng.below(3) == 0) {  // joins
        asked[begun] = some_text(seed * 100 + begun);
        Asked guessing = asked[begun];
        guessing.options.draft_max = prng.below(8);
        running.emplace(begun, begin(random, guessing));
        ++begun;
      }
      if (running.size() > 1 && prng.below(12) == 0) running.erase(running.begin());  // is given up in the middle
      std::vector<Member> members;
      for (auto& [number, text] : running) {
        if (prng.below(4) != 0) members.push_back({.generation = &text, .drafts = prng.below(8)});  // some rest
      }
      std::reverse(members.begin(), members.end());
      Control control{prng.below(8) == 0};
      meddler.watch(prng.below(2) == 0 ? &control : nullptr);  // every other step at least is let be
      const auto before = standing(members);
      const auto done = batch.step(engine, members, prng.below(20), &control);
      meddler.watch(nullptr);
      RC_ASSERT(done.has_value() || done.error().code == Code::kCancelled);
      RC_ASSERT(done.has_value() || standing(members) == before);
      for (const Member& member : members) RC_ASSERT(member.did.has_value());
      for (auto each = running.begin(); each != running.end();) {
        if (each->second.finish() == Finish::kNone) {
          ++each;
          continue;
        }
        const auto tokens = each->second.tokens();
        RC_ASSERT((std::vector<std::int32_t>(tokens.begin(), tokens.end()) == alone(random, asked[each->first])));
        each = running.erase(each);
      }
    }
  }));
}

TEST(Batch, shares_prompt_rows_in_order_and_gives_everyone_past_the_prompt_a_row) {
  const RandomModel random;
  Engine engine;
  Batch batch;
  const std::vector<std::int32_t> long_prompt(20, 70), short_prompt(3, 71);
  Generation first = Generation::start(random.model(), long_prompt, {}, {.tokens_max = 9}).value();
  Generation second = Generation::start(random.model(), long_prompt, {}, {.tokens_max = 9}).value();
  Generation third = Generation::start(random.model(), short_prompt, {}, {.tokens_max = 9}).value();
  ASSERT_TRUE(third.step(engine));
  Member members[] = {{.generation = &first}, {.generation = &second}, {.generation = &third}};
  ASSERT_TRUE(batch.step(engine, members, 25));
  EXPECT_EQ(batch.prompt_rows(), 25u);
  EXPECT_EQ(batch.token_rows(), 1u);
  EXPECT_EQ(first.computed(), 20u);
  EXPECT_TRUE(members[0].did->token) << "the last rows of a prompt bring the first token";
  EXPECT_EQ(second.computed(), 5u);
  EXPECT_TRUE(members[2].did->token);
  ASSERT_TRUE(batch.step(engine, members, 0));
  EXPECT_EQ(second.computed(), 5u) << "no row was left";
  EXPECT_TRUE(members[0].did->token && members[2].did->token);
}

TEST(Batch, a_text_resumed_at_its_end_says_so_without_a_row) {
  const RandomModel random;
  Engine engine;
  Batch batch;
  const std::int32_t prompt[] = {1, 70}, made[] = {71, 72};
  Generation text = Generation::start(random.model(), prompt, made, {.tokens_max = 2}).value();
  Member members[] = {{.generation = &text}};
  ASSERT_TRUE(batch.step(engine, members, 10));
  EXPECT_EQ(members[0].did->finish, Finish::kLength);
  EXPECT_EQ(text.computed(), 0u);
}

TEST(Speculation, says_the_very_same_and_needs_fewer_passes_where_a_text_repeats_itself) {
  const RandomModel random({.context = 512});
  std::size_t steps = 0, tokens = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    Asked asked = some_text(seed);
    asked.options.tokens_max = 120;
    if (seed % 2 == 1) asked.options.sampling.repeat_penalty = 0.3f;  // a reward: these say the same again and again
    const auto expected = alone(random, asked);
    asked.options.draft_max = 7;
    Engine engine;
    Generation text = begin(random, asked);
    while (text.finish() == Finish::kNone) {
      const Step step = text.step(engine).value();
      ASSERT_LE(step.accepted, step.drafted);
      ASSERT_LE(step.pieces.size(), step.accepted + 1);
      steps += step.pieces.empty() ? 0 : 1;
    }
    tokens += expected.size();
    ASSERT_EQ(std::vector<std::int32_t>(text.tokens().begin(), text.tokens().end()), expected) << "seed " << seed;
  }
  EXPECT_LT(steps, tokens * 9 / 10);
}

TEST(Speculation, a_step_that_is_cancelled_guesses_again) {
  const RandomModel random({.context = 256});
  Engine engine;
  Asked asked{.prompt = {5, 6, 7, 5, 6, 7, 5, 6, 7}, .options = {.tokens_max = 40}};
  const auto expected = alone(random, asked);
  asked.options.draft_max = 5;
  Generation text = begin(random, asked);
  const Control raised{true};
  while (text.finish() == Finish::kNone) {
    ASSERT_EQ(text.step(engine, &raised).error().code, Code::kCancelled);
    ASSERT_TRUE(text.step(engine));
  }
  EXPECT_EQ(std::vector<std::int32_t>(text.tokens().begin(), text.tokens().end()), expected);
}

TEST(Speculation, what_goes_wrong_at_a_guess_takes_back_no_token_and_is_said_by_the_next_step) {
  const RandomModel random({.context = 256});
  const model::LlamaConfig& config = random.model()->config();
  Engine engine;
  Asked asked{.prompt = {5, 6, 7, 8, 5, 6, 7, 8, 5, 6}, .options = {.tokens_max = 40, .draft_max = 3}};
  Generation text = begin(random, asked);
  const auto pass = [&](std::size_t most) {  // whatever the model says: this text says its prompt again
    const Rows rows = text.rows(most);
    const Slice slice{&text.sequence(), rows.ids.size()};
    std::vector<float> hidden(rows.ids.size() * config.dim);
    EXPECT_TRUE(engine.embed(*random.model(), rows.ids, hidden));
    EXPECT_TRUE(engine.forward(*random.model(), {&slice, 1}, 0, config.layers, hidden));
    return rows;
  };
  std::vector<float> logits(config.vocab);
  logits[7] = 1;
  ASSERT_EQ(text.take(pass(10), logits)->token, 7);
  const Rows rows = pass(4);
  ASSERT_EQ(std::vector(rows.ids.begin(), rows.ids.end()), (std::vector<std::int32_t>{7, 8, 5, 6}));
  logits.assign(4 * config.vocab, NAN);  // damaged weights, behind the first row
  std::fill_n(logits.begin(), config.vocab, 0.0f);
  logits[8] = 1;
  const auto step = text.take(rows, logits);
  ASSERT_TRUE(step) << step.error().message;
  EXPECT_EQ(step->token, 8);
  EXPECT_EQ(step->pieces.size(), 1u);
  EXPECT_FALSE(text.ended());
  EXPECT_EQ(text.computed(), 11u);
  const Rows next = pass(1);
  ASSERT_EQ(std::vector(next.ids.begin(), next.ids.end()), std::vector<std::int32_t>{8});
  EXPECT_EQ(text.take(next, std::span(logits).last(config.vocab)).error().code, Code::kDataLoss);
  EXPECT_TRUE(text.ended());
}

TEST(PromptLookup, guesses_what_followed_the_last_time) {
  PromptLookup lookup;
  std::vector<std::int32_t> ids = {1, 2, 3, 4, 5, 9, 2, 3, 4};
  EXPECT_EQ(lookup.guess(ids, 3), (std::vector<std::int32_t>{5, 9, 2}));
  ids.insert(ids.end(), {8, 7, 3, 4});
  EXPECT_EQ(lookup.guess(ids, 2), (std::vector<std::int32_t>{8, 7})) << "the newest of two places, by two tokens";
  ids.push_back(99);
  EXPECT_TRUE(lookup.guess(ids, 4).empty());
  ids = {6, 7, 6, 7};
  EXPECT_EQ(PromptLookup().guess(ids, 5), (std::vector<std::int32_t>{6, 7, 6, 7, 6})) << "goes round";
}

// A machine where a step takes 10 ms and each row of a prompt `row` more.
Duration step_time(std::size_t prompt_rows, Duration row) {
  return 10ms + row * static_cast<std::int64_t>(prompt_rows);
}

TEST(Pacer, keeps_the_gap_between_tokens_within_twice_its_length_on_any_machine) {
  EXPECT_TRUE(rc::check([] {
    const Duration row{*rc::gen::inRange(50'000, 7'500'000)};  // from 200 rows a gap down to one
    Pacer pacer;
    pacer.took(0, 6, 6 * row);  // the first step of all is a guess
    std::size_t read = 0;
    for (int i = 0; i < 200; ++i) {
      const std::size_t rows = pacer.prompt_rows(3);
      read += rows;
      const Duration took = step_time(rows, row);
      RC_ASSERT(took <= 20ms);
      pacer.took(3, rows, took);
    }
    RC_ASSERT(read >= 150u);  // and the prompt comes on
  }));
}

// How much longer than the stretch the steps took while so many tokens of prompts were read, a hundred each.
Duration read_beyond_the_stretch(Duration row, std::size_t first) {
  Pacer pacer;
  pacer.took(0, 6, 6 * row);
  Duration beyond{}, all{};
  for (std::size_t read = 0; read < 2000;) {
    const std::size_t rows = pacer.prompt_rows(3, first);
    const Duration took = step_time(rows, row);
    RC_ASSERT(took <= 101ms);
    pacer.took(3, rows, took);
    read += rows, all += took, beyond += std::max(took - 18ms, Duration{});
  }
  RC_ASSERT(beyond <= 1s + all / 2 + 101ms);
  return beyond;
}

TEST(Pacer, short_prompts_delay_those_without_deadlines_by_a_second_and_half_of_the_time_and_long_ones_never) {
  EXPECT_TRUE(rc::check([] {
    const Duration row{*rc::gen::inRange(700'000, 7'500'000)};
    RC_ASSERT(read_beyond_the_stretch(row, 100) >= 500ms);
    RC_ASSERT(read_beyond_the_stretch(row, 2000) <= 50ms);
    RC_ASSERT(read_beyond_the_stretch(row, 0) <= 50ms);
  }));
}

TEST(Pacer, without_company_a_prompt_takes_steps_that_an_urgent_newcomer_can_wait_for) {
  Pacer pacer;
  for (int i = 0; i < 20; ++i) {
    const std::size_t rows = pacer.prompt_rows(0);
    EXPECT_GE(rows, 6u);
    EXPECT_LE(rows, i == 0 ? 6u : 48u);
    pacer.took(0, rows, Duration(2'000'000LL * static_cast<std::int64_t>(rows)));
  }
  EXPECT_EQ(pacer.prompt_rows(0), 48u) << "2 ms a row, 100 ms a step";
}

TEST(Pacer, tries_guesses_where_they_pay_by_what_was_measured) {
  Pacer pacer;
  EXPECT_EQ(pacer.guesses(1, 7, 0.9).count, 0u) << "nothing is measured yet";
  pacer.took(1, 0, 10ms);
  EXPECT_EQ(pacer.guesses(1, 7, 0.9).count, 7u);
  EXPECT_EQ(pacer.guesses(1, 7, 0.05).count, 0u) << "mostly wrong";
  EXPECT_EQ(pacer.guesses(1, 0, 0.9).count, 0u);
  const Pacer::Guesses dear = pacer.guesses(1, 7, 0.9, 0.004);
  EXPECT_GT(dear.count, 0u);
  EXPECT_LT(dear.count, 7u) << "a draft model that takes 4 ms a guess";
  EXPECT_LT(dear.gain, pacer.guesses(1, 7, 0.9).gain);
  EXPECT_EQ(pacer.guesses(1, 7, 0.9, 0.01).count, 0u) << "one that is no faster";
  for (int i = 0; i < 40; ++i) {  // rows that cost what they cost alone
    for (std::size_t rows = 2; rows <= 8; ++rows) pacer.took(rows, 0, 10ms * static_cast<std::int64_t>(rows));
  }
  EXPECT_EQ(pacer.guesses(1, 7, 0.95).count, 0u);
  for (int i = 0; i < 100; ++i) pacer.took(1, 0, 10ms);
  EXPECT_GT(pacer.guesses(1, 7, 0.95).count, 0u) << "what was measured long ago is tried again";
}

TEST(Pacer, a_gap_not_yet_measured_is_measured_first) {
  Pacer pacer;
  EXPECT_EQ(pacer.prompt_rows(2), 0u);
  pacer.took(2, 0, 10ms);
  EXPECT_EQ(pacer.prompt_rows(2), 6u);
  EXPECT_EQ(pacer.prompt_rows(5), 0u) << "another number of texts, another gap";
}

}  // namespace
}  // namespace sedge::engine
