#include "train/heron/corpus.h"

#include <cctype>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "train/heron/grammar.h"
#include "train/heron/lexicon.h"
#include "train/heron/schema.h"

namespace sedge::train::heron {
namespace {

std::set<std::string> sentences(const std::vector<Example>& examples) {
  std::set<std::string> out;
  for (const Example& example : examples) out.insert(example.sentence);
  return out;
}

TEST(HeronCorpus, every_action_of_twenty_thousand_examples_is_valid_and_canonical) {
  const Schema schema = Schema::load(SEDGE_SOURCE_DIR "/models/heron/action.schema.json").value();
  for (const Split split : {Split::kTrain, Split::kHeldOutTemplates}) {
    for (const Example& example : generate(11, split == Split::kTrain ? 20'000 : 2'000, split)) {
      const auto value = json::parse(example.action, example.sentence);
      ASSERT_TRUE(value) << value.error().message;
      const Status status = schema.validate(*value);
      ASSERT_TRUE(status) << example.sentence << "\n" << example.action << "\n" << status.error().message;
      ASSERT_EQ(json::write(*value), example.action);  // nothing escaped, no white space
    }
  }
}

TEST(HeronCorpus, the_same_seed_gives_the_same_examples_and_another_seed_others) {
  const auto first = generate(5, 200, Split::kTrain);
  const auto again = generate(5, 200, Split::kTrain);
  const auto other = generate(6, 200, Split::kTrain);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(to_jsonl(first[i]), to_jsonl(again[i]));
  EXPECT_NE(sentences(first), sentences(other));
}

TEST(HeronCorpus, held_out_sentences_never_occur_in_training_whatever_the_seed) {
  const auto held_out = sentences(generate(1, 1000, Split::kHeldOutSentences));
  EXPECT_EQ(held_out.size(), 1000u);
  for (const std::uint64_t seed : {1u, 2u}) {
    for (const Example& example : generate(seed, 20'000, Split::kTrain)) {
      ASSERT_FALSE(held_out.contains(example.sentence)) << example.sentence;
    }
  }
}

TEST(HeronCorpus, held_out_templates_are_about_a_tenth_of_all_and_never_trained_on) {
  std::size_t clauses = 0;
  std::size_t held_out = 0;
  std::set<std::string_view> with_held_out;
  for (const Row& row : grammar()) {
    if (!is_clause(row)) continue;
    ++clauses;
    if (!is_held_out(row)) continue;
    ++held_out;
    with_held_out.insert(row.table);
  }
  EXPECT_GE(held_out * 100, clauses * 8);
  EXPECT_LE(held_out * 100, clauses * 15);
  EXPECT_GE(with_held_out.size(), 20u);
  for (const Example& example : generate(3, 20'000, Split::kTrain)) {
    if (example.template_id < 0) continue;
    ASSERT_FALSE(is_held_out(grammar()[static_cast<std::size_t>(example.template_id)])) << example.sentence;
  }
}

// Rows may say the same in other words: what a held-out row makes must not come out of trained ones, however written.
TEST(HeronCorpus, sentences_of_held_out_templates_do_not_occur_in_training) {
  const auto letters = [](const std::string& sentence) {
    std::string out;
    for (const char c : sentence) {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0) out += static_cast<char>(std::tolower(c));
    }
    return out;
  };
  std::set<std::string> trained;
  for (const Example& example : generate(1, 150'000, Split::kTrain)) trained.insert(letters(example.sentence));
  for (const Example& example : generate(1, 2000, Split::kHeldOutTemplates)) {
    EXPECT_FALSE(trained.contains(letters(example.sentence))) << example.sentence;
  }
}

TEST(HeronCorpus, every_action_and_every_trained_template_occurs) {
  const auto examples = generate(9, 60'000, Split::kTrain);
  std::map<int, int> uses;
  for (const Example& example : examples) ++uses[example.template_id];
  const auto rows = grammar();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!is_clause(rows[i]) || is_held_out(rows[i])) continue;
    EXPECT_GT(uses[static_cast<int>(i)], 5) << rows[i].pattern;
  }
  std::printf("%s", coverage(examples).c_str());
}

// One sentence must not have two meanings, or no model can be right about it.
TEST(HeronCorpus, a_sentence_has_one_meaning) {
  std::map<std::string, std::string> meaning;
  int conflicts = 0;
  for (const Example& example : generate(21, 100'000, Split::kTrain)) {
    const auto [found, fresh] = meaning.emplace(example.sentence, example.action);
    if (fresh || found->second == example.action) continue;
    ++conflicts;
    std::printf("%s\n  %s\n  %s\n", example.sentence.c_str(), example.action.c_str(), found->second.c_str());
  }
  EXPECT_EQ(conflicts, 0);
}

TEST(HeronCorpus, phrases_keep_what_was_said_in_canonical_form) {
  Prng prng(2);
  for (const char* kind : {"place", "pp", "dest", "thing", "person", "agent", "text", "sight"}) {
    for (int i = 0; i < 2000; ++i) {
      const Phrase phrase = make_phrase(kind, prng);
      ASSERT_TRUE(has_format("name", phrase.canon)) << kind << ": " << phrase.canon;
      if (kind == std::string_view("text")) continue;  // a message is copied as it is
      ASSERT_FALSE(phrase.canon.starts_with("the ")) << kind << ": " << phrase.canon;
    }
  }
  for (const char* kind : {"length", "speed", "duration", "percent", "angle"}) {
    for (int i = 0; i < 2000; ++i) {
      const Phrase phrase = make_phrase(kind, prng);
      ASSERT_TRUE(has_format(kind, phrase.canon)) << phrase.spoken << ": " << phrase.canon;
    }
  }
}

TEST(HeronCorpus, files_have_one_object_a_line) {
  const std::string dir = testing::TempDir() + "/heron_corpus";
  ASSERT_TRUE(write_corpus(dir, 4, 300));
  for (const auto& [name, count] :
       {std::pair{"train", 300}, {"heldout_sentences", 1000}, {"heldout_templates", 1000}}) {
    std::ifstream file(dir + "/" + name + ".jsonl");
    int lines = 0;
    for (std::string line; std::getline(file, line); ++lines) {
      const auto value = json::parse(line, name).value();
      EXPECT_TRUE(json::get_string(value.get_object(), "prompt").value().ends_with('\n'));
      EXPECT_TRUE(json::get_string(value.get_object(), "completion").value().starts_with("{\"do\":"));
    }
    EXPECT_EQ(lines, count) << name;
  }
  EXPECT_EQ(write_corpus("/dev/null/nowhere", 4, 1).error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace sedge::train::heron
