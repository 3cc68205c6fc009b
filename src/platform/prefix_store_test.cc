#include "platform/prefix_store.h"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "support/temp_folder.h"

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;

class PrefixStoreTest : public testing::Test {
 protected:
  PrefixStoreOptions options(std::uint64_t bytes_max = 1 << 20) {
    return {.folder = home_ / "prefixes", .bytes_max = bytes_max, .spare_bytes = [this] { return spare_.load(); }};
  }
  PrefixStore open(std::uint64_t bytes_max = 1 << 20) { return PrefixStore(options(bytes_max)); }
  std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    if (!fs::exists(home_ / "prefixes")) return all;
    for (const auto& each : fs::directory_iterator(home_ / "prefixes")) all.push_back(each.path());
    return all;
  }

  test::TempFolder folder_;
  const fs::path& home_ = folder_.path();
  std::atomic<std::uint64_t> spare_{1 << 30};
};

constexpr std::uint64_t kFile = 72 + 100;

engine::BlockValues some_values(std::uint64_t seed, std::size_t count = 100) {
  Prng prng(seed);
  auto values = std::make_shared<Buffer>(count);
  for (std::uint8_t& value : *values) value = static_cast<std::uint8_t>(prng.next());
  return values;
}

std::vector<std::int32_t> some_tokens(std::int32_t last) {
  std::vector<std::int32_t> tokens(engine::kPrefixBlock, 7);
  tokens.back() = last;
  return tokens;
}

TEST_F(PrefixStoreTest, what_was_saved_is_there_after_a_restart_and_only_under_its_own_name) {
  const auto tokens = some_tokens(1);
  {
    PrefixStore store = open();
    store.save("model class", tokens, some_values(1));
    EXPECT_EQ(*store.load("model class", tokens, 100), *some_values(1)) << "written or not";
  }
  PrefixStore store = open();
  ASSERT_NE(store.load("model class", tokens, 100), nullptr);
  EXPECT_EQ(*store.load("model class", tokens, 100), *some_values(1));
  EXPECT_EQ(store.load("model other", tokens, 100), nullptr);
  EXPECT_EQ(store.load("model class", some_tokens(2), 100), nullptr);
  EXPECT_EQ(store.stats().damaged, 0u);
}

TEST_F(PrefixStoreTest, a_damaged_file_is_removed_whatever_the_damage) {
  for (const int damage : {0, 1, 2, 3, 4}) {
    {
      open().save("m", some_tokens(1), some_values(1));
    }
    ASSERT_EQ(files().size(), 1u);
    const fs::path file = files().front();
    const auto bytes = static_cast<std::int64_t>(fs::file_size(file));
    if (damage == 0) fs::resize_file(file, static_cast<std::uintmax_t>(bytes - 1));
    if (damage == 1) fs::resize_file(file, 0);
    if (damage == 2) fs::resize_file(file, static_cast<std::uintmax_t>(bytes + 1));
    if (damage > 2) {  // a byte of the header, one of the values
      std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekp(damage == 3 ? 20 : bytes - 5);
      stream.put('\x55');
    }
    PrefixStore store = open();
    EXPECT_EQ(store.load("m", some_tokens(1), 100), nullptr) << damage;
    EXPECT_EQ(store.stats().damaged, 1u);
    EXPECT_TRUE(files().empty());
  }
}

TEST_F(PrefixStoreTest, the_bound_holds_while_it_runs_and_from_the_start) {
  {
    PrefixStore store = open(3 * kFile);
    for (std::int32_t i = 0; i < 8; ++i) store.save("m", some_tokens(i), some_values(static_cast<std::uint64_t>(i)));
    store.flush();
  }
  EXPECT_EQ(files().size(), 3u);
  {
    const PrefixStore store = open(kFile);
  }
  EXPECT_EQ(files().size(), 1u);
  {
    PrefixStore store = open(kFile - 1);
    store.save("m", some_tokens(1), some_values(1));
    EXPECT_EQ(store.stats().dropped, 1u) << "a block that would never fit";
  }
  EXPECT_TRUE(files().empty());
}

TEST_F(PrefixStoreTest, blocks_that_wait_are_bounded_in_bytes_and_the_end_waits_for_one) {
  PrefixStoreOptions slow = options();
  slow.queued_bytes_max = 5 * kFile;
  PrefixStore* store = nullptr;
  // A disk that takes its time over each block, until three were refused and the end has dropped all but one of five.
  slow.spare_bytes = [&] {
    while (store->stats().dropped < 7) std::this_thread::yield();
    return spare_.load();
  };
  store = new PrefixStore(slow);
  for (std::int32_t i = 0; i < 8; ++i) store->save("m", some_tokens(i), some_values(static_cast<std::uint64_t>(i)));
  EXPECT_EQ(store->stats().dropped, 3u);
  EXPECT_EQ(store->stats().saved, 0u);
  delete store;
  EXPECT_EQ(files().size(), 1u);
}

TEST_F(PrefixStoreTest, where_the_disk_runs_out_the_oldest_go_and_none_comes) {
  PrefixStore store = open();
  for (std::int32_t i = 0; i < 3; ++i) store.save("m", some_tokens(i), some_values(1));
  store.flush();
  spare_ = kFile - 1;
  store.save("m", some_tokens(7), some_values(1));
  store.flush();
  EXPECT_EQ(files().size(), 2u);
  EXPECT_EQ(store.stats().dropped, 1u);
  EXPECT_EQ(store.load("m", some_tokens(0), 100), nullptr) << "the oldest";
  EXPECT_EQ(store.load("m", some_tokens(7), 100), nullptr);
  spare_ = kFile;
  store.save("m", some_tokens(7), some_values(1));
  store.flush();
  EXPECT_EQ(files().size(), 3u);
}

TEST_F(PrefixStoreTest, a_disk_that_refuses_is_asked_for_half_of_what_it_took) {
  open().save("m", some_tokens(9), some_values(1));
  const fs::path in_the_way = files().front();
  fs::remove(in_the_way);
  fs::create_directory(in_the_way);
  PrefixStore store = open();
  for (std::int32_t i = 0; i < 4; ++i) store.save("m", some_tokens(i), some_values(1));
  store.flush();
  EXPECT_EQ(files().size(), 1 + 4u);
  for (std::int32_t i = 9; i < 12; ++i) store.save("m", some_tokens(i), some_values(1));
  store.flush();
  EXPECT_EQ(store.stats().dropped, 1u);
  EXPECT_EQ(files().size(), 1 + 2u);
  EXPECT_NE(store.load("m", some_tokens(11), 100), nullptr) << "what comes is kept still";
}

TEST_F(PrefixStoreTest, a_folder_that_cannot_be_had_costs_nothing_but_the_blocks) {
  std::ofstream(home_ / "prefixes") << "in the way";
  {
    PrefixStore store = open();
    store.save("m", some_tokens(1), some_values(1));
  }
  PrefixStore store = open();
  EXPECT_EQ(store.load("m", some_tokens(1), 100), nullptr);
}

}  // namespace
}  // namespace sedge::platform
