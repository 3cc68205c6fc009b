#include "sim/disk.h"

#include <gtest/gtest.h>

namespace sedge::sim {
namespace {

Buffer read_all(Disk& disk, std::string_view name) {
  auto file = disk.open(name, false).value();
  Buffer bytes(static_cast<std::size_t>(file->size().value()));
  EXPECT_EQ(file->read(0, bytes).value(), bytes.size());
  return bytes;
}

TEST(Disk, what_was_synced_survives_and_the_rest_may_be_torn) {
  bool kept = false, lost = false, torn = false;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Disk disk;
    auto file = disk.open("f", true).value();
    ASSERT_TRUE(file->write(0, Buffer(1024, 1)));
    ASSERT_TRUE(file->sync());
    ASSERT_TRUE(file->write(0, Buffer(1024, 2)));
    EXPECT_EQ(read_all(disk, "f"), Buffer(1024, 2));  // the process itself sees it
    disk.cut_power(seed);
    const Buffer found = read_all(disk, "f");
    ASSERT_EQ(found.size(), 1024u);
    kept |= found == Buffer(1024, 2);
    lost |= found == Buffer(1024, 1);
    torn |= found[0] != found[512];
  }
  EXPECT_TRUE(kept && lost && torn);
}

TEST(Disk, after_the_power_went_everything_fails_until_it_is_back) {
  Disk disk;
  auto file = disk.open("f", true).value();
  disk.fail_after(1);
  EXPECT_TRUE(file->write(0, Buffer(10, 1)));
  EXPECT_FALSE(file->sync());
  EXPECT_FALSE(file->write(0, Buffer(10, 1)));
  disk.cut_power(1);
  EXPECT_TRUE(disk.open("f", false).value()->sync());
}

TEST(Disk, a_disk_that_fails_says_so_at_every_change_until_it_is_mended) {
  Disk disk;
  auto file = disk.open("f", true).value();
  disk.break_after(1);
  EXPECT_TRUE(file->write(0, Buffer(10, 1)));
  EXPECT_TRUE(disk.broken());
  EXPECT_EQ(file->sync().error().code, Code::kDataLoss);
  EXPECT_EQ(file->write(0, Buffer(10, 1)).error().code, Code::kDataLoss);
  disk.mend();
  EXPECT_TRUE(file->sync());
}

TEST(Disk, a_file_that_is_not_there_is_said_so) {
  Disk disk;
  EXPECT_EQ(disk.open("f", false).error().code, Code::kNotFound);
  EXPECT_EQ(disk.remove("f", true).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace sedge::sim
