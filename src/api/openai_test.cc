#include "api/openai.h"

#include <string>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "api/guard.h"
#include "base/json.h"

namespace sedge::api {
namespace {

CompletionRequest parsed(Kind kind, std::string_view body, RequestContext context = {}) {
  auto request = parse_completion(kind, body, context);
  EXPECT_TRUE(request) << (request ? "" : request.error().message);
  return request ? *request : CompletionRequest{};
}

ApiError refusal(Kind kind, std::string_view body, RequestContext context = {}) {
  auto request = parse_completion(kind, body, context);
  EXPECT_FALSE(request) << body;
  return request ? ApiError{.status = 0} : request.error();
}

json::Value json_of(std::string_view text) { return *json::parse(text, "test"); }

// The JSON objects of a stream, and "[DONE]" as a string.
std::vector<json::Value> events_of(std::string_view stream) {
  std::vector<json::Value> events;
  while (!stream.empty()) {
    const auto end = stream.find("\n\n");
    EXPECT_TRUE(stream.starts_with("data: "));
    EXPECT_NE(end, std::string_view::npos);
    const std::string_view data = stream.substr(6, end - 6);
    events.push_back(data == "[DONE]" ? json::Value("[DONE]") : json_of(data));
    stream.remove_prefix(end + 2);
  }
  return events;
}

node::TaskResult answered(std::string text) {
  node::TaskResult result;
  result.outcome = node::Outcome::kAnswered;
  result.text = std::move(text);
  result.tokens = {5, 6, 7, -1};
  result.stopped = true;
  result.attempts = 1;
  result.deadline_met = true;
  result.prompt_tokens = 4;
  result.served_by.bytes[0] = 0xab;
  return result;
}

const AnswerHead kChatHead{.kind = Kind::kChat, .created = 1700000000, .model = "heron"};
const AnswerHead kTextHead{.kind = Kind::kCompletion, .created = 1700000000, .model = "heron"};

TEST(OpenAi, a_completion_request_becomes_a_task) {
  const auto request = parsed(Kind::kCompletion, R"({"model": "heron", "prompt": "scout two, ", "max_tokens": 12,
      "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "seed": -1,
      "stop": ["\n", "END"], "deadline_ms": 250.5, "fallback": "hold", "stream": true,
      "stream_options": {"include_usage": true}})");
  const wire::TaskSpec& spec = request.task.spec;
  EXPECT_EQ(spec.model, "heron");
  EXPECT_EQ(spec.prompt, "scout two, ");
  EXPECT_TRUE(spec.turns.empty());
  EXPECT_EQ(spec.tokens_max, 12u);
  EXPECT_EQ(spec.stops, (std::vector<std::string>{"\n", "END"}));
  EXPECT_EQ(spec.sampling, (env::Sampling{0.5, 40, 0.9, 0.05, 1.1, ~0ull}));
  EXPECT_EQ(request.task.deadline, std::optional<Duration>(250500us));
  EXPECT_EQ(request.task.fallback, "hold");
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.include_usage);
}

TEST(OpenAi, a_chat_request_becomes_turns) {
  const auto request = parsed(Kind::kChat, R"({"model": "m", "max_completion_tokens": 3, "messages": [
      {"role": "developer", "content": "be brief"},
      {"role": "user", "content": [{"type": "text", "text": "land "}, {"type": "text", "text": "now"}]},
      {"role": "assistant", "content": "ok"}]})");
  const std::vector<env::ChatTurn> turns = {{"system", "be brief"}, {"user", "land now"}, {"assistant", "ok"}};
  EXPECT_EQ(request.task.spec.turns, turns);
  EXPECT_EQ(request.task.spec.tokens_max, 3u);
}

TEST(OpenAi, what_a_client_leaves_out_or_sets_to_null_has_openais_defaults) {
  const char* const silent = R"({"model": "m", "prompt": ""})";
  const char* const neutral = R"({"model": "m", "prompt": [""], "stop": null, "seed": null, "temperature": null,
      "n": 1, "stream": false, "logprobs": null, "tools": [], "response_format": {"type": "text"}})";
  for (const char* body : {silent, neutral}) {
    const auto request = parsed(Kind::kCompletion, body, {.seed = 99});
    EXPECT_EQ(request.task.spec.sampling, (env::Sampling{.temperature = 1, .seed = 99}));
    EXPECT_FALSE(request.task.deadline);
    EXPECT_FALSE(request.task.fallback);
    EXPECT_FALSE(request.stream);
  }
}

TEST(OpenAi, the_deadline_may_come_in_a_header_and_the_body_wins) {
  const std::string body = R"({"model": "m", "prompt": "p")";
  EXPECT_EQ(parsed(Kind::kCompletion, body + "}", {.deadline_header = "300"}).task.deadline,
            std::optional<Duration>(300ms));
  EXPECT_EQ(parsed(Kind::kCompletion, body + R"(, "deadline_ms": 40})", {.deadline_header = "300"}).task.deadline,
            std::optional<Duration>(40ms));
  for (const char* wrong : {"soon", "0", "-5", "1e99", "nan", "30 ms"}) {
    EXPECT_EQ(refusal(Kind::kCompletion, body + "}", {.deadline_header = wrong}).param, "X-Sedge-Deadline-Ms") << wrong;
  }
}

TEST(OpenAi, a_wrong_field_is_refused_by_name) {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({"prompt": "p"})", "model"},
      {R"({"model": 5, "prompt": "p"})", "model"},
      {R"({"model": "m"})", "prompt"},
      {R"({"model": "m", "prompt": ["a", "b"]})", "prompt"},
      {R"({"model": "m", "prompt": [1, 2]})", "prompt"},
      {R"({"model": "m", "prompt": "p", "max_tokens": 0})", "max_tokens"},
      {R"({"model": "m", "prompt": "p", "max_tokens": 1.5})", "max_tokens"},
      {R"({"model": "m", "prompt": "p", "max_tokens": 1e300})", "max_tokens"},
      {R"({"model": "m", "prompt": "p", "temperature": "hot"})", "temperature"},
      {R"({"model": "m", "prompt": "p", "temperature": 2.5})", "temperature"},
      {R"({"model": "m", "prompt": "p", "top_p": -0.1})", "top_p"},
      {R"({"model": "m", "prompt": "p", "seed": 1.5})", "seed"},
      {R"({"model": "m", "prompt": "p", "stop": [""]})", "stop"},
      {R"({"model": "m", "prompt": "p", "stop": {"a": 1}})", "stop"},
      {R"({"model": "m", "prompt": "p", "stream": 1})", "stream"},
      {R"({"model": "m", "prompt": "p", "stream_options": {}})", "stream_options"},
      {R"({"model": "m", "prompt": "p", "deadline_ms": 0})", "deadline_ms"},
      {R"({"model": "m", "prompt": "p", "fallback": 1})", "fallback"},
      {R"({"model": "m", "prompt": "p", "n": 2})", "n"},
      {R"({"model": "m", "prompt": "p", "tools": [{}]})", "tools"},
      {R"({"model": "m", "prompt": "p", "tool_choice": "required"})", "tool_choice"},
      {R"({"model": "m", "prompt": "p", "logprobs": 6})", "logprobs"},
      {R"({"model": "m", "prompt": "p", "presence_penalty": 2.5})", "presence_penalty"},
      {R"({"model": "m", "prompt": "p", "logit_bias": {"a": 1}})", "logit_bias"},
      {R"({"model": "m", "prompt": "p", "logit_bias": {"5": 101}})", "logit_bias"},
      {R"({"model": "m", "prompt": "p", "logit_bias": [1]})", "logit_bias"},
      {R"({"model": "m", "prompt": "p", "response_format": {"type": "xml"}})", "response_format"},
      {R"({"model": "m", "prompt": "p", "response_format": {"type": "json_schema"}})",
       "response_format.json_schema.schema"},
      {R"({"model": "m", "prompt": "p", "grammar": 3})", "grammar"},
      {R"({"model": "m", "prompt": "p", "grammar": "root ::= \"a\"", "response_format": {"type": "json_object"}})",
       "grammar"},
  };
  for (const auto& [body, param] : wrong) {
    const ApiError error = refusal(Kind::kCompletion, body);
    EXPECT_EQ(error.status, 400u) << body;
    EXPECT_EQ(error.type, "invalid_request_error") << body;
    EXPECT_EQ(error.param, param) << body;
  }
  const std::pair<const char*, const char*> wrong_chats[] = {
      {R"({"model": "m", "messages": []})", "messages"},
      {R"({"model": "m", "messages": "hi"})", "messages"},
      {R"({"model": "m", "messages": [7]})", "messages[0]"},
      {R"({"model": "m", "messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]})",
       "messages[1].tool_call_id"},
      {R"({"model": "m", "messages": [{"role": "user"}]})", "messages[0].content"},
      {R"({"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "messages[0].content"},
      {R"({"model": "m", "messages": [{"role": "robot", "content": "a"}]})", "messages[0].role"},
  };
  for (const auto& [body, param] : wrong_chats) EXPECT_EQ(refusal(Kind::kChat, body).param, param) << body;
}

constexpr const char* kTools = R"("tools": [{"type": "function", "function": {"name": "go_to", "description": "Drive.",
    "parameters": {"type": "object", "properties": {"place": {"enum": ["dock", "field"]}}, "required": ["place"]}}},
    {"type": "function", "function": {"name": "wait"}}])";

std::string chat_with(std::string_view members, std::string_view messages = R"([{"role": "user", "content": "a"}])") {
  return fmt::format(R"({{"model": "m", "messages": {}, {}}})", messages, members);
}

TEST(OpenAi, tools_go_in_front_of_the_turns) {
  const auto turn_of = [](std::string_view more) {
    const auto request = parsed(Kind::kChat, chat_with(std::string(kTools) + std::string(more)));
    EXPECT_EQ(request.functions, (std::vector<std::string>{"go_to", "wait"}));
    const auto& turns = request.task.spec.turns;
    EXPECT_EQ(turns.size(), 2u);
    EXPECT_EQ(turns[0].role, "");
    EXPECT_EQ(turns[1], (env::ChatTurn{"user", "a"}));
    return json_of(turns[0].content);
  };
  const json::Value plain = turn_of("");
  EXPECT_EQ(plain.at("tools"), json_of("{" + std::string(kTools) + "}").at("tools")) << "as the client gave them";
  EXPECT_EQ(plain.at("required"), false);
  EXPECT_EQ(plain.at("parallel"), true);
  EXPECT_EQ(turn_of(R"(, "tool_choice": "auto", "parallel_tool_calls": false)").at("parallel"), false);
  EXPECT_EQ(turn_of(R"(, "tool_choice": "required")").at("required"), true);
  const json::Value named = turn_of(R"(, "tool_choice": {"type": "function", "function": {"name": "wait"}})");
  EXPECT_EQ(named.at("required"), true);
  EXPECT_EQ(named.at("parallel"), false);
  EXPECT_EQ(named.at("function"), "wait");
  const auto none = parsed(Kind::kChat, chat_with(std::string(kTools) + R"(, "tool_choice": "none")"));
  EXPECT_TRUE(none.functions.empty());
  EXPECT_EQ(none.task.spec.turns.size(), 1u);
}

TEST(OpenAi, calls_that_were_made_and_what_they_gave_are_turns_with_all_that_a_template_may_ask) {
  const auto turns = parsed(Kind::kChat, chat_with(R"("seed": 1)", R"([{"role": "user", "content": "a"},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function",
       "function": {"arguments": "{\"place\": \"dock\", \"n\": 0.5}", "name": "go_to"}}]},
      {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "there"}]}])"))
                         .task.spec.turns;
  ASSERT_EQ(turns.size(), 3u);
  EXPECT_EQ(turns[1].role, "");
  EXPECT_EQ(json_of(turns[1].content), json_of(R"({"role": "assistant", "content": "", "tool_calls": [{"id": "c1",
      "type": "function", "function": {"name": "go_to", "arguments": {"place": "dock", "n": 0.5}}}]})"));
  EXPECT_EQ(json_of(turns[2].content),
            json_of(R"({"role": "tool", "content": "there", "tool_call_id": "c1", "name": "go_to"})"));
}

TEST(OpenAi, what_is_wrong_with_tools_is_refused_by_place) {
  const auto tool = [](std::string_view function) {
    return fmt::format(R"("tools": [{{"type": "function", "function": {}}}])", function);
  };
  std::string many = tool(R"({"name": "f0"})");
  for (int i = 1; i <= 128; ++i)
    many.insert(many.size() - 1, fmt::format(R"(, {{"type": "function", "function": {{"name": "f{}"}}}})", i));
  const std::pair<std::string, const char*> wrong[] = {
      {R"("tools": {})", "tools"},
      {R"("tools": [{"type": "function"}])", "tools[0].function"},
      {R"("tools": [{"type": "retrieval"}])", "tools[0]"},
      {tool("{}"), "tools[0].function.name"},
      {tool(R"({"name": "go to"})"), "tools[0].function.name"},
      {tool(R"({"name": ")" + std::string(65, 'a') + "\"}"), "tools[0].function.name"},
      {tool(R"({"name": "a", "description": 1})"), "tools[0].function.description"},
      {tool(R"({"name": "a", "parameters": []})"), "tools[0].function.parameters"},
      {tool(R"({"name": "a", "parameters": {"type": "string"}})"), "tools[0].function.parameters"},
      {R"("tools": [{"type": "function", "function": {"name": "a"}}, {"type": "function", "function": {"name": "a"}}])",
       "tools[1].function.name"},
      {tool(R"({"name": "a", "description": ")" + std::string(130u << 10, 'x') + "\"}"), "tools"},
      {many, "tools"},
      {R"("tool_choice": "required")", "tool_choice"},
      {R"("tool_choice": {"type": "function", "function": {"name": "a"}})", "tool_choice"},
      {tool(R"({"name": "a"})") + R"(, "tool_choice": {"type": "function", "function": {"name": "b"}})", "tool_choice"},
      {tool(R"({"name": "a"})") + R"(, "tool_choice": "sometimes")", "tool_choice"},
      {tool(R"({"name": "a"})") + R"(, "parallel_tool_calls": 1)", "parallel_tool_calls"},
      {tool(R"({"name": "a"})") + R"(, "response_format": {"type": "json_object"})", "tools"},
      {R"("functions": [{"name": "a"}])", "functions"},
  };
  for (const auto& [members, param] : wrong)
    EXPECT_EQ(refusal(Kind::kChat, chat_with(members)).param, param) << members;
  const std::string user = R"([{"role": "user", "content": "a"}, )";
  const std::pair<const char*, const char*> wrong_messages[] = {
      {R"({"role": "assistant", "content": null}])", "messages[1].content"},
      {R"({"role": "assistant", "tool_calls": []}])", "messages[1].tool_calls"},
      {R"({"role": "assistant", "tool_calls": [{"id": "a"}]}])", "messages[1].tool_calls[0]"},
      {R"({"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}])",
       "messages[1].tool_calls[0].id"},
      {R"({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"arguments": "{}"}}]}])",
       "messages[1].tool_calls[0].function.name"},
      {R"({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "[1]"}}]}])",
       "messages[1].tool_calls[0].function.arguments"},
      {R"({"role": "tool", "content": "x", "tool_call_id": "of nobody"}])", "messages[1].tool_call_id"},
      {R"({"role": "tool", "tool_call_id": "a"}])", "messages[1].content"},
  };
  for (const auto& [messages, param] : wrong_messages) {
    EXPECT_EQ(refusal(Kind::kChat, chat_with(R"("seed": 1)", user + messages)).param, param) << messages;
  }
}

AnswerHead tools_head() {
  AnswerHead head = kChatHead;
  head.functions = {"go_to", "wait"};
  head.task.bytes.fill(0x5c);
  return head;
}

TEST(OpenAi, an_answer_that_is_calls_has_them_instead_of_text) {
  const auto result = answered(R"(<tool_call>{"name": "go_to", "arguments": {"place": "dock", "n": 1.50}}</tool_call>
      <tool_call>{"name": "wait", "arguments": {}}</tool_call>)");
  const auto body = json_of(completion_body(tools_head(), result));
  EXPECT_TRUE(body.at_pointer("/choices/0/message/content").is_null());
  EXPECT_EQ(body.at_pointer("/choices/0/finish_reason"), "tool_calls");
  EXPECT_EQ(body.at_pointer("/choices/0/message/tool_calls"),
            json_of(R"([{"id": "5c5c5c5c0", "type": "function", "function": {"name": "go_to",
                "arguments": "{\"place\": \"dock\", \"n\": 1.50}"}},
                {"id": "5c5c5c5c1", "type": "function", "function": {"name": "wait", "arguments": "{}"}}])"));
  AnswerHead one = tools_head();
  one.parallel_calls = false;
  EXPECT_EQ(json_of(completion_body(one, result)).at_pointer("/choices/0/message/tool_calls").get_array().size(), 1u);
  EXPECT_EQ(json_of(completion_body(kChatHead, result)).at_pointer("/choices/0/message/content"),
            json::Value(result.text))
      << "who offers no tools is told what the model said";
  const auto before = json_of(completion_body(tools_head(), answered("I go. " + result.text)));
  EXPECT_EQ(before.at_pointer("/choices/0/message/content"), "I go.");
  const auto text = json_of(completion_body(tools_head(), answered("hello <tool_call>")));
  EXPECT_EQ(text.at_pointer("/choices/0/message/content"), "hello <tool_call>");
  EXPECT_FALSE(text.at_pointer("/choices/0/message").get_object().contains("tool_calls"));
  EXPECT_EQ(text.at_pointer("/choices/0/finish_reason"), "stop");
  auto fallback = result;
  fallback.outcome = node::Outcome::kFallback;
  EXPECT_EQ(json_of(completion_body(tools_head(), fallback)).at_pointer("/choices/0/message/content"),
            json::Value(result.text));
}

// However the text is cut, a stream is its answer: the same content but for white space, the same calls.
TEST(OpenAi, a_stream_shows_text_at_once_and_calls_whole) {
  const std::string call = R"(<tool_call>{"name": "wait", "arguments": {"s": [1, "}"]}}</tool_call>)";
  for (const std::string& whole : {std::string("hello, <tool> <"), call, "I wait. " + call, "{\"a\": 1} " + call,
                                   std::string("[7]"), "x <tool_call> " + call, std::string(" ")}) {
    const auto result = answered(whole);
    const auto expected = json_of(completion_body(tools_head(), result)).at_pointer("/choices/0/message");
    for (std::size_t piece = 1; piece <= whole.size(); ++piece) {
      std::string unsent, content, arguments, name;
      bool shown = false, told_early = false;
      const auto show = [&](const std::string& text) { content += text, shown = shown || !text.empty(); };
      for (std::size_t at = 0; at < whole.size(); at += piece) {
        unsent += whole.substr(at, piece);
        show(take_text(tools_head(), unsent, shown, {}));
        told_early = told_early || content.contains("<tool_call>");
      }
      show(take_text(tools_head(), unsent, shown, result));
      EXPECT_FALSE(told_early) << whole;
      std::string finish;
      for (const json::Value& event : events_of(last_events(tools_head(), result, shown))) {
        if (!event.is_object()) continue;
        const json::Value choice = event.at_pointer("/choices/0");
        const auto* calls = choice.at("delta").get_object().if_contains("tool_calls");
        if (calls != nullptr) {
          const json::Object& function = calls->at(0).at("function").get_object();
          EXPECT_EQ(calls->at(0).at("index"), 0);
          EXPECT_EQ(calls->at(0).get_object().contains("id"), function.contains("name"));
          if (const auto* told = function.if_contains("name")) name = told->get_string();
          arguments += function.at("arguments").get_string();
        }
        if (choice.at("finish_reason").is_string()) finish = choice.at("finish_reason").get_string();
      }
      const auto* calls = expected.get_object().if_contains("tool_calls");
      EXPECT_EQ(finish, calls != nullptr ? "tool_calls" : "stop");
      EXPECT_EQ(name, calls != nullptr ? "wait" : "") << whole;
      EXPECT_EQ(arguments, calls != nullptr ? R"({"s": [1, "}"]})" : "") << whole;
      content = content.substr(0, calls != nullptr ? content.find_last_not_of(' ') + 1 : content.size());
      EXPECT_EQ(json::Value(content), expected.at("content").is_null() ? json::Value("") : expected.at("content"))
          << whole << " in pieces of " << piece;
    }
  }
}

TEST(OpenAi, what_the_answer_must_be_becomes_a_grammar_of_the_task) {
  const auto grammar_in = [](const char* member) {
    return parsed(Kind::kCompletion, fmt::format(R"({{"model": "m", "prompt": "p", {}}})", member)).task.spec.grammar;
  };
  EXPECT_EQ(grammar_in(R"("response_format": {"type": "text"})"), env::Grammar{});
  EXPECT_EQ(grammar_in(R"("response_format": {"type": "json_object"})"),
            (env::Grammar{env::GrammarKind::kJsonObject, ""}));
  EXPECT_EQ(grammar_in(R"("grammar": "root ::= \"a\"")"), (env::Grammar{env::GrammarKind::kGbnf, "root ::= \"a\""}));
  const auto schema = grammar_in(
      R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {"b": 1, "a": {"c": []}}}})");
  EXPECT_EQ(schema, (env::Grammar{env::GrammarKind::kJsonSchema, R"({"b":1,"a":{"c":[]}})"}))
      << "members keep their order";
  const std::string large(129u << 10, 'a');
  EXPECT_EQ(refusal(Kind::kCompletion, R"({"model": "m", "prompt": "p", "grammar": ")" + large + "\"}").param,
            "grammar");
}

TEST(OpenAi, penalties_biases_and_logprobs_travel_with_the_task) {
  const auto spec =
      parsed(Kind::kCompletion, R"({"model": "m", "prompt": "p", "frequency_penalty": 0.5, "presence_penalty": -1,
      "logit_bias": {"7": -100, "12": 2.5}, "logprobs": 3})")
          .task.spec;
  EXPECT_EQ(spec.sampling.frequency_penalty, 0.5);
  EXPECT_EQ(spec.sampling.presence_penalty, -1);
  EXPECT_EQ(spec.logit_bias, (std::vector<env::LogitBias>{{7, -100}, {12, 2.5}}));
  EXPECT_EQ(spec.logprobs, 4u);
  const std::string chat = R"({"model": "m", "messages": [{"role": "user", "content": "a"}], )";
  EXPECT_EQ(parsed(Kind::kChat, chat + R"("logprobs": true, "top_logprobs": 2})").task.spec.logprobs, 3u);
  EXPECT_EQ(parsed(Kind::kChat, chat + R"("logprobs": true})").task.spec.logprobs, 1u);
  EXPECT_EQ(parsed(Kind::kChat, chat + R"("logprobs": false, "top_logprobs": 0})").task.spec.logprobs, 0u);
  EXPECT_EQ(refusal(Kind::kChat, chat + R"("top_logprobs": 2})").param, "top_logprobs");
  EXPECT_EQ(refusal(Kind::kChat, chat + R"("logprobs": true, "top_logprobs": 21})").param, "top_logprobs");
}

TEST(OpenAi, logprobs_stand_beside_the_text_with_their_exact_bytes) {
  auto result = answered("a\xC3\xA9");
  result.logprobs = {{5, "a", {{5, "a", -0.5}, {9, "b", -1.5}}},
                     {6, "", {{6, "\xC3", -1}, {6, "\xC3", -1}}},
                     {7, "\xC3\xA9", {{7, "\xA9", -2}, {3, "\xE2\x82", -3}}},
                     {-1, "", {}}};
  const auto chat = json_of(completion_body(kChatHead, result));
  EXPECT_EQ(chat.at_pointer("/choices/0/logprobs/content").get_array().size(), 3u);
  EXPECT_EQ(chat.at_pointer("/choices/0/logprobs/content/0/token"), "a");
  EXPECT_EQ(chat.at_pointer("/choices/0/logprobs/content/0/logprob"), -0.5);
  EXPECT_EQ(chat.at_pointer("/choices/0/logprobs/content/0/top_logprobs/0/token"), "b");
  EXPECT_EQ(chat.at_pointer("/choices/0/logprobs/content/1/token"), "\xEF\xBF\xBD");
  EXPECT_EQ(chat.at_pointer("/choices/0/logprobs/content/1/bytes/0"), 0xC3);
  EXPECT_EQ(chat.at_pointer("/choices/0/logprobs/content/2/top_logprobs/0/token"), "\xEF\xBF\xBD\xEF\xBF\xBD");
  const auto text = json_of(completion_body(kTextHead, result));
  EXPECT_EQ(text.at_pointer("/choices/0/logprobs/token_logprobs/2"), -2.0);
  EXPECT_EQ(text.at_pointer("/choices/0/logprobs/top_logprobs/0/b"), -1.5);
  EXPECT_EQ(text.at_pointer("/choices/0/logprobs/text_offset/2"), 1);
  const auto event = events_of(text_event(kChatHead, "a", std::span(result.logprobs).first(1)));
  EXPECT_EQ(event[0].at_pointer("/choices/0/logprobs/content/0/token"), "a");
  EXPECT_TRUE(events_of(text_event(kChatHead, "a"))[0].at_pointer("/choices/0/logprobs").is_null());
}

TEST(OpenAi, a_prompt_that_no_frame_between_nodes_could_carry_is_refused) {
  const std::string large(600u << 10, 'a');
  EXPECT_EQ(refusal(Kind::kCompletion, R"({"model": "m", "prompt": ")" + large + "\"}").param, "prompt");
  EXPECT_EQ(
      refusal(Kind::kChat, R"({"model": "m", "messages": [{"role": "user", "content": ")" + large + "\"}]}").param,
      "messages");
}

TEST(OpenAi, any_bytes_are_a_request_or_a_400) {
  EXPECT_TRUE(rc::check([](const std::string& noise) {
    const std::string base =
        R"({"model": "m", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": "c",
            "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c",
            "content": "b"}], "stop": "x", "seed": 3, "tools": [{"type": "function", "function": {"name": "f"}}]})";
    RC_ASSERT(parse_completion(Kind::kChat, base, {}).has_value());
    std::string body = base;
    const auto at = *rc::gen::inRange<std::size_t>(0, base.size());
    body.replace(at, std::min(noise.size(), base.size() - at), noise);
    for (const Kind kind : {Kind::kChat, Kind::kCompletion}) {
      const auto request = parse_completion(kind, body, {.deadline_header = noise, .trace = noise});
      RC_ASSERT(request || request.error().status == 400u);
      if (!request) RC_ASSERT(json::parse(error_body(request.error()), "error").has_value());
    }
  }));
}

TEST(OpenAi, an_answer_carries_text_usage_and_who_served) {
  const auto text = json_of(completion_body(kTextHead, answered("a tale")));
  EXPECT_EQ(text.at("object"), "text_completion");
  EXPECT_EQ(text.at_pointer("/choices/0/text"), "a tale");
  EXPECT_EQ(text.at_pointer("/choices/0/finish_reason"), "stop");
  EXPECT_EQ(text.at_pointer("/usage/prompt_tokens"), 4);
  EXPECT_EQ(text.at_pointer("/usage/completion_tokens"), 3) << "a flush is no token";
  EXPECT_EQ(text.at_pointer("/usage/total_tokens"), 7);
  EXPECT_EQ(text.at_pointer("/sedge/outcome"), "answered");
  EXPECT_EQ(text.at_pointer("/sedge/deadline_met"), true);
  EXPECT_EQ(text.at_pointer("/sedge/served_by"), "ab000000000000000000000000000000");

  auto cut = answered("long");
  cut.stopped = false;
  const auto chat = json_of(completion_body(kChatHead, cut));
  EXPECT_EQ(chat.at("object"), "chat.completion");
  EXPECT_EQ(chat.at_pointer("/choices/0/message/role"), "assistant");
  EXPECT_EQ(chat.at_pointer("/choices/0/message/content"), "long");
  EXPECT_EQ(chat.at_pointer("/choices/0/finish_reason"), "length");
}

TEST(OpenAi, a_chat_stream_is_role_then_text_then_end_then_usage) {
  AnswerHead head = kChatHead;
  head.include_usage = true;
  const auto result = answered("land");
  const auto events =
      events_of(first_event(head) + text_event(head, "la") + text_event(head, "nd") + last_events(head, result, true));
  ASSERT_EQ(events.size(), 6u);
  EXPECT_EQ(events[0].at_pointer("/choices/0/delta/role"), "assistant");
  EXPECT_EQ(events[1].at_pointer("/choices/0/delta/content"), "la");
  EXPECT_TRUE(events[1].at("usage").is_null());
  EXPECT_TRUE(events[2].at_pointer("/choices/0/finish_reason").is_null());
  EXPECT_EQ(events[3].at_pointer("/choices/0/finish_reason"), "stop");
  EXPECT_TRUE(events[3].at_pointer("/choices/0/delta").get_object().empty());
  EXPECT_EQ(events[3].at_pointer("/sedge/attempts"), 1);
  EXPECT_TRUE(events[4].at("choices").get_array().empty());
  EXPECT_EQ(events[4].at_pointer("/usage/total_tokens"), 7);
  EXPECT_EQ(events[5], "[DONE]");
}

TEST(OpenAi, a_fallback_is_the_answer_only_where_no_text_of_the_model_stands) {
  auto late = answered("hold position");
  late.outcome = node::Outcome::kFallback;
  late.reason = "the deadline passed";
  late.deadline_met = false;
  EXPECT_FALSE(error_of(late, false));
  const auto before = events_of(last_events(kTextHead, late, false));
  ASSERT_EQ(before.size(), 3u);
  EXPECT_EQ(before[0].at_pointer("/choices/0/text"), "hold position");
  EXPECT_EQ(before[1].at_pointer("/sedge/outcome"), "fallback");
  EXPECT_EQ(before[1].at_pointer("/sedge/deadline_met"), false);
  EXPECT_EQ(before[1].at_pointer("/choices/0/finish_reason"), "stop");
  const auto amid = events_of(last_events(kTextHead, late, true));
  ASSERT_EQ(amid.size(), 2u);
  EXPECT_EQ(amid[0].at_pointer("/choices/0/text"), "");
  EXPECT_EQ(amid[0].at_pointer("/choices/0/finish_reason"), "length");
  EXPECT_EQ(amid[0].at_pointer("/sedge/fallback"), "hold position");
}

TEST(OpenAi, each_way_to_fail_has_its_status) {
  const std::tuple<node::Outcome, bool, unsigned, const char*> ways[] = {
      {node::Outcome::kRefused, false, 429, "rate_limit_error"},
      {node::Outcome::kDeadlineExceeded, false, 504, "timeout_error"},
      {node::Outcome::kFailed, false, 500, "server_error"},
      {node::Outcome::kFailed, true, 503, "server_error"},
      {node::Outcome::kFailed, false, 400, "invalid_request_error"},
      {node::Outcome::kFailed, false, 503, "server_error"},
  };
  for (const auto& [outcome, leaving, status, type] : ways) {
    node::TaskResult result;
    result.outcome = outcome;
    result.reason = "why \"it\" failed";
    result.retry_after = 1500ms;
    if (status == 400) result.code = Code::kInvalidArgument;
    if (status == 503) result.code = Code::kResourceExhausted;
    const auto error = error_of(result, leaving);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->status, status);
    EXPECT_EQ(error->type, type);
    EXPECT_EQ(error->retry_after.has_value(), status == 429);
    const auto body = json_of(error_body(*error));
    EXPECT_EQ(body.at_pointer("/error/type"), type);
    EXPECT_TRUE(body.at_pointer("/error/param").is_null());
    EXPECT_EQ(body.at_pointer("/error/message") == "why \"it\" failed", !leaving);
  }
}

TEST(Guard, a_request_must_name_this_machine_and_come_from_a_page_of_it) {
  const auto local = env::Endpoint::v4(127, 0, 0, 1, 7335);
  const auto status = [&](const Caller& caller, std::string_view token = "") {
    const auto error = check_caller(caller, token, local);
    return error ? error->status : 200u;
  };
  for (const char* host : {"localhost", "LOCALHOST:7335", "127.0.0.1", "127.0.0.1:80", "[::1]:7335"}) {
    EXPECT_EQ(status({.host = host}), 200u) << host;
  }
  for (const char* host : {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.7:7335",
                           "[::2]", "::1", "[", ":7335", " "}) {
    EXPECT_EQ(status({.host = host}), 403u) << host;
  }
  EXPECT_EQ(status({}), 400u);
  EXPECT_EQ(status({.host = "localhost", .origin = "http://localhost:5173"}), 200u);
  for (const char* origin : {"https://evil.example", "null", "http://", "localhost", "http://127.0.0.1@evil.example"}) {
    EXPECT_EQ(status({.host = "localhost", .origin = origin}), 403u) << origin;
  }
}

TEST(Guard, a_token_is_proved_whole_and_then_any_host_name_will_do) {
  const auto local = env::Endpoint::v4(192, 168, 1, 7, 7335);
  const auto status = [&](std::string_view authorization) {
    const auto error = check_caller({.host = "robot7.local", .authorization = authorization}, "s3cret", local);
    return error ? error->status : 200u;
  };
  EXPECT_EQ(status("Bearer s3cret"), 200u);
  EXPECT_EQ(status("bearer s3cret"), 200u);
  for (const char* wrong : {"", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret"}) {
    EXPECT_EQ(status(wrong), 401u) << wrong;
  }
}

TEST(Guard, a_body_is_json_or_415) {
  EXPECT_FALSE(check_content_type("application/json"));
  EXPECT_FALSE(check_content_type("Application/JSON ; charset=utf-8"));
  for (const char* type : {"", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"}) {
    const auto error = check_content_type(type);
    ASSERT_TRUE(error) << type;
    EXPECT_EQ(error->status, 415u);
  }
}

}  // namespace
}  // namespace sedge::api
