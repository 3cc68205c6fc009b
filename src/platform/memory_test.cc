#include "platform/memory.h"

#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kMiB = 1u << 20;

class GroupLimit : public testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) {
    fs::create_directories((mounted_ / file).parent_path());
    std::ofstream(mounted_ / file) << text << "\n";
  }

  test::TempFolder folder_;
  const fs::path& mounted_ = folder_.path();
};

TEST_F(GroupLimit, is_the_least_of_the_group_and_those_above_it) {
  write("system.slice/sedge.service/memory.max", "max");
  write("system.slice/memory.max", "536870912");
  EXPECT_EQ(group_limit_bytes("0::/system.slice/sedge.service\n", mounted_), 512 * kMiB);
  write("system.slice/sedge.service/memory.max", "268435456");
  EXPECT_EQ(group_limit_bytes("0::/system.slice/sedge.service\n", mounted_), 256 * kMiB);
}

TEST_F(GroupLimit, in_a_container_is_that_of_the_mount) {
  write("memory.max", "104857600");
  EXPECT_EQ(group_limit_bytes("0::/", mounted_), 100 * kMiB);
  EXPECT_EQ(group_limit_bytes("0::/../outside/of/it\n", mounted_ / "nothing"), 0u);
  EXPECT_EQ(group_limit_bytes("0::/not/visible/here\n", mounted_), 100 * kMiB);
}

TEST_F(GroupLimit, of_version_1_and_of_both_together) {
  write("memory/docker/7/memory.limit_in_bytes", "209715200");
  const std::string both = "9:cpu,cpuacct:/docker/7\n4:memory:/docker/7\n0::/docker/7\n";
  EXPECT_EQ(group_limit_bytes(both, mounted_), 200 * kMiB);
  EXPECT_EQ(group_limit_bytes("4:memory_of_elephants:/docker/7\n", mounted_), 0u);
  write("unified/docker/7/memory.max", "157286400");
  EXPECT_EQ(group_limit_bytes(both, mounted_), 150 * kMiB);
}

TEST_F(GroupLimit, is_none_where_nothing_is_said) {
  for (const char* text : {"", "\n\n", ":", "0::", "no colons", "4:memory:/x\n"}) {
    EXPECT_EQ(group_limit_bytes(text, mounted_), 0u) << text;
  }
}

TEST(Memory, is_what_the_machine_has_at_most) {
  const auto pages = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES));
  EXPECT_LE(memory_bytes(), pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  EXPECT_GT(memory_bytes(), 0u);
}

TEST(Memory, texts_take_what_models_leave_and_a_little_in_any_case) {
  EXPECT_EQ(text_memory_bytes(8192 * kMiB, 3072 * kMiB), 4096 * kMiB);  // an eighth is for everything else,
  EXPECT_EQ(text_memory_bytes(1024 * kMiB, 512 * kMiB), 256 * kMiB);    // 256 MiB at least
  EXPECT_EQ(text_memory_bytes(1024 * kMiB, 4096 * kMiB), 64 * kMiB);    // mapped weights that fill all
  EXPECT_EQ(text_memory_bytes(0, 512 * kMiB), std::numeric_limits<std::size_t>::max());
}

TEST(Memory, weights_may_have_most_of_it_beside_those_that_are_loaded) {
  EXPECT_EQ(weights_memory_bytes(8192 * kMiB, 0), 7168 * kMiB);
  EXPECT_EQ(weights_memory_bytes(8192 * kMiB, 5120 * kMiB), 2048 * kMiB);
  EXPECT_EQ(weights_memory_bytes(8192 * kMiB, 8000 * kMiB), 1u) << "0 would say that nobody counts";
  EXPECT_EQ(weights_memory_bytes(0, 512 * kMiB), 0u);
}

}  // namespace
}  // namespace sedge::platform
