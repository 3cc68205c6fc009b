#include "platform/prefix_store.h"

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/prng.h"

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;

class PrefixStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "sedge-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    home_ = name;
  }
  void TearDown() override { fs::remove_all(home_); }

  PrefixStore open(std::uint64_t bytes_max = 1 << 20) const {
    return PrefixStore({.folder = home_ / "prefixes", .bytes_max = bytes_max});
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    if (!fs::exists(home_ / "prefixes")) return all;
    for (const auto& each : fs::directory_iterator(home_ / "prefixes")) all.push_back(each.path());
    return all;
  }

  fs::path home_;
};

engine::BlockValues some_values(std::uint64_t seed, std::size_t count = 100) {
  Prng prng(seed);
  auto values = std::make_shared<std::vector<float>>(count);
  for (float& value : *values) value = static_cast<float>(prng.uniform());
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
  constexpr std::uint64_t kFile = 72 + 100 * sizeof(float);
  {
    PrefixStore store = open(3 * kFile);
    for (std::int32_t i = 0; i < 8; ++i) store.save("m", some_tokens(i), some_values(static_cast<std::uint64_t>(i)));
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
