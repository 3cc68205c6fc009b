// A whole node with two members on its links, of whom one sends any bytes at any time: it answers, refuses or hangs up,
// and what it wants to send in return stays bounded. The input is a list of steps:
//   step = 0..3 length:2 bytes LE  bytes     a frame from the neighbour
//        | 4    n:1 byte                     n squared milliseconds pass
//        | 5    length:2 bytes LE  bytes     a beacon
//        | 6                                 the disk has all it was given
//        | 7                                 the neighbour's link falls, or is there again
// (of the first byte its lowest three bits). Keys come from a fixed seed, so that frames in the corpus are signed.
#include <cstdint>

#include <fmt/format.h>

#include "node/test_frames.h"

namespace {

using namespace sedge;
using node::frames::fleet;
using node::frames::Steps;
using node::frames::World;

constexpr std::size_t kStepsMax = 256;

// Says at the end how many frames there were, of all inputs, and how many of them were refused.
struct Tally {
  std::uint64_t frames = 0, refused = 0;
  ~Tally() { fmt::print(stderr, "node_frames: {} frames, {} refused\n", frames, refused); }
} tally;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world;
  world.flip_link();
  Steps steps{{data, size}};
  for (std::size_t i = 0; i < kStepsMax; ++i) {
    const auto step = steps.take(1);
    if (!step) break;
    const unsigned what = (*step)[0] & 7u;
    if (what <= 3 || what == 5) {
      const auto bytes = steps.block();
      if (!bytes) break;
      tally.frames += what <= 3 && world.linked ? 1 : 0;
      if (what == 5)
        world.node->on_beacon(env::Endpoint::v4(10, 0, 0, 9, 7337), *bytes, world.now);
      else if (world.linked)
        world.node->on_frame(fleet().liar.id, *bytes, {}, world.now);
    } else if (what == 4) {
      const auto n = steps.take(1);
      if (!n) break;
      world.now += Duration(1ms) * ((*n)[0] * (*n)[0]);
    } else if (what == 6) {
      world.node->on_durable(world.lsn, world.now);
    } else {
      world.flip_link();
    }
    world.settle();
  }
  tally.refused += world.node->stats().frames_refused;
  return 0;
}
