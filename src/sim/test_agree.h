// Tests of agreed values on whole simulated nodes share this: one request, until its answer is there.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "sim/world.h"

namespace sedge::sim {

inline Result<consensus::Agreed> agree(World& world, std::size_t i, wire::AgreedOp op, std::string path,
                                       std::string_view value, Duration patience) {
  std::optional<Result<consensus::Agreed>> given;
  world.act(i, [&](node::Node& node, Instant now) {
    wire::AgreedRequest request;
    request.op = op;
    request.path = std::move(path);
    request.value = to_buffer(as_bytes(value));
    node.agree(std::move(request), patience, [&](const auto& answer) { given = answer; }, now);
  });
  world.run_until([&] { return given.has_value(); }, patience + 1s);
  SEDGE_ASSERT(given.has_value());  // each request is answered, were it with an error
  return *given;
}

}  // namespace sedge::sim
