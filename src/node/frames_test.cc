// Frames that no honest node sends, by the thousand; by the million with SEDGE_MALFORMED_FRAMES=10000000, which is
// worth its time in a build with sanitizers. Where the fuzzer (node_frames_fuzz.cc) looks for ways into a node that has
// just begun, these all fall on one node, which has to be the same in the end.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/prng.h"
#include "node/test_frames.h"

namespace sedge::node {
namespace {

using frames::fleet;

// Those of the fuzzer's corpus: one of each kind, whole and signed.
std::vector<Buffer> good_frames() {
  std::vector<Buffer> found;
  const auto root = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();
  for (const auto& file : std::filesystem::directory_iterator(root / "tests/corpus/node_frames")) {
    std::ifstream in(file.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    frames::Steps steps{as_bytes(text)};
    while (const auto step = steps.take(1)) {
      const unsigned what = (*step)[0] & 7u;
      if (what == 4) static_cast<void>(steps.take(1));
      if (what > 3 && what != 5) continue;
      const auto bytes = steps.block();
      if (bytes && what <= 3 && !bytes->empty()) found.push_back(to_buffer(*bytes));
    }
  }
  std::ranges::sort(found);  // a folder has no order
  return found;
}

// A few bytes are others, a part is gone, comes again or comes from another frame, or nothing of it is left.
Buffer spoilt(const std::vector<Buffer>& good, Prng& prng) {
  Buffer frame = good[prng.below(good.size())];
  const auto byte = [&] { return static_cast<std::uint8_t>(prng.next()); };
  const auto place = [&](const Buffer& of) {
    return of.begin() + static_cast<std::ptrdiff_t>(prng.below(of.size() + 1));
  };
  switch (prng.below(6)) {
    case 0:
      frame.erase(place(frame), frame.end());
      break;
    case 1:
      frame.insert(place(frame), 1 + prng.below(40), byte());
      break;
    case 2: {
      const Buffer& other = good[prng.below(good.size())];
      frame.erase(place(frame), frame.end());
      frame.insert(frame.end(), place(other), other.end());
      break;
    }
    case 3:
      for (auto& each : frame) each = byte();
      break;
    case 4:
      frame[0] = static_cast<std::uint8_t>(prng.below(80));
      [[fallthrough]];
    default:
      for (std::uint64_t i = prng.below(6); i > 0; --i) frame[prng.below(frame.size())] = byte();
  }
  return frame;
}

TEST(Frames, that_no_honest_node_sends_change_nothing) {
  const char* const asked = std::getenv("SEDGE_MALFORMED_FRAMES");
  const std::uint64_t count = asked ? std::stoull(asked) : 100'000;
  const std::vector<Buffer> good = good_frames();
  ASSERT_GE(good.size(), 25u);
  PeerMeter::Options patient;  // all are looked at: nobody is hung up on, and nothing is left out
  for (double* const budget : {&patient.asks_burst, &patient.wants_burst, &patient.batches_burst, &patient.lies_burst,
                               &patient.overrun_burst}) {
    *budget = 1e12;
  }
  frames::World world(patient);
  world.flip_link();
  Prng prng(1);
  for (std::uint64_t i = 0; i < count; ++i) {
    world.node->on_frame(fleet().liar.id, spoilt(good, prng), {}, world.now);
    if (i % 64 != 0) continue;
    world.now += 1ms;
    world.node->on_frame(fleet().drone.id, {}, {}, world.now);  // who says nothing, and lives
    world.node->on_durable(world.lsn, world.now);
    world.settle();
  }
  fmt::print("{} frames, {} of them refused\n", count, world.node->stats().frames_refused);
  EXPECT_GT(world.node->stats().frames_refused, count / 2);
  EXPECT_TRUE(world.linked);
  EXPECT_TRUE(world.node->membership().linked(fleet().drone.id));
  EXPECT_LE(world.node->membership().members().size(), 3u);
}

}  // namespace
}  // namespace sedge::node
