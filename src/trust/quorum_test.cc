#include "trust/quorum.h"

#include <gtest/gtest.h>

#include "trust/testing.h"

namespace sedge::trust {
namespace {

NodeId node_id(std::uint8_t n) {
  NodeId id;
  id.bytes.fill(n);
  return id;
}

TEST(Quorum, only_the_root_can_order_one_and_what_is_not_well_formed_is_none) {
  const testing::Fleet fleet(1);
  const testing::Fleet other(2);
  const auto opened = [&](const wire::ForcedQuorum& quorum, const SecretKey& key) -> std::optional<Code> {
    QuorumOrder order{quorum, {}};
    sign_quorum(order, key);
    const auto result = open_quorum(fleet.root.public_key, encode_quorum(order));
    return result ? std::nullopt : std::optional(result.error().code);
  };
  const wire::ForcedQuorum good{.number = 1, .former = {7}, .group = {9}, .voters = {node_id(1), node_id(2)}};
  EXPECT_EQ(opened(good, fleet.root.secret), std::nullopt);
  EXPECT_EQ(opened(good, other.root.secret), Code::kUnauthenticated);
  const auto broken = [&](auto change) {
    wire::ForcedQuorum quorum = good;
    change(quorum);
    return opened(quorum, fleet.root.secret);
  };
  EXPECT_EQ(broken([](auto& quorum) { quorum.number = 0; }), Code::kDataLoss);
  EXPECT_EQ(broken([](auto& quorum) { quorum.group = quorum.former; }), Code::kDataLoss);
  EXPECT_EQ(broken([](auto& quorum) { quorum.former = {}; }), Code::kDataLoss);
  EXPECT_EQ(broken([](auto& quorum) { quorum.voters = {}; }), Code::kDataLoss);
  EXPECT_EQ(broken([](auto& quorum) { quorum.voters = {node_id(2), node_id(1)}; }), Code::kDataLoss);
  EXPECT_EQ(broken([](auto& quorum) { quorum.voters = {node_id(1), node_id(1)}; }), Code::kDataLoss);
  EXPECT_EQ(broken([](auto& quorum) { quorum.voters.assign(6, node_id(1)); }), Code::kDataLoss);
}

}  // namespace
}  // namespace sedge::trust
