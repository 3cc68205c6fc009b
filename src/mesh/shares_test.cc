#include "mesh/shares.h"

#include <gtest/gtest.h>

namespace sedge::mesh {
namespace {

using namespace std::chrono_literals;

NodeId node(std::uint8_t number) { return NodeId{{number}}; }

TEST(Shares, who_sends_alone_or_like_the_others_has_its_part) {
  Shares shares;
  EXPECT_FALSE(shares.above(node(1), Instant{})) << "it has sent nothing";
  shares.add(node(1), 10, Instant{});
  EXPECT_TRUE(shares.above(node(1), Instant{}));
  for (std::uint8_t i = 2; i < 20; ++i) shares.add(node(i), 10, Instant{});
  for (std::uint8_t i = 1; i < 20; ++i) EXPECT_TRUE(shares.above(node(i), Instant{}));
}

TEST(Shares, who_sends_little_beside_a_flood_does_not_fill_the_link) {
  Shares shares;
  Instant now{};
  for (int round = 0; round < 300; ++round, now += 10ms) {
    shares.add(node(1), 100'000, now);
    if (round % 10 == 0) shares.add(node(2), 1000, now);
    EXPECT_TRUE(shares.above(node(1), now));
    EXPECT_FALSE(shares.above(node(2), now));
  }
  now += 2s;  // the flood is over
  shares.add(node(2), 1000, now);
  EXPECT_TRUE(shares.above(node(2), now));
  EXPECT_FALSE(shares.above(node(1), now));
}

TEST(Shares, who_sends_more_than_twice_what_the_others_do_is_heavy_beside_them_and_never_alone) {
  Shares shares;
  Instant now{};
  shares.add(node(1), 100'000, now);
  EXPECT_FALSE(shares.heavy(node(1), now)) << "nobody else is there";
  shares.add(node(2), 40'000, now), shares.add(node(3), 60'000, now);
  EXPECT_FALSE(shares.heavy(node(1), now)) << "twice as much";
  shares.add(node(1), 1, now);
  EXPECT_TRUE(shares.heavy(node(1), now));
  EXPECT_FALSE(shares.heavy(node(3), now));
  EXPECT_FALSE(shares.heavy(node(4), now)) << "it has sent nothing";
  now += 1s;
  shares.add(node(2), 40'000, now), shares.add(node(3), 40'000, now);
  EXPECT_FALSE(shares.heavy(node(1), now)) << "the others have caught up";
  now += 1s;
  EXPECT_FALSE(shares.heavy(node(1), now)) << "it has stopped";
}

}  // namespace
}  // namespace sedge::mesh
