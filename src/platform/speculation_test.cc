// Who guesses follows from what was measured, whatever the machine: the clock is the test's.
#include "platform/speculation.h"

#include <gtest/gtest.h>

#include "engine/random_model.h"

namespace sedge::platform {
namespace {

class SpeculationTest : public testing::Test {
 protected:
  // A step of the model takes 10 ms, whatever its rows; a pass of the draft model `draft_pass`, a row of what it reads
  // `draft_row`.
  void measured(Duration draft_pass, Duration draft_row) {
    for (std::size_t rows = 1; rows < 9; ++rows) pacers_.took(*random_.model(), rows, 0, 10ms);
    for (std::size_t rows = 1; rows < 3; ++rows) pacers_.took(*same_.model(), rows, 0, draft_pass);
    pacers_.took(*same_.model(), 0, 10, draft_row * 10);
  }
  // A text that is past its prompt of `prompt` different tokens.
  engine::Generation begin(std::size_t prompt, std::size_t tokens_max) {
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < prompt; ++i) ids.push_back(static_cast<std::int32_t>(3 + i));
    auto text =
        engine::Generation::start(random_.model(), ids, {},
                                  {.tokens_max = tokens_max, .draft_max = kGuessesMax, .draft_model = same_.model()})
            .value();
    while (text.prefill_left() > 0) EXPECT_TRUE(text.step(engine_));
    return text;
  }
  // How many guesses it may try now.
  std::size_t guesses(engine::Generation& text) {
    engine::Member member{.generation = &text};
    EXPECT_TRUE(speculation_.guess(engine_, {&member, 1}, pacers_, [] { return Instant{}; }));
    return member.drafts;
  }

  engine::RandomModel random_{{.context = 512}}, same_{{.context = 512}};
  engine::Engine engine_;
  Pacers pacers_;
  Speculation speculation_;
};

TEST_F(SpeculationTest, a_draft_model_guesses_where_it_is_fast_and_what_it_guesses_is_tried) {
  measured(100us, 100us);
  engine::Generation text = begin(8, 100);
  const std::size_t tried = guesses(text);
  EXPECT_GT(tried, 2u);
  EXPECT_EQ(text.draft()->guesses().size(), tried);
  engine::Batch batch;
  engine::Member member{.generation = &text, .drafts = tried};
  ASSERT_TRUE(batch.step(engine_, {&member, 1}, 0));
  EXPECT_EQ(member.did->drafted, tried);
  EXPECT_EQ(member.did->accepted, tried) << "it thinks the same";
}

TEST_F(SpeculationTest, a_draft_model_as_slow_as_the_model_is_not_asked) {
  measured(10ms, 1ms);
  engine::Generation text = begin(8, 100);
  EXPECT_EQ(guesses(text), 0u);
  EXPECT_EQ(text.draft(), nullptr) << "nor takes memory";
}

TEST_F(SpeculationTest, a_long_prompt_is_read_by_the_draft_model_only_where_enough_is_still_to_be_said) {
  measured(100us, 1ms);
  engine::Generation brief = begin(200, 4), long_one = begin(200, 300);
  guesses(brief);
  EXPECT_EQ(brief.draft(), nullptr) << "200 ms of reading for three tokens of 10 ms";
  EXPECT_EQ(guesses(long_one), 0u) << "it reads first";
  EXPECT_EQ(long_one.draft()->sequence().length(), 48u) << "a piece a step";
}

}  // namespace
}  // namespace sedge::platform
