#include "train/heron/score.h"

#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "base/json.h"
#include "train/heron/corpus.h"
#include "train/heron/schema.h"

namespace sedge::train::heron {
namespace {

TEST(HeronScore, the_order_of_keys_does_not_count_and_everything_else_does) {
  EXPECT_TRUE(same_action(R"({"do":"land","if":{"see":"fog"},"who":"a-1"})",
                          R"({"who": "a-1", "if": {"see": "fog"}, "do": "land"})"));
  EXPECT_FALSE(same_action(R"({"do":"land"})", R"({"do":"land","at":"barn"})"));
  EXPECT_FALSE(same_action(R"({"do":"land","who":["a-1","a-2"]})", R"({"do":"land","who":["a-2","a-1"]})"));
  EXPECT_FALSE(same_action(R"({"do":"land"})", R"({"do":"land")"));
  EXPECT_FALSE(same_action("{", "{"));
}

TEST(HeronScore, the_table_counts_by_expected_action_and_shows_mistakes) {
  Score score;
  score.add({"land", R"({"do":"land"})"}, R"({"do":"land"})");
  score.add({"land now", R"({"do":"land"})"}, "garbage");
  score.add({"stop", R"({"do":"stop"})"}, R"({"do":"stop"})");
  EXPECT_EQ(score.right(), 2u);
  EXPECT_DOUBLE_EQ(score.exact_match(), 2.0 / 3.0);
  const std::string table = score.table(5);
  EXPECT_NE(table.find("land             1       2    50.0 %"), std::string::npos) << table;
  EXPECT_NE(table.find("land now\n  expected {\"do\":\"land\"}\n  got      garbage"), std::string::npos) << table;
}

TEST(HeronScore, both_file_forms_are_read_and_a_bad_line_is_named) {
  const std::string path = testing::TempDir() + "/heron_cases.jsonl";
  std::ofstream(path) << R"({"prompt":"land\n","completion":"{\"do\":\"land\"}"})"
                         "\n\n"
                      << R"({"sentence":"stop","action":{"do":"stop"}})"
                         "\n";
  const auto cases = read_cases(path).value();
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[0].sentence, "land");
  EXPECT_EQ(cases[0].action, R"({"do":"land"})");
  EXPECT_EQ(cases[1].action, R"({"do":"stop"})");
  std::ofstream(path) << R"({"sentence":"stop"})"
                         "\n";
  EXPECT_EQ(read_cases(path).error().message, path + ":1: field 'action' is missing");
  EXPECT_EQ(read_cases(path + ".none").error().code, Code::kNotFound);
}

TEST(HeronScore, what_strangers_wrote_is_valid_and_not_made_by_the_grammar) {
  const Schema schema = Schema::load(SEDGE_SOURCE_DIR "/models/heron/action.schema.json").value();
  std::set<std::string> trained;
  for (const Example& example : generate(1, 50'000, Split::kTrain)) trained.insert(example.sentence);
  for (const char* file : {"outside", "strangers"}) {
    const auto cases = read_cases(fmt::format("{}/models/heron/eval/{}.jsonl", SEDGE_SOURCE_DIR, file)).value();
    EXPECT_GE(cases.size(), 100u);
    std::size_t known = 0;
    for (const Case& one : cases) {
      const Status status = schema.validate(json::parse(one.action, one.sentence).value());
      EXPECT_TRUE(status) << one.sentence << ": " << status.error().message;
      known += trained.contains(one.sentence) ? 1 : 0;
    }
    EXPECT_LE(known, cases.size() / 50) << file;  // "roger that" is what it is
  }
}

TEST(HeronScore, the_demo_sentences_are_valid_varied_and_not_made_by_the_grammar) {
  const Schema schema = Schema::load(SEDGE_SOURCE_DIR "/models/heron/action.schema.json").value();
  const auto cases = read_cases(SEDGE_SOURCE_DIR "/models/heron/eval/demo.jsonl").value();
  EXPECT_EQ(cases.size(), 40u);
  std::set<std::string> actions;
  for (const Case& one : cases) {
    const auto value = json::parse(one.action, one.sentence).value();
    const Status status = schema.validate(value);
    EXPECT_TRUE(status) << one.sentence << ": " << status.error().message;
    actions.insert(json::get_string(value.get_object(), "do").value());
  }
  EXPECT_GE(actions.size(), 20u);
  std::set<std::string> trained;
  for (const Example& example : generate(1, 50'000, Split::kTrain)) trained.insert(example.sentence);
  for (const Case& one : cases) EXPECT_FALSE(trained.contains(one.sentence)) << one.sentence;
}

}  // namespace
}  // namespace sedge::train::heron
