#include "mesh/topic.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::mesh {
namespace {

using Levels = std::vector<std::string>;

std::string joined(const Levels& levels) {
  std::string text;
  for (const std::string& level : levels) text += (text.empty() ? "" : "/") + level;
  return text;
}

// The definition: level by level, recursively.
bool naive(const Levels& filter, const Levels& topic, std::size_t f = 0, std::size_t t = 0) {
  if (f == filter.size()) return t == topic.size();
  if (filter[f] == "#") return true;
  if (t == topic.size()) return false;
  return (filter[f] == "+" || filter[f] == topic[t]) && naive(filter, topic, f + 1, t + 1);
}

TEST(Topic, the_matcher_agrees_with_the_definition) {
  EXPECT_TRUE(rc::check([] {
    const auto level = rc::gen::element<std::string>("a", "b", "ab");
    const auto topic = *rc::gen::nonEmpty(rc::gen::container<Levels>(level));
    // Filters that stand a chance: the topic with some levels changed, cut, or one more.
    Levels filter(topic.begin(), topic.begin() + *rc::gen::inRange<long>(1, static_cast<long>(topic.size()) + 1));
    for (std::string& one : filter) one = *rc::gen::weightedElement<std::string>({{6, one}, {3, "+"}, {1, "b"}});
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        filter.push_back("#");
        break;
      case 1:
        filter.push_back("+");
        break;
      case 2:
        filter.back() = "#";
        break;
      default:
        break;
    }
    RC_PRE(joined(topic).size() <= kTopicBytesMax && joined(filter).size() <= kTopicBytesMax);
    RC_ASSERT(check_topic(joined(topic)));
    RC_ASSERT(check_filter(joined(filter)));
    RC_CLASSIFY(naive(filter, topic));
    RC_ASSERT(matches(joined(filter), joined(topic)) == naive(filter, topic));
  }));
}

TEST(Topic, any_text_is_a_topic_or_an_error) {
  EXPECT_TRUE(rc::check([](const std::string& text) {
    if (check_topic(text)) RC_ASSERT(check_filter(text) && matches(text, text) && matches("#", text));
  }));
}

TEST(Topic, mistakes_are_named) {
  EXPECT_EQ(check_topic("").error().message, "a topic must not be empty");
  EXPECT_EQ(check_topic("a//b").error().message, "topic 'a//b' has an empty level at byte 2");
  EXPECT_EQ(check_topic("a/+").error().message, "topic 'a/+' has a wildcard: publish to one");
  EXPECT_EQ(check_filter("a/#/b").error().message, "filter 'a/#/b': '#' must be the last level");
  EXPECT_EQ(check_filter("a/b+").error().message, "filter 'a/b+': '+' must be a whole level");
  EXPECT_FALSE(check_topic("a/"));
  EXPECT_FALSE(check_topic(std::string("a\0b", 3)));
  EXPECT_FALSE(check_topic(std::string(256, 'a')));
}

}  // namespace
}  // namespace sedge::mesh
