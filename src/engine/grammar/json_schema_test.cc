#include "engine/grammar/json_schema.h"

#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/grammar/json_text.h"
#include "engine/grammar/matcher.h"
#include "engine/grammar/regex.h"
#include "engine/grammar/testing.h"

namespace sedge::engine {
namespace {

bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Matcher matcher(grammar);
  return matcher.advance(text) && matcher.complete();
}

std::shared_ptr<const Grammar> grammar_of(std::string_view schema) {
  auto grammar = read_json_schema(schema);
  EXPECT_TRUE(grammar) << schema << ": " << (grammar ? "" : grammar.error().message);
  return grammar ? *grammar : json_object_grammar().value();
}

struct Case {
  const char* schema;
  std::vector<const char*> right, wrong;
};

const Case kCases[] = {
    {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}}, "required": ["a", "b"],
         "additionalProperties": false})",
     {R"({"a":1,"b":true})", R"({"a": -20, "b": false})", "{\n  \"a\": 0,\n  \"b\": true\n}"},
     {"{}", R"({"a":1})", R"({"b":true,"a":1})", R"({"a":1,"b":true,"c":1})", R"({"a":01,"b":true})",
      R"({"a":1.5,"b":true})"}},
    {R"({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}, "required": ["b"]})",
     {R"({"b":2})", R"({"a":1,"b":2})", R"({"b":2,"c":3})", R"({"a":1,"b":2,"c":3})"},
     {"{}", R"({"a":1})", R"({"a":1,"c":3})", R"({"b":2,})", R"({,"b":2})"}},
    {R"({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}})",
     {"{}", R"({"a":1})", R"({"b":2})", R"({"a":1,"b":2})"},
     {R"({"a":1 "b":2})", R"({"a":1,})"}},
    {R"({"type": "object", "properties": {"on": {"const": 1}}, "additionalProperties": {"type": "boolean"}})",
     {"{}", R"({"on":1})", R"({"on":1,"x":true})", R"({"o":true,"onn":false})", R"({"":true})"},
     {R"({"on":true})", R"({"x":1})", R"({"on":1,"on":true})", R"({"x":true,"on":1})"}},
    {R"({"type": "object"})",
     {"{}", R"({"a":[1,{"b":null}],"":"x\n"})"},
     {"[]", "1", R"({"a":})", R"({"a":"\uD800"})"}},
    {R"({"required": ["z"]})", {R"({"z":[]})"}, {"{}"}},
    {"true", {"null", "1e9", "[[]]", "\"\xC3\xA9\""}, {"nul", "\"\xC3\"", "\"\t\"", "1.", "+1", "[1,]"}},
    {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})",
     {"[1]", "[1,2]", "[1, 2, 3]"},
     {"[]", "[1,2,3,4]", "[true]"}},
    {R"({"type": "array", "items": {"const": 1}, "maxItems": 0})", {"[]"}, {"[1]"}},
    {R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 1, "maxItems": 4})",
     {"[1]", "[1,2]", "[1,2,3]", "[1,2,3,3]"},
     {"[]", "[2]", "[1,3]", "[1,2,3,3,3]"}},
    {R"({"prefixItems": [{"const": 1}, {"const": 2}], "items": false})", {"[]", "[1]", "[1,2]"}, {"[1,2,3]"}},
    {R"({"prefixItems": [{"const": 1}], "minItems": 2})", {"[1,0]", "[1,{},[]]"}, {"[1]"}},
    {R"({"enum": ["red", "é\"", 3, null, {"a": [1]}]})",
     {"\"red\"", "\"é\\\"\"", "3", "null", R"({"a":[1]})"},
     {"\"re\"", "4"}},
    {R"({"type": "string", "enum": ["x", 3]})", {"\"x\""}, {"3"}},
    {R"({"type": ["string", "null"], "maxLength": 2})",
     {"null", "\"\"", "\"ab\"", "\"\\n\\u00e9\"", "\"\xF0\x9F\x98\x80\xC3\xA9\""},
     {"\"abc\"", "1"}},
    {R"({"type": "string", "minLength": 2, "maxLength": 2})", {"\"ab\""}, {"\"a\"", "\"abc\""}},
    {R"({"pattern": "^[A-Z]{2}-\\d+(x|y)?$"})",
     {"\"AB-1\"", "\"AB-12y\""},
     {"\"A-1\"", "\"AB-\"", "\"AB-1z\"", "\" AB-1\""}},
    {R"({"pattern": "b\\.c"})", {"\"b.c\"", "\"ab.cd\""}, {"\"bc\"", "\"b\""}},
    {R"({"pattern": "^[\"\\\\\\n]$"})", {R"("\"")", R"("\\")", R"("\n")"}, {"\"\"\"", R"("n")"}},
    {R"({"pattern": "^a$|^b"})", {"\"a\"", "\"b\"", "\"bx\""}, {"\"ab\"", "\"ax\""}},
    {R"({"type": "integer", "minimum": -5, "maximum": 120})",
     {"-5", "-1", "0", "9", "99", "120"},
     {"-6", "-0", "121", "05", "1e1"}},
    {R"({"type": "integer", "exclusiveMinimum": 9, "exclusiveMaximum": 11.5})", {"10", "11"}, {"9", "12"}},
    {R"({"type": "integer", "maximum": -1})", {"-1", "-999999"}, {"0", "1"}},
    {R"({"type": "number", "minimum": 0, "maximum": 1})", {"0", "1", "0.5", "0.000"}, {"1.0", "1.1", "-0.1", "2"}},
    {R"({"type": "number", "exclusiveMinimum": 0, "maximum": 2})", {"0.5", "1", "1.9", "2"}, {"0", "0.0", "2.1", "-1"}},
    {R"({"type": "number", "minimum": -2, "maximum": 1})", {"-2", "-1.5", "-0.5", "0", "0.5", "1"}, {"-2.5", "1.5"}},
    {R"({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]})", {"1", "\"a\""}, {"\"ab\"", "null"}},
    {R"({"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"],
         "anyOf": [{"properties": {"a": {"const": 2}}, "required": ["a"]}, {"properties": {"b": {"const": 3}}}]})",
     {R"({"k":1,"a":2})", R"({"k":1})", R"({"k":1,"b":3})"},
     {R"({"a":2})"}},
    {R"({"oneOf": [{"type": "object", "properties": {"t": {"const": "x"}, "v": {"type": "null"}}, "required": ["t", "v"]},
                   {"type": "object", "properties": {"t": {"enum": ["y", "z"]}}, "required": ["t"]}, {"type": "null"}]})",
     {R"({"t":"x","v":null})", R"({"t":"z"})", "null"},
     {R"({"t":"x"})", "{}"}},
    {R"({"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"y": {"const": 2}}, "required": ["y"]}],
         "$defs": {"a": {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"]}}})",
     {R"({"x":1,"y":2})"},
     {R"({"x":1})", R"({"y":2})"}},
    {R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "required": ["leaf", "kids"], "properties": {
          "leaf": {"type": "boolean"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}}})",
     {R"({"leaf":true,"kids":[]})", R"({"leaf":true,"kids":[{"leaf":false,"kids":[]}]})"},
     {R"({"leaf":true,"kids":[{}]})"}},
    {R"({"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]})",
     {R"({"next":{"next":null}})"},
     {R"({"next":{}})"}},
    {R"({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}, "minProperties": 1, "maxProperties": 2})",
     {R"({"a":1})", R"({"b":2,"c":3})", R"({"c":3})"},
     {"{}", R"({"a":1,"b":2,"c":3})"}},
    {R"({"additionalProperties": {"const": 0}, "properties": {"a": true}, "minProperties": 2, "maxProperties": 3})",
     {R"({"a":1,"b":0})", R"({"x":0,"y":0,"z":0})"},
     {R"({"a":1})", R"({"x":0})", R"({"a":1,"x":0,"y":0,"z":0})"}},
    {R"({"$ref": "#/$defs/a", "required": ["y"], "$defs": {"a": {"properties": {"x": {"const": 1}, "y": {"const": 2}}}}})",
     {R"({"y":2})", R"({"x":1,"y":2})"},
     {"{}", R"({"x":1})"}},
    {R"({"allOf": [{"type": "integer", "minimum": 3}, {"minimum": 1, "maximum": 5}]})", {"3", "5"}, {"2", "6"}},
    {R"({"properties": {"do": {"enum": ["go", "stop"]}, "to": {"const": 1}, "by": {"const": 2}}, "required": ["do"], "oneOf": [
          {"properties": {"do": {"const": "go"}, "to": true}, "required": ["to"], "additionalProperties": false},
          {"properties": {"do": {"const": "stop"}, "by": true}, "additionalProperties": false}]})",
     {R"({"do":"go","to":1})", R"({"do":"stop"})", R"({"do":"stop","by":2})"},
     {R"({"do":"go"})", R"({"do":"go","to":1,"by":2})", R"({"do":"stop","to":1})"}},
    {R"({"type": "string", "format": "name"})", {"\"any\""}, {"any"}},
    {R"({"format": "date"})",
     {"\"2024-02-28\"", "\"1999-12-31\""},
     {"\"2024-02-30\"", "\"2024-13-01\"", "\"24-01-01\""}},
    {R"({"format": "date-time"})",
     {"\"2024-06-01T23:59:59Z\"", "\"2024-06-01T00:00:00.5+02:00\""},
     {"\"2024-06-01\"", "\"2024-06-01T24:00:00Z\""}},
    {R"({"format": "uuid"})", {"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"123e4567\""}},
    {R"({"format": "ipv4"})", {"\"127.0.0.255\""}, {"\"127.0.0.256\"", "\"1.2.3\""}},
    {R"({"format": "email"})",
     {"\"a.b@example.org\""},
     {"\"@example.org\"", "\"a\"", "\"a..b@x.org\"", "\"a.@x.org\""}},
    {R"({"properties": {"k": {"const": 1}}, "required": ["k"], "anyOf": [{"$ref": "#/$defs/a", "required": ["x"]}],
         "$defs": {"a": {"properties": {"k": true, "x": {"const": 2}, "y": {"const": 3}}}}})",
     {R"({"k":1,"x":2})", R"({"k":1,"x":2,"y":3})"},
     {R"({"k":1})", R"({"k":1,"y":3})", R"({"x":2})"}},
    {R"({"type": "integer", "minimum": 1700000000000000000})",
     {"1700000000000000000", "1700000000000000001", "9223372036854775806"},
     {"1000000000000000000", "1699999999999999999", "1", "-1700000000000000000"}},
    {R"({"type": "integer", "exclusiveMaximum": -9007199254740993, "minimum": -9007199254740995})",
     {"-9007199254740994", "-9007199254740995"},
     {"-9007199254740993", "-9007199254740996"}},
    {R"({"type": "integer", "exclusiveMinimum": 9223372036854775806})",
     {"9223372036854775807"},
     {"9223372036854775806"}},
    {R"({"type": "integer", "minimum": -9223372036854775808, "maximum": 18446744073709551615})",
     {"0", "-9223372036854775806", "9223372036854775806"},
     {"-9223372036854775809", "18446744073709551616"}},
    {R"({"type": "number", "minimum": 1700000000000000000})",
     {"1700000000000000000", "1700000000000000001"},
     {"1000000000000000000", "1699999999999999999.5"}},
    {R"({"type": "number", "exclusiveMinimum": 99, "exclusiveMaximum": 100})",
     {"99.000000000001", "99.999999999999"},
     {"99", "99.00000000000000001", "99.9999999999999999", "100", "99.0"}},
    {R"({"type": "number", "minimum": 1, "exclusiveMaximum": 100})",
     {"1", "1.000000000000001", "98.999999999999999", "99", "99.999999999999"},
     {"0.9", "99.9999999999999", "100.0"}},
    {R"({"allOf": [{"type": "integer", "minimum": 1700000000000000000}, {"minimum": 1700000000000000001}]})",
     {"1700000000000000001"},
     {"1700000000000000000"}},
    {R"({"enum": [0.5, -0.00125, 1e300, 2.0, {"x": [0.1]}, [], {}]})",
     {"0.5", "-0.00125", "1e+300", "2.0", R"({"x":[0.1]})", "[]", "{}"},
     {"5E-1", "0.50", "0", R"({"x":[1]})"}},
    {R"({"enum": ["", "a", "ab", "abc", "b", "a", "\u00e9", "\u00e8", 1, 12, 123]})",
     {"\"\"", "\"a\"", "\"ab\"", "\"abc\"", "\"b\"", "\"\xC3\xA9\"", "\"\xC3\xA8\"", "1", "12", "123"},
     {"\"abcd\"", "\"bc\"", "\"\xC3\"", "2", "1234", "\"a"}},
    {R"({"properties": {"a": {"const": 1}, "b": {"const": 2}}, "required": ["b", "z"], "additionalProperties": {"const": 0},
         "minProperties": 3, "maxProperties": 4})",
     {R"({"a":1,"b":2,"z":0})", R"({"b":2,"z":0,"y":0})", R"({"a":1,"b":2,"z":0,"y":0})",
      R"({"b":2,"z":0,"x":0,"y":0})"},
     {R"({"b":2,"z":0})", R"({"a":1,"b":2,"y":0})", R"({"a":1,"b":2,"z":0,"x":0,"y":0})", R"({"b":2,"z":1,"y":0})"}},
};

TEST(JsonSchema, allows_what_satisfies_it_and_nothing_else) {
  for (const auto& [schema, right, wrong] : kCases) {
    const auto grammar = grammar_of(schema);
    for (const char* text : right) EXPECT_TRUE(matches(grammar, text)) << schema << "\n" << text;
    for (const char* text : wrong) EXPECT_FALSE(matches(grammar, text)) << schema << "\n" << text;
    const SchemaJudge judge(schema);
    for (const char* text : right) EXPECT_EQ(judge.complaint(text), "") << schema << "\n" << text;
  }
}

TEST(JsonSchema, every_text_that_it_allows_satisfies_it) {
  Prng prng(11);
  std::size_t whole = 0;
  for (const Case& each : kCases) {
    const auto grammar = grammar_of(each.schema);
    const SchemaJudge judge(each.schema);
    for (int i = 0; i < 40; ++i) {
      const auto text = random_text(grammar, prng);
      ASSERT_TRUE(text) << each.schema;
      if (!matches(grammar, *text)) continue;  // cut at its length
      ++whole;
      ASSERT_EQ(judge.complaint(*text), "") << each.schema << "\n" << *text;
    }
  }
  EXPECT_GT(whole, std::size(kCases) * 30);
}

// heron's: alternatives by verb over members in common, each closed, with alternatives of their own.
TEST(JsonSchema, the_schema_of_actions_is_held_to) {
  std::ifstream file(SEDGE_SOURCE_DIR "/models/heron/action.schema.json");
  const std::string schema{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto grammar = grammar_of(schema);
  for (
      const char* right :
      {R"({"do":"search","who":"scout-2","at":"north field","alt":"20 m","on":[{"do":"call","to":"me","if":{"see":"smoke"}}]})",
       R"({"do":"goto","to":"barn","then":{"do":"land"}})"}) {
    EXPECT_TRUE(matches(grammar, right)) << right;
  }
  for (const char* wrong : {R"({"do":"goto"})", R"({"do":"search","speed":"fast"})", R"({"do":"fly"})",
                            R"({"do":"land","on":[{"do":"call","to":"me"}]})"}) {
    EXPECT_FALSE(matches(grammar, wrong)) << wrong;
  }
  const SchemaJudge judge(schema);
  Prng prng(8);
  for (int i = 0; i < 60; ++i) {
    const auto text = random_text(grammar, prng);
    ASSERT_TRUE(text);
    ASSERT_EQ(matches(grammar, *text) ? judge.complaint(*text) : "", "") << *text;
  }
}

TEST(JsonSchema, what_no_grammar_holds_to_is_refused_with_its_place) {
  const std::pair<const char*, const char*> wrong[] = {
      {"{", "offset"},
      {"7", "schema #: a schema is an object"},
      {"false", "nothing finite satisfies rule '#'"},
      {R"({"type": "text"})", "schema #: 'type'"},
      {R"({"properties": {"a": {"not": {}}}})", "schema #/properties/a: 'not' is not supported"},
      {R"({"items": {"uniqueItems": true}})", "schema #/items: 'uniqueItems'"},
      {R"({"type": "object", "patternProperties": {}})", "'patternProperties'"},
      {R"({"$ref": "#/$defs/none"})", "names nothing"},
      {R"({"$ref": "https://example.org/s"})", "names nothing"},
      {R"({"$defs": {"n": {"properties": {"x": {"$ref": "#/$defs/n", "required": ["x"]}}}}, "$ref": "#/$defs/n"})",
       "references in a circle"},
      {R"({"allOf": [{"$ref": "#"}]})", "references in a circle"},
      {R"({"properties": {"a": true}, "minProperties": 2})", "leave no object"},
      {R"({"allOf": [{"pattern": "a"}, {"pattern": "b"}]})", "two different 'pattern'"},
      {R"({"$ref": "#"})", "comes back to itself"},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", "comes back to itself"},
      {R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "nothing finite"},
      {R"({"oneOf": [{"type": "string"}, {"maxLength": 3}]})", "schema #/oneOf/1: it cannot be told"},
      {R"({"enum": [1], "minimum": 3})", "'minimum' beside 'enum'"},
      {R"({"enum": []})", "nothing finite"},
      {R"({"minLength": 5, "maxLength": 4})", "'maxLength' is below"},
      {R"({"minLength": -1})", "'minLength' is a whole number"},
      {R"g({"pattern": "(?=x)"})g", "looks around"},
      {R"({"pattern": "a\\b"})", "the escape \\b"},
      {R"({"pattern": "a^b"})", "an anchor within"},
      {R"({"pattern": "x", "minLength": 3})", "only one of"},
      {R"({"type": "number", "minimum": 0.5})", "must be whole"},
      {R"({"type": "integer", "minimum": 3, "maximum": 2})", "nothing finite"},
      {R"({"required": ["a"], "additionalProperties": false})", "nothing finite"},
      {R"({"minItems": 3, "maxItems": 2})", "no array has"},
      {R"({"type": "integer", "minimum": 18446744073709551615})", "schema #: 'minimum' is beyond what 64 bits hold"},
      {R"({"type": "number", "exclusiveMaximum": -1e30})", "'exclusiveMaximum' is beyond"},
      {R"({"allOf": [{"prefixItems": [{"type": "string"}]}, {"type": "array", "items": {"type": "integer"}}]})",
       "'prefixItems' and the 'items' of another schema"},
      {R"({"oneOf": [{"const": [{"a": 1}]}, {"const": [{"a": 1.0}]}]})", "schema #/oneOf/1: it cannot be told"},
      {R"({"oneOf": [{"type": ["object", "null"], "properties": {"k": {"const": 1}}, "required": ["k"]},
                     {"type": ["object", "null"], "properties": {"k": {"const": 2}}, "required": ["k"]}]})",
       "schema #/oneOf/1: it cannot be told"},
      {R"({"$defs": {"a": {"properties": {"k": {"const": 1}}, "required": ["k"]}}, "oneOf": [{"$ref": "#/$defs/a",
           "type": ["object", "null"]}, {"properties": {"k": {"const": 2}}, "required": ["k"]}]})",
       "schema #/oneOf/1: it cannot be told"},
  };
  for (const auto& [schema, why] : wrong) {
    const auto grammar = read_json_schema(schema);
    ASSERT_FALSE(grammar) << schema;
    EXPECT_NE(grammar.error().message.find(why), std::string::npos) << schema << ": " << grammar.error().message;
  }
}

TEST(JsonSchema, a_small_schema_cannot_ask_for_endless_work) {
  std::string many = R"({"$defs": {"e": {"enum": [)";
  for (int i = 0; i < 8000; ++i) many += fmt::format("{},", i);
  many += R"(0]}}, "oneOf": [)";
  for (int i = 0; i < 200; ++i) many += R"({"$ref": "#/$defs/e"},)";
  EXPECT_FALSE(read_json_schema(many + "true]}"));
  std::string copies = R"({"$defs": {"big": {"properties": {)";
  for (int i = 0; i < 3000; ++i) copies += fmt::format("\"p{}\": true,", i);
  copies += R"("z": true}}}, "allOf": [)";
  for (int i = 0; i < 2000; ++i) copies += R"({"$ref": "#/$defs/big"},)";
  EXPECT_NE(read_json_schema(copies + "{}]}").error().message.find("too large"), std::string::npos);
  std::string twice = "true";  // what `additionalProperties` says, for a name and for all others
  for (int i = 0; i < 40; ++i) twice = fmt::format(R"({{"required": ["x"], "additionalProperties": {}}})", twice);
  EXPECT_TRUE(read_json_schema(twice));
  std::string small = R"({"type": "object", "properties": {")" + std::string(50'000, 'n') + R"(": {"prefixItems": [)";
  for (int i = 0; i < 20'000; ++i) small += "{},";
  EXPECT_NE(read_json_schema(small + "{}]}}}").error().message.find("too many rules"), std::string::npos);
  std::string apart = R"({"type": "object", "properties": {)", names;  // told by the last of what all require
  for (int i = 0; i < 240; ++i) apart += fmt::format(R"("p{}": true,)", i), names += fmt::format("\"p{}\",", i);
  apart += R"("z": true}, "required": [)" + names + R"("z"], "oneOf": [)";
  for (int i = 0; i < 250; ++i)
    apart += fmt::format(R"({}{{"properties": {{"z": {{"const": {}}}}}}})", i ? "," : "", i);
  EXPECT_NE(read_json_schema(apart + "]}").error().message.find("cannot be told"), std::string::npos);
  EXPECT_FALSE(read_json_schema(R"({"maxLength": 65536, "minLength": 65536, "pattern": "x"})"));
  EXPECT_FALSE(read_json_schema(R"({"items": {"items": {"maxItems": 60000}, "maxItems": 60000}, "maxItems": 60000})"));
}

TEST(JsonSchema, thousands_of_listed_values_or_optional_members_leave_a_way_on_everywhere) {
  std::string listed = R"({"enum": [)", members = R"({"type": "object", "properties": {)";
  for (int i = 0; i < 9000; ++i) listed += fmt::format("\"x{}\",", i * 7);
  for (int i = 0; i < 1999; ++i) members += fmt::format(R"("p{}": {{"const": {}}},)", i, i);
  for (const std::string& schema : {listed + "0]}", members + R"("q": true}})"}) {
    const auto grammar = grammar_of(schema);
    const SchemaJudge judge(schema);
    Prng prng(2);
    for (int i = 0; i < 3; ++i) {
      const auto text = random_text(grammar, prng);
      ASSERT_TRUE(text);
      EXPECT_EQ(matches(grammar, *text) ? judge.complaint(*text) : "", "") << *text;
    }
    Matcher matcher(grammar);
    for (const char* begun : {"\"x6", "{\"p1998\":1998", "{\"p0\": 0, \"p"}) (void)matcher.accepts(begun);
    EXPECT_FALSE(matcher.gave_up());
  }
  EXPECT_TRUE(matches(grammar_of(members + R"("q": true}})"), R"({"p3":3, "p1998":1998, "q":{}})"));
  EXPECT_NE(read_json_schema(members + R"("q": true, "r": true}})").error().message.find("at most 2000"),
            std::string::npos);
}

TEST(JsonText, whole_numbers_are_those_between_the_bounds) {
  EXPECT_TRUE(rc::check([] {
    const auto bound = [] { return *rc::gen::inRange<std::int64_t>(-1200, 1200); };
    std::int64_t low = bound(), high = bound();
    if (low > high) std::swap(low, high);
    GrammarBuilder builder;
    JsonText text(builder);
    const auto root = builder.declare("root");
    builder.define(root, text.integer(low, high));
    const auto grammar = builder.build().value();
    for (std::int64_t n = low - 40; n <= high + 40; n += 1 + (n - low + 700) % 7 / 3) {
      RC_ASSERT(matches(grammar, fmt::format("{}", n)) == (n >= low && n <= high));
    }
    for (const std::int64_t n : {low - 1, low, high, high + 1}) {
      RC_ASSERT(matches(grammar, fmt::format("{}", n)) == (n >= low && n <= high));
    }
  }));
}

TEST(Regex, matches_what_the_standard_librarys_matches) {
  static constexpr const char* kPatterns[] = {"^a(b|cd)*e?$",
                                              "^[^a-c]+$",
                                              "ab{2,3}c",
                                              "^\\w+@\\d{1,2}$",
                                              "^(?:a|ab)(?:c|bcd)$",
                                              "^a.c$",
                                              "^\\s*x\\S+$",
                                              "a$|^b",
                                              "^(a*)*b$",
                                              "^[\\d\\-x]+?$",
                                              ""};
  for (const char* pattern : kPatterns) {
    GrammarBuilder builder;
    const auto root = builder.declare("root");
    const auto expr = read_regex(pattern, builder, [&](const CodeSet& set) { return builder.characters(set); });
    ASSERT_TRUE(expr) << pattern;
    builder.define(root, *expr);
    const auto grammar = builder.build().value();
    const std::regex theirs(pattern, std::regex::ECMAScript);
    EXPECT_TRUE(rc::check([&] {
      const auto text = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("abcdex@1 -\n")));
      RC_ASSERT(matches(grammar, text) == std::regex_search(text, theirs));
    })) << pattern;
  }
}

TEST(JsonSchema, any_text_is_a_grammar_or_an_error) {
  EXPECT_TRUE(rc::check([](const std::string& noise) {
    std::string text = kCases[*rc::gen::inRange<std::size_t>(0, std::size(kCases))].schema;
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    text.replace(at, std::min(noise.size(), text.size() - at), noise);
    if (const auto grammar = read_json_schema(text)) Matcher(*grammar).accepts("{\"a\":");
  }));
}

}  // namespace
}  // namespace sedge::engine
