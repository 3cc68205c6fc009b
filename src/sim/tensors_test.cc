// Tensors in whole nodes: links with losses, a node that is cut off or loses power in the middle, urgent traffic
// beside.
#include <algorithm>

#include <gtest/gtest.h>

#include "sim/world.h"

namespace sedge::sim {
namespace {

Buffer random_bytes(std::size_t count, std::uint64_t seed) {
  Prng prng(seed);
  Buffer bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(prng.next());
  return bytes;
}

WorldOptions fleet_of(std::size_t nodes, std::uint64_t seed) {
  WorldOptions options;
  options.nodes = nodes;
  options.seed = seed;
  options.link.loss = 0.02;
  options.link.bytes_per_s = 1e6;
  return options;
}

bool settle(World& world) {
  EXPECT_TRUE(world.boot_all());
  return world.run_until([&] { return world.one_view() && world.one_state(); }, 15s);
}

void put(World& world, std::size_t i, const std::string& path, const Buffer& bytes) {
  Status ended = fail(Code::kUnknown, "not yet");
  const mesh::Manifest manifest = mesh::make_manifest(bytes).value();
  mesh::UploadId upload;
  std::vector<std::uint32_t> lacking;
  world.act(i, [&](node::Node& node, Instant now) {
    upload = node.tensors().begin(mesh::encode_manifest(manifest), node.id(), now).value();
    lacking = node.tensors().lacking(upload).value();
  });
  for (const std::uint32_t number : lacking) {
    const auto given = [&] {
      Status gave;
      world.act(i, [&](node::Node& node, Instant now) {
        gave = node.tensors().give(upload, number, mesh::chunk_of(bytes, manifest, number), now);
      });
      return gave.has_value();
    };
    ASSERT_TRUE(world.run_until(given, 5s));  // the disk may be behind
  }
  world.act(i, [&](node::Node& node, Instant now) {
    ASSERT_TRUE(node.put_tensor(path, upload, [&ended](const Status& status) { ended = status; }, now));
  });
  EXPECT_TRUE(world.run_until([&] { return ended.has_value(); }, 5s));
}

bool reads(const World& world, std::size_t i, const std::string& path, const Buffer& bytes) {
  const mesh::Tensors& tensors = world.node(i).tensors();
  const auto version = tensors.complete_at(path);
  if (!version || version->manifest.bytes != bytes.size()) return false;
  for (std::size_t n = 0; n < version->manifest.chunks.size(); ++n) {
    const Bytes chunk = tensors.chunk(path, version->hash, n).value();
    if (!std::ranges::equal(chunk, mesh::chunk_of(bytes, version->manifest, n))) return false;
  }
  return true;
}

bool all_read(const World& world, const std::string& path, const Buffer& bytes) {
  for (std::size_t i = 0; i < world.size(); ++i) {
    if (!world.up(i) || !reads(world, i, path, bytes)) return false;
  }
  return true;
}

TEST(Tensors, a_node_cut_off_in_the_middle_reads_its_old_version_and_then_the_new_one) {
  World world(fleet_of(4, 1));
  ASSERT_TRUE(settle(world));
  const Buffer old = random_bytes(600'000, 1);
  const Buffer fresh = random_bytes(3'000'000, 2);
  put(world, 0, "models/m", old);
  ASSERT_TRUE(world.run_until([&] { return all_read(world, "models/m", old); }, 60s));
  put(world, 0, "models/m", fresh);
  world.run(500ms);
  world.partition({3});
  world.run(20s);
  EXPECT_TRUE(reads(world, 3, "models/m", old));
  EXPECT_GT(world.node(3).tensors().store().bytes_held(), old.size()) << "it was in the middle";
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(reads(world, i, "models/m", fresh));
  world.heal();
  EXPECT_TRUE(world.run_until([&] { return all_read(world, "models/m", fresh); }, 60s));
}

TEST(Tensors, power_cuts_in_the_middle_lose_nothing_that_was_whole) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    World world(fleet_of(3, seed));
    ASSERT_TRUE(settle(world));
    const Buffer old = random_bytes(400'000, seed);
    const Buffer fresh = random_bytes(1'500'000, seed + 10);
    put(world, 0, "m", old);
    ASSERT_TRUE(world.run_until([&] { return all_read(world, "m", old); }, 60s));
    world.run(1s);
    put(world, 0, "m", fresh);
    world.cut_power_within_commit(1, 3 + seed * 5);
    ASSERT_TRUE(world.run_until([&] { return !world.up(1); }, 60s));
    ASSERT_TRUE(world.boot(1));
    EXPECT_TRUE(reads(world, 1, "m", old) || reads(world, 1, "m", fresh));
    EXPECT_TRUE(world.run_until([&] { return all_read(world, "m", fresh); }, 60s));
  }
}

TEST(Tensors, messages_are_taken_and_come_while_megabytes_travel) {
  World world(fleet_of(4, 5));
  ASSERT_TRUE(settle(world));
  std::size_t heard = 0;
  world.act(3, [&](node::Node& node, Instant now) {
    ASSERT_TRUE(node.subscribe("orders/#", [&heard](const mesh::Message&) { ++heard; }, {}, now));
  });
  put(world, 0, "models/m", random_bytes(12'000'000, 1));
  std::size_t taken = 0;
  for (int i = 0; i < 40; ++i) {
    world.act(0, [&](node::Node& node, Instant now) {
      node.publish("orders/a", Buffer{1}, {}, 0, [&taken](const Status& status) { taken += status ? 1 : 0; }, now);
    });
    world.run(100ms);
  }
  EXPECT_TRUE(world.node(3).tensors().find("models/m")->pending) << "they were on their way all the time";
  EXPECT_EQ(taken, 40u);
  world.run(1s);
  EXPECT_EQ(heard, 40u);
  EXPECT_EQ(world.counts().too_slow, 0u);
}

}  // namespace
}  // namespace sedge::sim
