// A whole node's part in tensors: what of a put is refused before it is written, and what is looked at again.
#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "node/node.h"
#include "trust/testing.h"

namespace sedge::node {
namespace {

struct Engine final : env::Compute {
  std::vector<env::ModelOffer> offers() const override { return {}; }
  std::uint32_t workers() const override { return 1; }
  void start(TaskId, env::JobSpec) override {}
  void run(TaskId, std::uint32_t, env::Urgency) override {}
  void release(TaskId) override {}
};

struct Source final : env::Entropy {
  void fill(MutableBytes out) override { seeded.fill(out); }
  trust::testing::SeededSource seeded{4};
};

// One node and its disk, which has all that it was given after each step.
struct Alone {
  Alone() : directory(fleet.root.public_key) {
    EXPECT_TRUE(directory.add(rover.encoded));
    NodeOptions options;
    options.name = "rover";
    options.epoch = {1};
    options.endpoints = {env::Endpoint::v4(10, 0, 0, 1, 7334)};
    options.beacons = false;
    node.emplace(std::move(options), rover.keys.secret.clone(), directory, entropy, engine);
    node->start(now);
    run(20ms);
  }
  void run(Duration time) {
    for (const Instant until = now + time; now < until; now += 10ms) {
      for (int i = 0; i < 16 && node->next_deadline() <= now; ++i) node->on_timer(now);
      env::Outbox out;
      node->drain(out, now);
      if (!out.records.empty()) node->on_durable(out.lsn, now);
    }
  }
  static Buffer manifest_of(Bytes bytes) { return mesh::encode_manifest(mesh::make_manifest(bytes).value()); }
  static Buffer bytes_of(std::size_t number) { return to_buffer(as_bytes(fmt::format("model {}", number))); }
  mesh::UploadId upload(Bytes bytes) {
    mesh::Tensors& tensors = node->tensors();
    const mesh::UploadId id = tensors.begin(manifest_of(bytes), node->id(), now).value();
    const std::vector<std::uint32_t> lacking = tensors.lacking(id).value();
    for (const std::uint32_t number : lacking) EXPECT_TRUE(tensors.give(id, number, bytes, now));
    return id;
  }
  // What its client is told: at once, or when it is durable.
  std::shared_ptr<Status> begin_put(const std::string& path, Bytes bytes) {
    auto told = std::make_shared<Status>(fail(Code::kUnknown, "nothing yet"));
    const auto put = node->put_tensor(path, upload(bytes), [told](const Status& status) { *told = status; }, now);
    if (!put) *told = put;
    return told;
  }
  Status put(const std::string& path, Bytes bytes) {
    const auto told = begin_put(path, bytes);
    run(30ms);
    return *told;
  }
  bool reads(const std::string& path, Bytes bytes) const {
    const auto version = node->tensors().complete_at(path);
    return version && version->hash == trust::digest(manifest_of(bytes));
  }

  trust::testing::Fleet fleet{3};
  trust::testing::Member rover = fleet.enrol("rover");
  trust::Directory directory;
  Source entropy;
  Engine engine;
  Instant now = Instant{} + 100s;
  std::optional<Node> node;
};

TEST(NodeTensors, a_put_that_finds_no_place_is_refused_and_not_written) {
  Alone alone;
  const std::string own = fmt::format("sys/node/{}/model", alone.rover.id.hex());
  EXPECT_EQ(alone.put(own, alone.bytes_of(0)).error().code, Code::kInvalidArgument);
  EXPECT_FALSE(alone.node->state().replica().read(own));
  for (std::size_t i = 0; i + 1 < mesh::kPlacesOfWriterMax; ++i) {
    ASSERT_TRUE(alone.put(fmt::format("m/{}", i), alone.bytes_of(i)));
  }
  const auto last = alone.begin_put("last", alone.bytes_of(1000));
  const auto late = alone.begin_put("late", alone.bytes_of(1001));
  alone.run(50ms);
  EXPECT_TRUE(*last) << last->error().message;
  ASSERT_FALSE(*late) << "when it was asked there was a place, and its chunks are gone";
  EXPECT_EQ(late->error().code, Code::kResourceExhausted);

  EXPECT_EQ(alone.put("more", alone.bytes_of(1002)).error().code, Code::kResourceExhausted);
  EXPECT_FALSE(alone.node->state().replica().read("more"));
  EXPECT_TRUE(alone.put("m/3", alone.bytes_of(1003))) << "it has its place";
  EXPECT_TRUE(alone.reads("m/3", alone.bytes_of(1003)));
  for (const char* path : {"late", "m/4"}) {
    alone.node->when_durable(alone.node->state().erase(path, alone.now), [](const Status&) {});
  }
  alone.run(50ms);
  EXPECT_TRUE(alone.put("more", alone.bytes_of(1004)));
  EXPECT_TRUE(alone.reads("more", alone.bytes_of(1004)));
}

TEST(NodeTensors, a_put_that_another_write_follows_at_once_was_there_until_then) {
  Alone alone;
  const auto put = alone.begin_put("m", alone.bytes_of(1));
  alone.node->when_durable(alone.node->state().set("m", Buffer{1}, alone.now), [](const Status&) {});
  alone.run(50ms);
  EXPECT_TRUE(*put) << "it was there until the next write";
  EXPECT_EQ(alone.node->tensors().find("m"), nullptr);
}

TEST(NodeTensors, a_register_that_found_no_place_is_looked_at_again_when_there_is_one) {
  Alone alone;
  for (std::size_t i = 0; i <= mesh::kPlacesOfWriterMax; ++i) {
    alone.node->when_durable(
        alone.node->state().set(fmt::format("m/{}", i), alone.manifest_of(alone.bytes_of(i)), alone.now),
        [](const Status& status) { EXPECT_TRUE(status); });
    alone.run(10ms);
  }
  alone.run(50ms);
  const std::string without = fmt::format("m/{}", mesh::kPlacesOfWriterMax);
  ASSERT_EQ(alone.node->tensors().find(without), nullptr);
  alone.node->when_durable(alone.node->state().erase("m/7", alone.now), [](const Status&) {});
  alone.run(2s);
  EXPECT_NE(alone.node->tensors().find(without), nullptr);
}

}  // namespace
}  // namespace sedge::node
