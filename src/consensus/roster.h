// Who should vote. The leader asks this every second and makes the one step it answers.
//
// Three or five voters decide for a fleet of any size: more would make each write wait for more robots. Their number is
// raised by two at a time (1, 3, 5), since an even number survives no more deaths than one less and any of them may be
// the one that is missing; newcomers are learners until they have the log. A voter that is dead for minutes is replaced
// once a learner stands ready; one that nobody can replace stays, for it may come back. A revoked one goes at once.
//
// Rejected: all members vote (a fleet of fifty would ask twenty-six robots for each write); choosing by place or power
// (nodes do not report them yet): who has been alive longest is the best guess of who will be.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "consensus/configuration.h"

namespace sedge::consensus {

struct RosterOptions {
  std::size_t voters_max = 5;
  Duration replace_after = 5min;  // a dead voter, where somebody can take its place
  Duration drop_learner = 10s;    // a dead learner
  Duration settled = 2s;          // alive for so long before it may learn
};

struct Candidate {
  NodeId id;
  bool alive = false;
  bool revoked = false;
  bool able = true;     // its certificate lets it write anything
  Duration in_state{};  // alive or dead for so long
};

// The next configuration, one step from `now`; none: it is as it should be. `ready`: a learner that has the log.
std::optional<Configuration> next_configuration(const Configuration& now, NodeId self,
                                                const std::vector<Candidate>& members,
                                                const std::function<bool(NodeId)>& ready, const RosterOptions& options);

}  // namespace sedge::consensus
