#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/bytes.h"
#include "base/id.h"
#include "base/json.h"
#include "base/prng.h"

namespace sedge {
namespace {

TEST(Bytes, hex_and_base64url_come_back) {
  EXPECT_TRUE(rc::check([](const Buffer& bytes) {
    RC_ASSERT(from_hex(to_hex(bytes)).value() == bytes);
    RC_ASSERT(from_base64url(to_base64url(bytes)).value() == bytes);
  }));
}

TEST(Bytes, bad_text_is_an_error_not_a_guess) {
  EXPECT_FALSE(from_hex("abc"));
  EXPECT_FALSE(from_hex("zz"));
  EXPECT_FALSE(from_base64url("A"));
  EXPECT_FALSE(from_base64url("A+"));
  EXPECT_FALSE(from_base64url("AB"));  // bits past the last byte must be zero
}

TEST(Prng, same_seed_same_sequence_and_bounds_hold) {
  Prng a(7), b(7), other(8);
  EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(a.next(), other.next());
  EXPECT_TRUE(rc::check([](std::uint64_t seed, std::uint64_t bound) {
    RC_PRE(bound > 0);
    Prng prng(seed);
    for (int i = 0; i < 20; ++i) RC_ASSERT(prng.below(bound) < bound);
  }));
}

TEST(Json, any_bytes_are_a_value_or_an_error) {
  EXPECT_TRUE(rc::check([](const std::string& text) { (void)json::parse(text, "noise"); }));
}

TEST(Json, errors_name_the_document_the_place_and_the_field) {
  const auto cut = json::parse("{\"a\": [1, 2", "x.json");
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().message, "x.json: JSON ends too early, at offset 11");
  const auto deep = json::parse(std::string(40, '['), "deep.json");
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code, Code::kDataLoss);
  const auto value = json::parse(R"({"a": -1})", "y.json").value();
  EXPECT_EQ(json::get_uint(value.get_object(), "a").error().message, "field 'a' is not a non-negative integer");
  EXPECT_EQ(json::get_uint(value.get_object(), "b").error().message, "field 'b' is missing");
}

TEST(Json, a_name_that_stands_twice_in_one_object_is_found_however_it_is_spelled) {
  EXPECT_TRUE(json::check_unique_names(R"({"a": {"b": "a"}, "b": ["b", {"a": 1}, "b"], "c": {}})", "x.json"));
  const auto twice = json::check_unique_names(R"({"a": [1, "b"], "\u0061": 2})", "x.json");
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().message, "x.json: 'a' stands twice, the second at offset 16");
  EXPECT_FALSE(json::check_unique_names(R"([{"q\"": 1, "q\"": 2}])", "x.json"));
}

TEST(Json, brackets_that_do_not_match_are_no_object) {
  for (const char* text : {"{]\"", "{]\"a\"", "[{]]\"a\",\"a\"", "{,]\"", "\"", "{\"\\"}) {
    EXPECT_TRUE(json::check_unique_names(text, "noise")) << text;
  }
  EXPECT_TRUE(rc::check([](const std::string& text) { (void)json::check_unique_names(text, "noise"); }));
  EXPECT_TRUE(rc::check([] {  // of the letters that matter
    const auto text = *rc::gen::container<std::string>(rc::gen::element('{', '}', '[', ']', ',', '"', '\\', 'a'));
    (void)json::check_unique_names(text, "noise");
  }));
}

}  // namespace
}  // namespace sedge
