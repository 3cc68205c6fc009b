#include "engine/grammar/call_grammar.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/grammar/testing.h"

namespace sedge::engine {
namespace {

constexpr CallForm kTagged = {"<call>\n", "\n</call>\n<call>\n", "\n</call>", "arguments"};
constexpr CallForm kBare = {"", "", "", "parameters"};

const std::string kPlace = R"({"type": "object", "properties": {"place": {"$ref": "#/$defs/p"}}, "required": ["place"],
    "$defs": {"p": {"enum": ["dock", "field"]}}})";
const std::string kWait = R"({"type": "object", "properties": {"s": {"type": "integer", "minimum": 1, "maximum": 9},
    "why": {"$ref": "#/$defs/p"}}, "required": ["s"], "$defs": {"p": {"type": "string", "maxLength": 3}}})";

std::vector<Callable> functions() {
  return {{"go_to", json::parse(kPlace, "schema").value()}, {"wait", json::parse(kWait, "schema").value()}};
}

bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Matcher matcher(grammar);
  return matcher.advance(text) && matcher.complete();
}

TEST(CallGrammar, a_text_that_must_be_calls_has_their_form_and_arguments_of_each_functions_own_schema) {
  const auto grammar = call_grammar(functions(), kTagged, {.calls_max = 2}).value();
  const std::string go = R"({"name": "go_to", "arguments": {"place": "dock"}})";
  const std::string wait = R"({"name": "wait", "arguments": {"s": 3, "why": "fog"}})";
  EXPECT_TRUE(matches(grammar, "<call>\n" + go + "\n</call>"));
  EXPECT_TRUE(matches(grammar, "<call>\n" + go + "\n</call>\n<call>\n" + wait + "\n</call>"));
  EXPECT_FALSE(
      matches(grammar, "<call>\n" + go + "\n</call>\n<call>\n" + wait + "\n</call>\n<call>\n" + go + "\n</call>"));
  for (const char* wrong :
       {"", "hello", "<call>\n{}\n</call>", "<call>\n{\"name\": \"land\", \"arguments\": {}}\n</call>",
        "<call>\n{\"name\": \"wait\", \"arguments\": {\"place\": \"dock\"}}\n</call>",
        "<call>\n{\"name\": \"go_to\", \"arguments\": {\"place\": \"fog\"}}\n</call>"}) {
    EXPECT_FALSE(matches(grammar, wrong)) << wrong;
  }
}

// Over texts of parts of the trigger: what is read as text has no trigger in it, and what has one is calls.
TEST(CallGrammar, a_text_is_free_until_a_call_begins_and_then_ends_as_calls) {
  const auto grammar = call_grammar(functions(), kTagged, {.calls_max = 2, .trigger = "<call>"}).value();
  const std::string call = "<call>\n{\"name\": \"go_to\", \"arguments\": {\"place\": \"dock\"}}\n</call>";
  EXPECT_TRUE(matches(grammar, ""));
  EXPECT_TRUE(matches(grammar, std::string(3000, 'x') + "\xC3\xA9 <<call <cal" + call)) << "text takes no stack";
  EXPECT_FALSE(matches(grammar, call + " and more"));
  const std::vector<std::string> parts = {"<", "<c", "<call", ">", "a", "l", "c", "call>", "\n", "\xC3\xA9", call};
  EXPECT_TRUE(rc::check([&] {
    std::string text;
    for (const auto& part : *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(parts))) text += part;
    const std::size_t at = text.find("<call>");
    const bool free = at == std::string::npos,
               called = !free && (text.substr(at) == call || text.substr(at) == call + "\n" + call);
    RC_ASSERT(matches(grammar, text) == (free || called));
  }));
}

TEST(CallGrammar, a_form_without_marks_holds_a_text_that_begins_as_a_call) {
  const auto grammar = call_grammar(functions(), kBare, {.trigger = "{\"name\"", .at_start = true}).value();
  for (const char* right : {"", "{", "{\"name", "hello {\"name\": 1}", "{\"n\": 1}", "{{\"name\"", "\xC3\xA9",
                            R"({"name": "wait", "parameters": {"s": 9}})"}) {
    EXPECT_TRUE(matches(grammar, right)) << right;
  }
  for (const char* wrong : {"{\"name\"", "{\"name\": \"land\"}", R"({"name": "wait", "parameters": {"s": 9}} so)"}) {
    EXPECT_FALSE(matches(grammar, wrong)) << wrong;
  }
}

TEST(CallGrammar, whatever_is_generated_satisfies_the_called_functions_schema) {
  const auto grammar = call_grammar(functions(), kBare, {}).value();
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Prng prng(seed);
    const auto text = random_text(grammar, prng);
    ASSERT_TRUE(text) << seed;
    const json::Value call = json::parse(*text, "call").value();
    const std::string schema = call.at("name") == "wait" ? kWait : kPlace;
    EXPECT_EQ(SchemaJudge(schema).complaint(json::write(call.at("parameters"))), "") << *text;
  }
}

TEST(CallGrammar, a_schema_that_cannot_be_held_to_is_named_with_its_function_and_place) {
  const Callable odd[] = {
      {"scan", json::parse(R"({"type": "object", "properties": {"a": {"not": {}}}})", "s").value()}};
  const auto refused = call_grammar(odd, kTagged, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "function 'scan': schema #/properties/a: 'not' is not supported");
}

}  // namespace
}  // namespace sedge::engine
