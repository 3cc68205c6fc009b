#include "platform/conversation.h"

#include <string>

#include <gtest/gtest.h>

#include "base/json.h"
#include "engine/grammar/matcher.h"
#include "engine/random_model.h"

namespace sedge::platform {
namespace {

constexpr const char* kHermes =
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "{% endfor %}[assistant]";
constexpr const char* kMistral =
    "{{ tools }}{% for m in messages %}{% if m.tool_calls %}[TOOL_CALLS]{% endif %}{{ m.content }}{% endfor %}";
constexpr const char* kLlama =
    "{{ tools }}{\"name\": N, \"parameters\": dictionary}{% for m in messages %}{{ m.content }}{% endfor %}";

const env::ChatTurn kGo = {"user", "go"};

env::ChatTurn tools_turn(std::string_view more) {
  return {"", fmt::format(R"({{"tools": [{{"type": "function", "function": {{"name": "wait", "parameters":
      {{"type": "object", "properties": {{"s": {{"type": "integer"}}}}, "required": ["s"]}}}}}},
      {{"type": "function", "function": {{"name": "land"}}}}]{}}})",
                          more)};
}

class ConversationTest : public testing::Test {
 protected:
  void open(const char* chat_template, std::vector<std::string> control_tokens = {}) {
    random_.emplace(
        engine::RandomModelOptions{.chat_template = chat_template, .control_tokens = std::move(control_tokens)});
  }
  ChatPrompt begin(std::vector<env::ChatTurn> turns) {
    auto prompt = begin_chat(*random_->model(), turns);
    EXPECT_TRUE(prompt) << (prompt ? "" : prompt.error().message);
    return prompt ? *std::move(prompt) : ChatPrompt{};
  }
  std::string text(const ChatPrompt& prompt) { return random_->model()->tokenizer().decode(prompt.ids); }
  static bool matches(const ChatPrompt& prompt, std::string_view text) {
    engine::Matcher matcher(prompt.grammar);
    return matcher.advance(text) && matcher.complete();
  }

  std::optional<engine::RandomModel> random_;
};

const std::string kWait = R"({"name": "wait", "arguments": {"s": 5}})", kLand = R"({"name": "land", "arguments": {}})";

TEST_F(ConversationTest, the_date_reaches_the_template_of_a_plain_talk_and_of_one_with_tools) {
  open("{{ strftime_now('%d %b %Y') }}{{ tools or '' }}<tool_call>{{ messages[0].content }}");
  for (const std::vector<env::ChatTurn>& turns : {std::vector{kGo}, std::vector{tools_turn(""), kGo}}) {
    const auto prompt = begin_chat(*random_->model(), turns, 1'772'701'622);
    ASSERT_TRUE(prompt) << prompt.error().message;
    EXPECT_TRUE(text(*prompt).contains("05 Mar 2026")) << text(*prompt);
  }
}

TEST_F(ConversationTest, tools_calls_and_results_reach_the_template) {
  open(kHermes);
  const env::ChatTurn called = {"",
                                R"({"role": "assistant", "content": "", "tool_calls": [{"id": "a", "type": "function",
      "function": {"name": "wait", "arguments": {"s": 5}}}]})"};
  const env::ChatTurn gave = {"", R"({"role": "tool", "content": "done", "tool_call_id": "a", "name": "wait"})"};
  const ChatPrompt prompt = begin({tools_turn(""), kGo, called, gave});
  const std::string shown = text(prompt);
  EXPECT_TRUE(shown.starts_with(R"({"type": "function", "function": {"name": "wait",)")) << shown;
  EXPECT_TRUE(shown.ends_with("[user]go[assistant]<tool_call>wait{\"s\": 5}[tool]done[assistant]")) << shown;
  EXPECT_EQ(begin({kGo}).grammar, nullptr) << "without tools any text will do";
  EXPECT_EQ(begin({kGo, called, gave}).grammar, nullptr);
}

TEST_F(ConversationTest, a_grammar_holds_calls_where_they_must_come_and_where_they_may) {
  open(kHermes);
  const std::string wait = "<tool_call>\n" + kWait + "\n</tool_call>",
                    land = "<tool_call>\n" + kLand + "\n</tool_call>";
  const ChatPrompt may = begin({tools_turn(""), kGo});
  EXPECT_TRUE(matches(may, "hello"));
  EXPECT_TRUE(matches(may, "well " + wait + "\n" + land));
  EXPECT_FALSE(matches(may, "<tool_call>\n{\"name\": \"wait\", \"arguments\": {}}\n</tool_call>"));
  const ChatPrompt must = begin({tools_turn(R"(, "required": true)"), kGo});
  EXPECT_FALSE(matches(must, "hello"));
  EXPECT_TRUE(matches(must, wait + "\n" + land));
  EXPECT_FALSE(matches(begin({tools_turn(R"(, "required": true, "parallel": false)"), kGo}), wait + "\n" + land));
  const ChatPrompt one = begin({tools_turn(R"(, "required": true, "function": "land")"), kGo});
  EXPECT_TRUE(matches(one, land));
  EXPECT_FALSE(matches(one, wait));
  EXPECT_TRUE(text(one).contains("\"wait\"")) << "the model is told of all";
}

TEST_F(ConversationTest, each_templates_own_syntax_is_held_to) {
  open(kLlama);
  const std::string bare = R"({"name": "wait", "parameters": {"s": 5}})";
  EXPECT_TRUE(matches(begin({tools_turn(R"(, "required": true)"), kGo}), bare));
  EXPECT_TRUE(matches(begin({tools_turn(""), kGo}), "hello"));
  EXPECT_FALSE(matches(begin({tools_turn(""), kGo}), kWait));
  open(kMistral);
  const std::string list = "[TOOL_CALLS][" + kWait + ", " + kLand + "]";
  EXPECT_TRUE(matches(begin({tools_turn(R"(, "required": true)"), kGo}), list));
  EXPECT_TRUE(matches(begin({tools_turn(""), kGo}), "hello " + list));
}

// What no text shows no grammar can wait for; where a call must come the prompt ends with the mark.
TEST_F(ConversationTest, a_mark_that_is_a_control_token_is_part_of_the_prompt) {
  open(kMistral, {"[TOOL_CALLS]"});
  EXPECT_EQ(begin({tools_turn(""), kGo}).grammar, nullptr);
  const ChatPrompt must = begin({tools_turn(R"(, "required": true)"), kGo});
  EXPECT_EQ(must.ids.back(), static_cast<std::int32_t>(random_->model()->tokenizer().size()) - 1);
  EXPECT_TRUE(matches(must, "[" + kWait + "]"));
}

TEST_F(ConversationTest, where_a_template_has_no_place_for_calls_they_stand_as_the_model_wrote_them) {
  open("{{ xml_tools }}<tool_call>{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}");
  const env::ChatTurn called = {"", R"({"role": "assistant", "content": "I wait.", "tool_calls": [{"function":
      {"name": "wait", "arguments": {"s": 5}}}]})"};
  EXPECT_TRUE(
      text(begin({tools_turn(""), kGo, called}))
          .ends_with("[assistant]I wait.\n<tool_call>\n{\"name\": \"wait\", \"arguments\": {\"s\":5}}\n</tool_call>"));
}

TEST_F(ConversationTest, what_cannot_be_done_is_the_callers_to_correct) {
  const auto refused = [&](const char* chat_template, std::vector<env::ChatTurn> turns) {
    open(chat_template);
    const auto prompt = begin_chat(*random_->model(), turns);
    EXPECT_FALSE(prompt);
    EXPECT_EQ(prompt.error().code, Code::kInvalidArgument);
    return prompt.error().message;
  };
  EXPECT_EQ(refused("{{ messages }}", {tools_turn(""), kGo}),
            "the model's chat template has no place for tools and their calls");
  EXPECT_TRUE(refused("{{ tools }}<function=", {tools_turn(""), kGo}).contains("hermes, mistral, llama3"));
  EXPECT_EQ(refused(kHermes, {{"", R"({"tools": [{"type": "function", "function": {"name": "scan", "parameters":
      {"type": "object", "properties": {"a": {"not": {}}}}}}]})"}}),
            "function 'scan': schema #/properties/a: 'not' is not supported");
  for (const char* turn : {"", "{", "[]", "7", "{}", R"({"tools": []})", R"({"tools": [7]})", R"({"tools": {}})",
                           R"({"tools": [{"function": {}}]})", R"({"role": "user"})", R"({"role": 1, "content": ""})",
                           R"({"tools": [{"function": {"name": "a"}}], "function": "b"})",
                           R"({"tools": [{"function": {"name": "a"}}], "required": 1})"}) {
    EXPECT_TRUE(refused(kHermes, {{"", turn}}).starts_with("a conversation's turns: ")) << turn;
  }
}

}  // namespace
}  // namespace sedge::platform
