#include "platform/tool_calls.h"

#include <algorithm>
#include <span>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/json.h"

namespace sedge::platform {
namespace {

const std::vector<std::string> kNames = {"go_to", "wait"};

TEST(ToolCalls, a_template_is_known_by_what_it_contains) {
  const std::pair<const char*, const char*> rows[] = {
      {"{% if tools %}<tool_call>{\"name\"{% endif %}", "hermes"},
      {"{{ tools }}[TOOL_CALLS][", "mistral"},
      {R"({{ tools }}Respond in the format {"name": function name, "parameters": dictionary of argument name})",
       "llama3"},
      {"{{ messages }}<tool_call>", ""},  // of no functions
      {"{{ tools }}", ""},
      {"{{ tools }}<tool_call><function=a>", ""},
      {"{{ tools }}[TOOL_CALLS]name[ARGS]", ""},
  };
  for (const auto& [jinja, name] : rows) {
    const CallSyntax* found = call_syntax_of(jinja);
    EXPECT_EQ(found != nullptr ? found->name : "", name) << jinja;
  }
}

TEST(ToolCalls, each_syntax_is_read_with_the_text_before_it) {
  const ToolCall go{"go_to", R"({"place": "dock", "at": [1.50, "]}\""]})"}, wait{"wait", "{}"};
  const std::string go_json = R"({"name": "go_to", "arguments": )" + go.arguments + "}";
  const std::string bare = R"({"name": "go_to", "parameters": )" + go.arguments + "}";
  struct Case {
    std::string text, content;
    std::vector<ToolCall> calls;
  };
  const std::string wait_json = R"({ "arguments" :{}, "name":"wait" })";
  const Case cases[] = {
      {"<tool_call>\n" + go_json + "\n</tool_call>", "", {go}},
      {"I go.\n\n<tool_call>" + go_json + "</tool_call><tool_call> " + wait_json + " </tool_call>\n",
       "I go.",
       {go, wait}},
      {"[TOOL_CALLS][" + go_json + "]", "", {go}},
      {"Well. [TOOL_CALLS] [" + go_json + ", " + wait_json + "]", "Well.", {go, wait}},
      {" [" + wait_json + "]", "", {wait}},  // a mark that is not shown
      {bare, "", {go}},
      {"{\"a\": 1} <tool_call>" + go_json + "</tool_call>", "{\"a\": 1}", {go}},
  };
  for (const Case& each : cases) {
    const auto read = read_calls(each.text, kNames);
    ASSERT_TRUE(read) << each.text;
    EXPECT_EQ(read->content, each.content) << each.text;
    EXPECT_EQ(read->calls, each.calls) << each.text;
  }
}

TEST(ToolCalls, what_is_no_call_as_a_whole_stays_text) {
  const std::string good = R"({"name": "wait", "arguments": {"s": 1}})";
  const std::vector<std::string> texts = {
      "",
      "  ",
      "hello",
      "so: " + good,
      "<tool_call>" + good,
      "<tool_call>" + good + "</tool_call> as you see",
      "<tool_call></tool_call>",
      "<tool_call>" + good + "</tool_call><tool_call>" + good.substr(0, 20),
      "[TOOL_CALLS][]",
      "[TOOL_CALLS][" + good,
      R"(<tool_call>{"name": "land", "arguments": {}}</tool_call>)",
      R"({"name": "wait", "arguments": "{}"})",
      R"({"name": "wait"})",
      R"({"name": "wait", "name": "go_to", "arguments": {}})",
      R"({"name": ["wait"]})",
      R"({"name": "wait", "arguments": {"s": 01}})",
      "{\"name\": \"wait\", \"arguments\": {\"s\": \"\\",
  };
  for (const std::string& text : texts) {
    EXPECT_FALSE(read_calls(text, kNames)) << text;
  }
  std::string many = good;
  for (std::size_t i = 1; i < kCallsMax; ++i) many += "," + good;
  EXPECT_TRUE(read_calls("[" + many + "]", kNames));
  EXPECT_FALSE(read_calls("[" + many + "," + good + "]", kNames));
}

// Text of a call's own marks among it, as arguments may have it.
std::string drawn_text() {
  static const std::vector<std::string> parts = {
      "a",           "\"",           "\\",       "}", "]",   "{", "[", ",", ":", "\n", "</tool_call>",
      "<tool_call>", "[TOOL_CALLS]", "\xC3\xA9", " ", "name"};
  std::string text;
  for (const auto& part : *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(parts))) text += part;
  return text;
}

TEST(ToolCalls, what_is_written_is_read_again) {
  EXPECT_TRUE(rc::check([] {
    const CallSyntax& syntax =
        *rc::gen::elementOf(std::vector<CallSyntax>(call_syntaxes().begin(), call_syntaxes().end()));
    std::vector<ToolCall> calls(*rc::gen::inRange<std::size_t>(1, std::min<std::size_t>(syntax.calls_max, 3) + 1));
    for (ToolCall& call : calls) {
      call.name = *rc::gen::elementOf(kNames);
      json::Object arguments{{drawn_text(), drawn_text()}};
      arguments["arguments"] = json::Array{1, nullptr, drawn_text(), json::Object{{"parameters", drawn_text()}}};
      call.arguments = json::write(arguments);
    }
    const std::string before = syntax.open.empty() ? "" : "Let me see.", text = before + write_calls(syntax, calls);
    const auto read = read_calls(text, kNames);
    RC_ASSERT(read.has_value());
    RC_ASSERT(read->calls == calls && read->content == before);
    for (std::size_t end = 0; end < text.size(); ++end) {
      const auto cut = read_calls(text.substr(0, end), kNames);  // anywhere but between two calls it is text
      const bool begun = cut && cut->calls.size() < calls.size() &&
                         std::ranges::equal(cut->calls, std::span(calls).first(cut->calls.size()));
      RC_ASSERT(begun == cut.has_value());
      RC_ASSERT(calls_may_begin(text.substr(0, end), true) <= before.size());
    }
  }));
}

TEST(ToolCalls, a_stream_holds_what_may_become_a_call_and_nothing_else) {
  const std::tuple<const char*, bool, std::size_t> rows[] = {
      {"hello", true, 5},
      {"", true, 0},
      {" \n", true, 0},
      {"{\"a\"", true, 0},
      {"{\"a\"", false, 4},
      {"a <", true, 2},
      {"a <tool_cal", true, 2},
      {"a <tool_x", true, 9},
      {"a <tool_call>{", true, 2},
      {"a [", true, 2},
      {"a [TOOL_CALLS] x", true, 2},
      {" \n", false, 2},
  };
  for (const auto& [text, begins, from] : rows) EXPECT_EQ(calls_may_begin(text, begins), from) << text;
}

}  // namespace
}  // namespace sedge::platform
