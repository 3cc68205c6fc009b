#include "env/endpoint.h"

#include <gtest/gtest.h>

namespace sedge::env {
namespace {

TEST(Endpoint, text_comes_back) {
  for (const char* text : {"127.0.0.1:7334", "10.0.0.7:1", "[fe80::1]:7334", "[::1]:65535"}) {
    EXPECT_EQ(Endpoint::parse(text).value().text(), text);
  }
  EXPECT_TRUE(Endpoint::parse("127.0.0.9:1").value().is_loopback());
  EXPECT_TRUE(Endpoint::parse("[::1]:1").value().is_loopback());
  EXPECT_FALSE(Endpoint::parse("10.0.0.1:1").value().is_loopback());
}

TEST(Endpoint, a_wrong_one_says_what_a_right_one_looks_like) {
  for (const char* text : {"", ":", "host", "1.2.3:4", "1.2.3.4:70000", "1.2.3.4:", "[::1:5", "1.2.3.4:5x"}) {
    const auto endpoint = Endpoint::parse(text);
    ASSERT_FALSE(endpoint) << text;
    EXPECT_NE(endpoint.error().message.find("192.168.1.7:7334"), std::string::npos);
  }
}

}  // namespace
}  // namespace sedge::env
