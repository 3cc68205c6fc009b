#include "sim/watch.h"

#include <algorithm>

#include "base/prng.h"
#include "env/link.h"

namespace sedge::sim {
namespace {

// What each queue is promised to hold at most (broadcast.h, state_sync.h, link.h).
struct Bound {
  const char* name;
  std::size_t Queues::* queue;
  std::size_t most;
};
const Bound kBounds[] = {
    {"bytes wait on a link", &Queues::backlog_bytes, env::kLinkQueueBytesMax},
    {"announced batches are waited for", &Queues::missing, mesh::kMissingMax},
    {"bytes of batches are kept", &Queues::cache_bytes,
     mesh::Broadcast::Options().cache_bytes_max + mesh::kBatchBytesMax},
    {"writes are in quarantine", &Queues::quarantined, mesh::StateSync::Options().quarantine_max},
};

}  // namespace

void Watch::erased(std::size_t by, const std::string& path) {
  std::vector<std::string>& paths = gone_[by];
  if (paths.size() == kGoneMax) paths.erase(paths.begin());
  paths.push_back(path);
}

void Watch::look_at_entries(const World& world, std::size_t i, std::vector<std::string>& broken) {
  const mesh::StateSync& state = world.node(i).state();
  // Who came back late drops what is over and fetches the rest anew; who split for long takes back what others kept.
  if (state.stats().reset > 0 || state.stats().revived > 0) return;
  const auto say = [&](std::string what) {
    if (said_.insert(what).second) broken.push_back(std::move(what));
  };
  for (const auto& [path, value] : kept_[i]) {
    const auto there = state.replica().read(path);
    if (there && there->values.size() == 1 && as_text(there->values[0]) >= value) continue;
    say(fmt::format("the acknowledged write of {} is not on its writer, node-{}", path, i));
  }
  for (const std::string& path : gone_[i]) {
    if (state.replica().read(path)) say(fmt::format("{} was erased by node-{} and is there again", path, i));
  }
}

void Watch::look_at_queues(World& world, std::size_t i, std::vector<std::string>& broken) {
  const node::Node& node = world.node(i);
  const Queues now{.backlog_bytes = world.backlog(i),
                   .missing = node.broadcast().missing(),
                   .cache_bytes = node.broadcast().cache_bytes(),
                   .quarantined = node.state().stats().in_quarantine};
  for (const Bound& bound : kBounds) {
    std::size_t& most = queues_.*bound.queue;
    most = std::max(most, now.*bound.queue);
    if (now.*bound.queue <= bound.most || !said_.insert(bound.name).second) continue;
    broken.push_back(fmt::format("on node-{} {} {}, {} are allowed", i, now.*bound.queue, bound.name, bound.most));
  }
}

std::vector<std::string> Watch::look(World& world) {
  std::vector<std::string> broken;
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    if (!world.up(i)) continue;
    look_at_entries(world, i, broken);
    look_at_queues(world, i, broken);
  }
  return broken;
}

bool same_in_any_order(const crdt::Replica& replica, std::uint64_t seed) {
  std::vector<crdt::Dot> dots;
  for (const auto& [dot, op] : replica.living()) dots.push_back(dot);
  Prng(seed).shuffle(dots);
  crdt::Replica other;
  for (const crdt::Dot& dot : dots) {
    if (!other.apply(replica.living().at(dot))) return false;
  }
  return other.digest() == replica.digest();
}

}  // namespace sedge::sim
