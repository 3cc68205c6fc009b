#include "sim/contacts.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::sim {
namespace {

TEST(Contacts, are_open_from_their_beginning_until_before_their_end) {
  const auto parsed = parse_contacts("# a mine\n0 10 0 - 1\n\n 5.5 20 2 > 0 # 0 hears 2\r\n10 12 1 - 0", 3);
  ASSERT_TRUE(parsed) << parsed.error().message;
  ASSERT_EQ(parsed->size(), 5u);
  const Instant began{100s};
  Contacts contacts(*parsed, began);
  EXPECT_TRUE(contacts.hears(0, 1) && contacts.hears(1, 0));
  EXPECT_FALSE(contacts.hears(2, 0));
  EXPECT_EQ(contacts.next(), began + 5500ms);
  EXPECT_FALSE(contacts.move(began + 5s));
  EXPECT_TRUE(contacts.move(began + 5500ms));
  EXPECT_TRUE(contacts.hears(2, 0));
  EXPECT_FALSE(contacts.hears(0, 2));
  contacts.move(began + 10s);
  EXPECT_TRUE(contacts.hears(0, 1));  // one contact ends, and the next begins
  contacts.move(began + 20s);
  EXPECT_FALSE(contacts.hears(0, 1) || contacts.hears(1, 0) || contacts.hears(2, 0));
  EXPECT_EQ(contacts.next(), kNever);
}

TEST(Contacts, a_mistake_is_named_with_its_line) {
  for (const char* line : {"1 2 0 1", "2 1 0 - 1", "1 2 0 - 0", "1 2 0 - 3", "1 2 0 - 1 5", "x 2 0 - 1", "-1 2 0 - 1",
                           "1 inf 0 - 1", "1 nan 0 - 1", "1 1e9 0 - 1", "1 2 -0 - 1", "1"}) {
    const auto parsed = parse_contacts(std::string("0 1 0 - 1\n") + line, 3);
    ASSERT_FALSE(parsed) << line;
    EXPECT_NE(parsed.error().message.find("line 2"), std::string::npos) << parsed.error().message;
  }
}

TEST(Contacts, any_text_is_a_trace_or_an_error) {
  EXPECT_TRUE(rc::check([](const std::string& text) { (void)parse_contacts(text, 5); }));
}

}  // namespace
}  // namespace sedge::sim
