#include "engine/generation.h"

#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/perplexity.h"
#include "engine/random_model.h"

namespace sedge::engine {
namespace {

struct Text {
  std::vector<std::int32_t> tokens;
  std::string text, bytes;
  Finish finish = Finish::kNone;
};

Text run_to_end(Engine& engine, Generation generation) {
  Text run;
  while (run.finish == Finish::kNone) {
    const Step step = generation.step(engine).value();
    run.text += step.text;
    run.bytes += step.bytes;
    run.finish = step.finish;
  }
  run.tokens.assign(generation.tokens().begin(), generation.tokens().end());
  return run;
}

const std::vector<std::int32_t> kPrompt = {1, 75, 104, 111, 111, 114};

TEST(Generation, a_resumed_run_goes_on_as_the_undisturbed_one_would) {
  const RandomModel random;
  Engine engine({.threads = 2});
  for (const float temperature : {0.0f, 1.3f}) {
    const GenerationOptions options{.sampling = {.temperature = temperature,
                                                 .top_k = 50,
                                                 .top_p = 0.95f,
                                                 .min_p = 0.01f,
                                                 .repeat_penalty = 1.1f,
                                                 .seed = 7},
                                    .tokens_max = 40,
                                    .stops = {}};
    const Text whole = run_to_end(engine, Generation::start(random.model(), kPrompt, {}, options).value());
    ASSERT_GT(whole.tokens.size(), 5u);
    for (std::size_t cut = 0; cut <= whole.tokens.size(); ++cut) {
      const auto so_far = std::span(whole.tokens).first(cut);
      GenerationOptions elsewhere = options;
      elsewhere.chunk_tokens = 1 + cut % 9;
      const Text rest = run_to_end(engine, Generation::start(random.model(), kPrompt, so_far, elsewhere).value());
      ASSERT_EQ(rest.tokens, whole.tokens) << "resumed after " << cut;
      ASSERT_EQ(rest.finish, whole.finish);
      ASSERT_TRUE(whole.text.ends_with(rest.text));
    }
  }
}

TEST(Generation, a_cancelled_slice_can_be_asked_for_again) {
  const RandomModel random;
  Engine engine;
  const GenerationOptions options{.sampling = {}, .tokens_max = 8, .stops = {}};
  const Text whole = run_to_end(engine, Generation::start(random.model(), kPrompt, {}, options).value());
  Generation generation = Generation::start(random.model(), kPrompt, {}, options).value();
  const Control raised{true};
  std::vector<std::int32_t> tokens;
  while (generation.finish() == Finish::kNone) {
    ASSERT_EQ(generation.step(engine, &raised).error().code, Code::kCancelled);
    const Step step = generation.step(engine).value();
    if (step.token) tokens.push_back(*step.token);
  }
  EXPECT_EQ(tokens, whole.tokens);
  EXPECT_EQ(generation.step(engine).error().code, Code::kFailedPrecondition);
}

TEST(Generation, a_pass_that_is_cancelled_at_its_logits_leaves_the_same_rows_to_ask_for) {
  const RandomModel random;
  const Model& model = *random.model();
  Engine engine;
  const GenerationOptions options{.sampling = {.temperature = 1}, .tokens_max = 8, .stops = {}};
  const Text whole = run_to_end(engine, Generation::start(random.model(), kPrompt, {}, options).value());
  Generation generation = Generation::start(random.model(), kPrompt, {}, options).value();
  while (generation.finish() == Finish::kNone) {
    const std::size_t before = generation.computed();
    const Rows rows = generation.rows(4);
    std::vector<float> hidden(rows.ids.size() * model.config().dim), logits(hidden.size() / 64 * model.config().vocab);
    const Slice slice{&generation.sequence(), rows.ids.size()};
    ASSERT_TRUE(engine.embed(model, rows.ids, hidden));
    ASSERT_TRUE(engine.forward(model, {&slice, 1}, 0, model.config().layers, hidden));
    const Control raised{true};
    ASSERT_EQ(engine.head(model, hidden, logits, &raised).error().code, Code::kCancelled);
    generation.undo(rows);
    EXPECT_EQ(generation.computed(), before);
    ASSERT_TRUE(generation.step(engine));
  }
  EXPECT_EQ(std::vector(generation.tokens().begin(), generation.tokens().end()), whole.tokens);
}

TEST(Generation, ends_by_length_by_context_and_by_a_stop_string_that_is_not_shown) {
  const RandomModel random;
  Engine engine;
  const GenerationOptions ten{.sampling = {.temperature = 1}, .tokens_max = 10, .stops = {}};
  const Text run = run_to_end(engine, Generation::start(random.model(), kPrompt, {}, ten).value());
  EXPECT_EQ(run.finish, Finish::kLength);
  EXPECT_EQ(run.tokens.size(), 10u);
  const GenerationOptions short_context{.sampling = {.temperature = 1}, .tokens_max = 100, .stops = {}, .context = 9};
  const Text full = run_to_end(engine, Generation::start(random.model(), kPrompt, {}, short_context).value());
  EXPECT_EQ(full.finish, Finish::kLength);
  EXPECT_EQ(full.tokens.size(), 4u);  // three fill the context, the fourth is chosen and has no position of its own
  GenerationOptions stopped = ten;
  stopped.stops = {run.bytes.substr(3, 2)};
  const Text stop = run_to_end(engine, Generation::start(random.model(), kPrompt, {}, stopped).value());
  EXPECT_EQ(stop.finish, Finish::kStop);
  EXPECT_EQ(stop.text, to_valid_utf8(run.bytes.substr(0, run.bytes.find(stopped.stops[0]))));
}

TEST(Generation, refuses_what_cannot_run_and_says_why) {
  const RandomModel random;
  const auto error = [&](std::vector<std::int32_t> prompt, GenerationOptions options) {
    return Generation::start(random.model(), prompt, {}, std::move(options)).error().message;
  };
  EXPECT_EQ(error({}, {}), "the prompt has no tokens");
  EXPECT_EQ(error({1, 300}, {}), "prompt token 1 is 300, the vocabulary has 259");
  EXPECT_EQ(error(std::vector<std::int32_t>(65, 1), {}),
            "the prompt has 65 tokens, the context 64: shorten the prompt");
  EXPECT_EQ(error({1}, {.sampling = {.top_p = 1.5f}, .stops = {}}), "top_p is 1.5, it must be from 0 to 1");
  EXPECT_EQ(error({1}, {.sampling = {.temperature = NAN}, .stops = {}}),
            "temperature is nan, it must be from 0 to 100");
  EXPECT_EQ(error({1}, {.sampling = {}, .stops = {""}}), "a stop string has 0 bytes, 1 to 256 are allowed");
}

TEST(TextStream, text_is_the_same_however_it_is_cut_and_always_valid) {
  EXPECT_TRUE(rc::check([](const std::vector<std::string>& pieces) {
    TextStream stream({"STOP"});
    std::string text, all;
    for (const std::string& piece : pieces) {
      const std::string now = stream.push(piece);
      RC_ASSERT(to_valid_utf8(now) == now);
      text += now;
      all += piece;
    }
    text += stream.finish();
    RC_ASSERT(text == to_valid_utf8(all.substr(0, all.find("STOP"))));
  }));
}

TEST(TextStream, holds_back_half_a_character_and_half_a_stop) {
  TextStream stream({"end", "nda"});
  EXPECT_EQ(stream.push("gr\xC3"), "gr");
  EXPECT_EQ(stream.push("\xBC"
                        "n e"),
            "\xC3\xBCn ");
  EXPECT_EQ(stream.push("n"), "");
  EXPECT_EQ(stream.push("t"), "ent");
  EXPECT_EQ(stream.push(" \xF0\x9F\x8C"), " ");
  EXPECT_EQ(stream.push("\xB1 a e"), "\xF0\x9F\x8C\xB1 a ");
  EXPECT_EQ(stream.push("ndless"), "");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.push("more") + stream.finish(), "");
}

TEST(Perplexity, of_even_odds_is_their_number_and_windows_carry_its_error) {
  Perplexity even;
  even.add({.nats = 10 * std::log(8.0), .tokens = 10});
  EXPECT_DOUBLE_EQ(even.value(), 8.0);
  EXPECT_EQ(even.standard_error(), 0.0);
  even.add({.nats = 20 * std::log(8.0), .tokens = 20});
  EXPECT_NEAR(even.standard_error(), 0.0, 1e-12);
  even.add({.nats = 40.0, .tokens = 10});
  EXPECT_GT(even.standard_error(), 1.0);
  const std::vector<std::int32_t> ids(10);
  EXPECT_EQ(cut_windows(ids, 4).size(), 2u);
  EXPECT_EQ(cut_windows(ids, 4, 1).size(), 1u);
  EXPECT_EQ(cut_windows(ids, 40).front().size(), 10u);
}

}  // namespace
}  // namespace sedge::engine
