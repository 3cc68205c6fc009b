#include "place/placement.h"

#include <gtest/gtest.h>

namespace sedge::place {
namespace {

NodeId node_number(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}

NodeView view(double decode_tok_s, Duration backlog = {}) {
  env::ModelOffer offer;
  offer.name = "m";
  offer.hash = "h1";
  offer.numeric_class = "c1";
  offer.prefill_tok_s = 1000;
  offer.decode_tok_s = decode_tok_s;
  NodeView node;
  node.offers = {offer};
  node.load.backlog = backlog;
  node.linked = true;
  return node;
}

TEST(Placement, the_node_that_answers_first_comes_first) {
  std::map<NodeId, NodeView> nodes = {{node_number(1), view(100)}, {node_number(2), view(200)}};
  EXPECT_EQ(rank(nodes, {.model = "m", .prompt_tokens = 10, .tokens_max = 50})[0].node, node_number(2));
  nodes.at(node_number(2)).load.backlog = 1000ms;  // busy: the slower idle one is sooner
  EXPECT_EQ(rank(nodes, {.model = "m", .prompt_tokens = 10, .tokens_max = 50})[0].node, node_number(1));
  nodes.at(node_number(1)).promised = 2000ms;  // what we sent there counts before its report says so
  EXPECT_EQ(rank(nodes, {.model = "m", .prompt_tokens = 10, .tokens_max = 50})[0].node, node_number(2));
}

TEST(Placement, a_suspect_comes_last_and_a_node_without_the_model_not_at_all) {
  std::map<NodeId, NodeView> nodes = {{node_number(1), view(100)}, {node_number(2), view(10)}, {node_number(3), {}}};
  nodes.at(node_number(1)).suspect = true;
  const auto ranked = rank(nodes, {.model = "m", .prompt_tokens = 1, .tokens_max = 10});
  ASSERT_EQ(ranked.size(), 2u);
  EXPECT_EQ(ranked[0].node, node_number(2));
}

TEST(Placement, of_two_nodes_without_a_link_the_nearer_one_comes_first) {
  std::map<NodeId, NodeView> nodes = {{node_number(1), view(100)}, {node_number(2), view(100)}};
  for (auto& [id, node] : nodes) node.linked = false;
  nodes.at(node_number(1)).round_trip = 40ms;
  nodes.at(node_number(2)).round_trip = 5ms;
  const Request request{.model = "m", .prompt_tokens = 1, .tokens_max = 10};
  EXPECT_EQ(rank(nodes, request)[0].node, node_number(2));
  nodes.at(node_number(1)).linked = true;  // a link at 40 ms, or a dial and the way at 5 ms
  EXPECT_EQ(rank(nodes, request)[0].node, node_number(2));
  nodes.at(node_number(2)).round_trip = {};  // nobody knows how far it is: the link it is
  EXPECT_EQ(rank(nodes, request)[0].node, node_number(1));
}

TEST(Placement, a_resumed_task_stays_in_its_numeric_class) {
  std::map<NodeId, NodeView> nodes = {{node_number(1), view(100)}, {node_number(2), view(10)}};
  nodes.at(node_number(1)).offers[0].numeric_class = "c2";
  Request request{.model = "m", .prompt_tokens = 1, .tokens_max = 10};
  request.hash = "h1";
  request.numeric_class = "c1";
  const auto ranked = rank(nodes, request);
  ASSERT_EQ(ranked.size(), 1u);
  EXPECT_EQ(ranked[0].node, node_number(2));
}

TEST(Placement, a_stack_goes_to_a_node_that_has_all_its_parts_and_goes_on_only_where_they_are_the_same) {
  std::map<NodeId, NodeView> nodes = {
      {node_number(1), view(100)}, {node_number(2), view(50)}, {node_number(3), view(20)}};
  for (auto& [id, each] : nodes) {
    for (const char* name : {"polite", "terse"}) {
      env::ModelOffer adapter = each.offers.front();
      adapter.name = name, adapter.hash += name == std::string_view("polite") ? "+70" : "+71";
      each.offers.push_back(adapter);
    }
  }
  nodes.at(node_number(1)).offers.pop_back();
  Request request{.model = "polite=0.5+terse", .prompt_tokens = 1, .tokens_max = 10};
  const auto ranked = rank(nodes, request);
  ASSERT_EQ(ranked.size(), 2u);
  EXPECT_EQ(ranked[0].node, node_number(2));
  nodes.at(node_number(2)).offers.back().hash = "h1+79";  // another adapter of that name
  request.hash = ranked[0].offer.hash;
  const auto again = rank(nodes, request);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].node, node_number(3));
}

}  // namespace
}  // namespace sedge::place
