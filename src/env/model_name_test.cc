#include "env/model_name.h"

#include <gtest/gtest.h>

#include <set>

namespace sedge::env {
namespace {

ModelOffer offer(const char* name, const char* hash, std::uint64_t bytes) {
  return {.name = name, .hash = hash, .numeric_class = "c", .bytes = bytes, .context = 512, .decode_tok_s = 3};
}

std::vector<ModelOffer> offers() {
  return {offer("base", "b1", 1000), offer("polite", "b1+70", 10), offer("terse", "b1+71", 20),
          offer("other", "b2+72", 1), offer("c++=2", "b3", 1)};
}

std::string hash_of(std::string_view name) {
  const auto offer = find_offer(offers(), name);
  return offer ? offer->hash : "none";
}

TEST(ModelName, a_stack_is_parts_with_scales) {
  EXPECT_EQ(stack_of("polite=0.5+terse"), (std::vector<StackPart>{{"polite", 0.5f}, {"terse", 1}}));
  EXPECT_EQ(stack_of("a=b=-2"), (std::vector<StackPart>{{"a=b", -2}}));
  for (const char* none : {"", "base", "+", "a+", "+a", "a++b", "a=", "a=x", "a=1x", "a=inf", "a=nan", "=1", "a=1e99",
                           "a=1001", "a=-2e33", "a+b+c+d+e+f+g+h+i"}) {
    EXPECT_TRUE(stack_of(none).empty()) << none;
  }
  EXPECT_EQ(stack_of("a+b+c+d+e+f+g+h").size(), kPartsMax);
}

TEST(ModelName, who_offers_the_parts_of_a_stack_offers_the_stack) {
  const auto offer = find_offer(offers(), "polite=0.5+terse").value();
  EXPECT_EQ(offer.name, "polite=0.5+terse");
  EXPECT_EQ(weights_of(offer.hash), "b1");
  EXPECT_EQ(offer.bytes, 30u);
  EXPECT_EQ(offer.context, 512u);
  EXPECT_EQ(offer.decode_tok_s, 3);
}

TEST(ModelName, equal_hashes_are_equal_stacks) {
  EXPECT_EQ(hash_of("polite=1"), hash_of("polite"));
  EXPECT_EQ(hash_of("polite=0.50+terse=1"), hash_of("polite=0.5+terse"));
  std::set<std::string> different;
  const std::vector<std::string_view> names = {"base",          "polite",          "terse",           "polite=0.5",
                                               "polite+terse",  "terse+polite",    "polite=2+terse",  "polite+terse=2",
                                               "polite+polite", "polite=-1+terse", "polite=0.1+terse"};
  for (const std::string_view name : names) different.insert(hash_of(name));
  EXPECT_EQ(different.size(), names.size());
}

TEST(ModelName, of_two_bases_or_of_what_is_no_adapter_there_is_no_stack) {
  for (const char* name : {"polite+other", "base=2", "base+polite", "polite+missing", "missing=1"}) {
    EXPECT_EQ(hash_of(name), "none") << name;
  }
}

TEST(ModelName, an_offer_whose_name_looks_like_a_stack_is_that_offer) { EXPECT_EQ(hash_of("c++=2"), "b3"); }

}  // namespace
}  // namespace sedge::env
