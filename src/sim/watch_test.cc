#include "sim/watch.h"

#include <gtest/gtest.h>

namespace sedge::sim {
namespace {

using namespace std::chrono_literals;

class Watched : public testing::Test {
 protected:
  Watched() {
    EXPECT_TRUE(world_.boot_all());
    EXPECT_TRUE(world_.run_until([this] { return world_.one_view(); }, 10s));
  }

  void write(const std::string& path, const char* value) {
    world_.act(0, [&](node::Node& node, Instant now) {
      std::optional<Buffer> bytes;
      if (value != nullptr) bytes = to_buffer(as_bytes(std::string_view(value)));
      EXPECT_TRUE(node.state().set(path, std::move(bytes), now));
    });
    world_.run(100ms);
  }

  World world_{{.nodes = 2}};
  Watch watch_{2};
};

TEST_F(Watched, what_a_node_acknowledged_is_looked_for_on_it) {
  write("a", "1");
  watch_.acknowledged(0, "a", "1");
  EXPECT_TRUE(watch_.look(world_).empty());
  watch_.acknowledged(0, "a", "2");
  watch_.acknowledged(0, "b", "1");
  EXPECT_EQ(watch_.look(world_),
            (std::vector<std::string>{"the acknowledged write of a is not on its writer, node-0",
                                      "the acknowledged write of b is not on its writer, node-0"}));
  EXPECT_TRUE(watch_.look(world_).empty()) << "said once";
  world_.kill(0);
  watch_.acknowledged(0, "c", "1");
  EXPECT_TRUE(watch_.look(world_).empty()) << "it does not run";
}

TEST_F(Watched, what_a_node_erased_is_not_there_again) {
  write("a", "1");
  write("a", nullptr);
  watch_.erased(0, "a");
  EXPECT_TRUE(watch_.look(world_).empty());
  write("a", "2");
  EXPECT_EQ(watch_.look(world_), (std::vector<std::string>{"a was erased by node-0 and is there again"}));
}

TEST_F(Watched, queues_are_counted_at_their_worst) {
  write("a", "1");
  (void)watch_.look(world_);
  const std::size_t kept = watch_.queues().cache_bytes;
  EXPECT_GT(kept, 0u);
  world_.run(30s);  // it is kept for ten
  (void)watch_.look(world_);
  EXPECT_EQ(watch_.queues().cache_bytes, kept);
}

TEST_F(Watched, writes_say_the_same_in_another_order) {
  for (int i = 0; i < 20; ++i) write(std::string(1, static_cast<char>('a' + i % 5)), i % 3 == 0 ? nullptr : "x");
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_TRUE(same_in_any_order(world_.node(1).state().replica(), seed));
  }
}

}  // namespace
}  // namespace sedge::sim
