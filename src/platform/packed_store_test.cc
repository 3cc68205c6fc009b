#include "platform/packed_store.h"

#include <atomic>
#include <fstream>

#include <gtest/gtest.h>

#include "engine/random_model.h"
#include "platform/model_figures.h"
#include "support/temp_folder.h"

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class PackedStoreTest : public testing::Test {
 protected:
  PackedStoreTest() { write(1); }

  // The same number of bytes whatever the seed.
  void write(std::uint64_t seed) {
    const engine::RandomModel model({.type = kernels::DType::kQ8_0, .seed = seed});
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(model.file().data()), static_cast<std::streamsize>(model.file().size()));
  }

  PackedStoreOptions options() {
    return {.folder = folder_.path() / "packed",
            .spare_bytes = [this] { return spare_.load(); },
            .wall_clock = [this] { return std::chrono::system_clock::now().time_since_epoch() + later_; }};
  }

  std::shared_ptr<const engine::Model> load(PackedStore& store, std::size_t bytes_max = 0) const {
    auto loaded = load_model(path_, {}, bytes_max, &store);
    EXPECT_TRUE(loaded) << loaded.error().message;
    return *loaded;
  }

  // As a process does that starts, works and ends. Whether it had to pack.
  bool packs() {
    PackedStore store(options());
    const auto model = load(store);
    store.save(model, "the hash");
    store.flush();
    return model->packed_bytes() != 0;
  }

  std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    if (!fs::exists(folder_.path() / "packed")) return all;
    for (const auto& each : fs::directory_iterator(folder_.path() / "packed")) all.push_back(each.path());
    return all;
  }

  void damage(std::streamoff at) const {
    std::fstream stream(files().at(0), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(at);
    const int before = stream.get();
    stream.seekp(at);
    stream.put(static_cast<char>(before ^ 0x55));
  }

  test::TempFolder folder_;
  fs::path path_ = folder_.path() / "model.gguf";
  std::chrono::nanoseconds later_ = 1h;  // than the file was written
  std::atomic<std::uint64_t> spare_{1 << 30};
};

TEST_F(PackedStoreTest, what_one_process_packed_the_next_one_maps_and_has_the_same_weights) {
  PackedStore first(options());
  const auto packed = load(first);
  EXPECT_GT(packed->packed_bytes(), 0u);
  first.save(packed, "the hash");
  first.flush();
  PackedStore second(options());
  const auto mapped = load(second);
  EXPECT_EQ(mapped->packed_bytes(), 0u) << "memory that the system cannot take back";
  EXPECT_EQ(to_buffer(mapped->packed().memory()), to_buffer(packed->packed().memory()));
  EXPECT_EQ(to_buffer(mapped->weights().output.data), to_buffer(packed->weights().output.data));
  EXPECT_EQ(to_buffer(mapped->weights().layers[2].ffn_norm.data), to_buffer(packed->weights().layers[2].ffn_norm.data));
  EXPECT_EQ(mapped->weights().layers[1].q.data.data() - mapped->packed().memory().data(),
            packed->weights().layers[1].q.data.data() - packed->packed().memory().data());
  EXPECT_EQ(second.load(mapped->file())->content_hash, "the hash");
  second.save(mapped, "another");  // nothing to save
  second.flush();
  EXPECT_EQ(files().size(), 1u);
  EXPECT_EQ(fs::status(folder_.path() / "packed").permissions(), fs::perms::owner_all);
}

TEST_F(PackedStoreTest, a_model_that_would_not_fit_packed_runs_where_it_was_packed_before) {
  PackedStore store(options());
  EXPECT_EQ(load_model(path_, {}, 100, &store).error().code, Code::kResourceExhausted);
  packs();
  PackedStore later(options());
  EXPECT_EQ(load(later, 100)->packed_bytes(), 0u);
}

TEST_F(PackedStoreTest, a_file_that_was_written_again_is_packed_again) {
  EXPECT_TRUE(packs());
  EXPECT_FALSE(packs());
  const auto bytes = fs::file_size(path_);
  write(2);
  ASSERT_EQ(fs::file_size(path_), bytes);
  EXPECT_TRUE(packs());
  EXPECT_FALSE(packs());
  EXPECT_EQ(files().size(), 2u);
}

TEST_F(PackedStoreTest, a_file_that_was_just_written_is_not_trusted_to_show_its_next_change) {
  later_ = 0ns;
  EXPECT_TRUE(packs());
  EXPECT_TRUE(files().empty());
  later_ = 3s;
  EXPECT_TRUE(packs());
  later_ = -3s;  // the clock was put back
  EXPECT_FALSE(packs());
  later_ = 1s;
  EXPECT_TRUE(packs()) << "it may have changed since";
}

TEST_F(PackedStoreTest, what_is_damaged_goes_and_is_packed_again) {
  packs();
  const auto size = static_cast<std::streamoff>(fs::file_size(files().at(0)));
  // The magic, the key, the number of bytes, the hash, the zeros behind it, the checksum, and the last matrix.
  const std::streamoff last_matrix = size - 272L * 68;
  for (const std::streamoff at : {std::streamoff{0}, std::streamoff{20}, std::streamoff{40}, std::streamoff{57},
                                  std::streamoff{2000}, std::streamoff{4095}, last_matrix}) {
    damage(at);
    EXPECT_TRUE(packs()) << "byte " << at;
    EXPECT_FALSE(packs()) << "byte " << at;
    EXPECT_EQ(files().size(), 1u);
  }
  for (const std::streamoff bytes : {std::streamoff{0}, std::streamoff{100}, size - 1, size + 1}) {
    fs::resize_file(files().at(0), static_cast<std::uintmax_t>(bytes));
    EXPECT_TRUE(packs()) << bytes << " bytes";
    EXPECT_FALSE(packs()) << bytes << " bytes";
  }
}

TEST_F(PackedStoreTest, the_least_recently_used_go_and_what_never_fits_is_not_written) {
  packs();
  const std::uint64_t bytes = fs::file_size(files().at(0));
  PackedStoreOptions narrow = options();
  narrow.bytes_max = bytes;
  write(2);
  {
    PackedStore store(narrow);
    store.save(load(store), "");
    store.flush();
  }
  EXPECT_EQ(files().size(), 1u);
  EXPECT_FALSE(packs()) << "the new one stayed";
  narrow.bytes_max = bytes - 1;
  PackedStore store(narrow);
  EXPECT_TRUE(files().empty());
  store.save(load(store), "");
  store.flush();
  EXPECT_TRUE(files().empty());
}

TEST_F(PackedStoreTest, a_full_disk_and_a_folder_that_cannot_be_had_cost_nothing_but_the_packing) {
  spare_ = 1000;
  EXPECT_TRUE(packs());
  EXPECT_TRUE(files().empty());
  fs::remove_all(folder_.path() / "packed");
  std::ofstream(folder_.path() / "packed") << "in the way";
  spare_ = 1 << 30;
  EXPECT_TRUE(packs());
  EXPECT_TRUE(packs());
}

TEST_F(PackedStoreTest, what_a_killed_process_left_half_written_goes) {
  packs();
  std::ofstream(folder_.path() / "packed" / "0123.packed.new") << "half";
  write(2);
  packs();
  EXPECT_EQ(files().size(), 2u);
}

}  // namespace
}  // namespace sedge::platform
