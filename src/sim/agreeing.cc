#include "sim/agreeing.h"

#include <algorithm>

namespace sedge::sim {
namespace {

constexpr Duration kPatience = 4s;
constexpr std::size_t kAskedOfPair = 200;  // of both values together, then come two others

}  // namespace

void Agreeing::ask(World& world, std::size_t i) {
  if (history_.size() >= kAskedMax) return;
  const std::size_t at = history_.size();
  const bool write = prng_.chance(0.5);
  consensus::Operation operation{.write = write, .called = world.now()};
  operation.path = fmt::format("sim/{}/{}", at / kAskedOfPair, prng_.below(2));
  if (write) operation.value = std::to_string(at);
  wire::AgreedRequest request{.id = {}, .op = write ? wire::AgreedOp::kSet : wire::AgreedOp::kGet};
  request.path = operation.path;
  request.value = to_buffer(as_bytes(operation.value));
  history_.push_back(std::move(operation));
  world.act(i, [&](node::Node& node, Instant now) {
    const auto answered = [this, &world, at](const Result<consensus::Agreed>& answer) {
      if (!answer) return;  // it may have happened all the same
      history_[at].returned = world.now();
      if (!history_[at].write) history_[at].value = std::string(as_text(answer->value));
    };
    node.agree(std::move(request), kPatience, answered, now);
  });
}

Agreeing::Outcome Agreeing::judge() const {
  Outcome outcome;
  outcome.asked = history_.size();
  for (const consensus::Operation& each : history_) {
    if (each.returned == kNever) continue;
    ++outcome.answered;
    outcome.took.add(each.returned - each.called);
  }
  outcome.unexplained = consensus::not_linearizable(history_);
  return outcome;
}

}  // namespace sedge::sim
