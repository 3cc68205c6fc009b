#include "train/heron/schema.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::train::heron {
namespace {

Schema action_schema() { return Schema::load(SEDGE_SOURCE_DIR "/models/heron/action.schema.json").value(); }

std::string complaint(const Schema& schema, std::string_view text) {
  const Status status = schema.validate(json::parse(text, "action").value());
  return status ? "" : status.error().message;
}

TEST(Schema, a_good_action_passes_and_a_bad_one_says_where_and_why) {
  const Schema schema = action_schema();
  EXPECT_EQ(complaint(schema, R"({"do":"search","who":"scout-2","at":"north field","alt":"20 m",)"
                              R"("on":[{"do":"call","to":"me","if":{"see":"smoke"}}]})"),
            "");
  EXPECT_EQ(complaint(schema, R"({"do":"goto","to":"barn","then":{"do":"land","alt":"20 m"}})"),
            "$.then.alt: not allowed");
  EXPECT_EQ(complaint(schema, R"({"do":"goto","alt":"20 m"})"), "$: 'to' is missing");
  EXPECT_EQ(complaint(schema, R"({"do":"set","alt":"20"})"), "$.alt: \"20\" is none of [\"higher\",\"lower\"]");
  EXPECT_EQ(complaint(schema, R"({"do":"land","if":{"see":"fire","told":true}})"), "$.if: 2 members");
  EXPECT_EQ(complaint(schema, R"({"do":"land","on":[{"do":"stop"}]})"), "$.on[0]: 'if' is missing");
  EXPECT_NE(complaint(schema, R"({"do":"dance"})"), "");
  EXPECT_NE(complaint(schema, R"({"do":"search"})"), "");
  EXPECT_NE(complaint(schema, R"([1])"), "");
}

TEST(Schema, formats_are_strict) {
  for (const char* good : {"20 m", "1.5 km", "0 m", "+10 m", "-2.5 ft"})
    EXPECT_TRUE(has_format("length", good)) << good;
  for (const char* bad : {"", "20", "20m", "m", "020 m", "1. m", ".5 m", "20 m ", "20 M", "1234567 m"}) {
    EXPECT_FALSE(has_format("length", bad)) << bad;
  }
  EXPECT_TRUE(has_format("clock", "23:59"));
  EXPECT_FALSE(has_format("clock", "24:00"));
  EXPECT_FALSE(has_format("clock", "9:00"));
  EXPECT_TRUE(has_format("percent", "20%"));
  EXPECT_TRUE(has_format("agent", "scout-2"));
  EXPECT_FALSE(has_format("agent", "scout 2"));
  EXPECT_FALSE(has_format("name", "North field"));
  EXPECT_FALSE(has_format("name", "north  field"));
  EXPECT_FALSE(has_format("colour", "red"));
}

TEST(Schema, a_schema_with_what_we_do_not_know_is_refused) {
  EXPECT_EQ(Schema::parse(R"({"pattern": "a*"})", "s").error().message, "s#/pattern: is a keyword that we do not know");
  EXPECT_FALSE(Schema::parse(R"({"properties": {"a": {"format": "email"}}})", "s"));
  EXPECT_FALSE(Schema::parse(R"({"$ref": "#/$defs/nowhere"})", "s"));
  EXPECT_FALSE(Schema::parse(R"({"type": 1})", "s"));
  EXPECT_FALSE(Schema::parse("[]", "s"));
}

TEST(Schema, keywords_mean_what_the_standard_says) {
  const Schema schema = Schema::parse(R"({"type": "object", "required": ["n"], "additionalProperties": false,
      "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 3},
                     "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"enum": ["a", "b"]}},
                     "x": {"oneOf": [{"type": "string"}, {"const": "a"}, {"const": 1}]}}})",
                                      "s")
                            .value();
  EXPECT_EQ(complaint(schema, R"({"n": 3, "list": ["a", "b"], "x": 1})"), "");
  EXPECT_EQ(complaint(schema, R"({"n": 4})"), "$.n: too large");
  EXPECT_EQ(complaint(schema, R"({"n": 0})"), "$.n: too small");
  EXPECT_EQ(complaint(schema, R"({"n": 1.5})"), "$.n: 1.5E0 is not of type integer");
  EXPECT_EQ(complaint(schema, R"({"n": 1, "m": 1})"), "$.m: not allowed");
  EXPECT_EQ(complaint(schema, R"({"n": 1, "list": []})"), "$.list: 0 members");
  EXPECT_EQ(complaint(schema, R"({"n": 1, "x": "a"})"), "$.x: matches several alternatives");
}

TEST(Schema, references_that_loop_end) {
  const Schema schema = Schema::parse(R"({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})", "s").value();
  EXPECT_EQ(complaint(schema, "1"), "$: nested too deep");
}

TEST(Schema, any_json_is_valid_or_refused) {
  const Schema schema = action_schema();
  EXPECT_TRUE(rc::check([&](const std::string& text) {
    const auto value = json::parse(text, "noise");
    if (value) (void)schema.validate(*value);
  }));
}

}  // namespace
}  // namespace sedge::train::heron
