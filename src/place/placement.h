// Where a task should run. Every node decides alone, from what has reached it: replicated offers, load reports, and
// its own links; two owners may choose the same node at once, and that node's admission settles it.
//
//   cost = round trip + time until the engine is free + prefill + decode          (expected latency)
//        + migration, where a task would leave the node that holds its context
//
// Energy joins the sum as one more term when nodes report it. A coordinator that assigns was rejected: it is one more
// thing to die.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "env/compute.h"
#include "wire/task_messages.h"

namespace sedge::place {

// What one node knows about another (or itself).
struct NodeView {
  std::vector<env::ModelOffer> offers;
  wire::LoadReport load;
  Duration promised{};    // work we sent there since its last load report
  Duration round_trip{};  // measured, or told by coordinates; zero for ourselves, and where neither is known
  bool linked = false;    // an open link; a node without one costs a dial first
  bool suspect = false;   // membership doubts it
};

struct Request {
  std::string model;                // env/model_name.h
  std::uint32_t prompt_tokens = 0;  // estimate
  std::uint32_t tokens_max = 0;
  // When resuming: only the same model bytes in the same numeric class give the same text.
  std::optional<std::string> hash;
  std::optional<std::string> numeric_class;
};

struct Candidate {
  NodeId node;
  Duration cost{};  // expected latency, and what else weighs
  Duration work{};  // engine time of the task there
  env::ModelOffer offer;
};

// Cheapest first; equal costs by node id, so that a decision repeats.
std::vector<Candidate> rank(const std::map<NodeId, NodeView>& nodes, const Request& request);

}  // namespace sedge::place
