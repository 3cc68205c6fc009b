#include "store/store.h"

#include <algorithm>
#include <map>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/prng.h"

namespace sedge::store {
namespace {

// A disk that dies at a chosen call. What was written since the last sync of its file survives sector by sector, or
// does not, in any combination.
class CrashDisk final : public env::Storage {
 public:
  static constexpr std::size_t kSector = 512;
  struct Change {
    bool truncate = false;
    std::uint64_t offset = 0;  // or the new size
    Buffer data;
  };
  struct Stored {
    Buffer now;  // as the living process sees it
    Buffer durable;
    std::vector<Change> unsynced;
  };

  int calls_left = -1;  // writes, truncations, syncs, removals; -1: for ever
  int calls = 0;
  std::map<std::string, Stored, std::less<>> files;

  Status spend() {
    ++calls;
    if (calls_left == 0) return fail(Code::kUnavailable, "the power is off");
    if (calls_left > 0) --calls_left;
    return {};
  }

  Result<std::unique_ptr<env::File>> open(std::string_view name, bool create) override;
  Status remove(std::string_view name, bool) override {
    SEDGE_CHECK(spend());
    const auto at = files.find(name);
    if (at == files.end()) return fail(Code::kNotFound, "{} is not there", name);
    files.erase(at);
    return {};
  }
  Result<bool> exists(std::string_view name) override { return files.contains(name); }

  // The disk as it is found after the power came back.
  CrashDisk after_power_cut(Prng& prng) const {
    CrashDisk found;
    for (const auto& [name, stored] : files) {
      Buffer bytes = stored.durable;
      for (const Change& change : stored.unsynced) survive(bytes, change, prng);
      found.files[name] = {bytes, bytes, {}};
    }
    return found;
  }

  static void put(Buffer& file, std::uint64_t offset, Bytes data) {
    file.resize(std::max<std::size_t>(file.size(), offset + data.size()));
    std::ranges::copy(data, file.begin() + static_cast<std::ptrdiff_t>(offset));
  }

 private:
  static void survive(Buffer& file, const Change& change, Prng& prng) {
    if (change.truncate) {
      if (prng.chance(0.5)) file.resize(change.offset);
      return;
    }
    const bool whole = prng.chance(0.5);
    for (std::size_t from = 0; from < change.data.size(); from += kSector) {
      const Bytes sector = Bytes(change.data).subspan(from, std::min(kSector, change.data.size() - from));
      if (whole || prng.chance(0.5)) put(file, change.offset + from, sector);
    }
  }
};

class CrashFile final : public env::File {
 public:
  CrashFile(CrashDisk& disk, std::string_view name) : disk_(disk), name_(name) {}
  Result<std::size_t> read(std::uint64_t offset, MutableBytes out) override {
    const Buffer& bytes = file().now;
    if (offset >= bytes.size()) return 0;
    const std::size_t count = std::min<std::size_t>(out.size(), bytes.size() - offset);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
    return count;
  }
  Status write(std::uint64_t offset, Bytes data) override {
    SEDGE_CHECK(disk_.spend());
    CrashDisk::put(file().now, offset, data);
    file().unsynced.push_back({false, offset, to_buffer(data)});
    return {};
  }
  Status truncate(std::uint64_t bytes) override {
    SEDGE_CHECK(disk_.spend());
    file().now.resize(bytes);
    file().unsynced.push_back({true, bytes, {}});
    return {};
  }
  Status sync() override {
    SEDGE_CHECK(disk_.spend());
    file().durable = file().now;
    file().unsynced.clear();
    return {};
  }
  Result<std::uint64_t> size() override { return file().now.size(); }

 private:
  CrashDisk::Stored& file() { return disk_.files[name_]; }
  CrashDisk& disk_;
  std::string name_;
};

Result<std::unique_ptr<env::File>> CrashDisk::open(std::string_view name, bool create) {
  if (!files.contains(name)) {
    if (!create) return fail(Code::kNotFound, "{} is not there", name);
    files[std::string(name)];
  }
  return std::make_unique<CrashFile>(*this, name);
}

Buffer text(std::string_view words) { return to_buffer(as_bytes(words)); }
env::Record record(std::string_view key, Buffer value) { return {"b", text(key), std::move(value), false}; }

std::map<Buffer, Buffer> contents(Store& store, std::string_view bucket = "b") {
  std::map<Buffer, Buffer> out;
  const Status loaded = store.load(bucket, [&](Bytes key, Bytes value) {
    out[to_buffer(key)] = to_buffer(value);
    return Status{};
  });
  EXPECT_TRUE(loaded) << loaded.error().message;
  return out;
}

TEST(Store, buckets_keep_what_was_put_in_order_of_keys_and_across_a_reopening) {
  CrashDisk disk;
  {
    const auto store = Store::open(disk, "state.db").value();
    ASSERT_TRUE(store->apply(std::vector<env::Record>{
        record("2", text("b")), record("1", {}), {"other", {}, text("x"), false}, record("2", text("c"))}));
    ASSERT_TRUE(store->apply(std::vector<env::Record>{record("3", text("d")), {"b", text("1"), {}, true}}));
  }
  const auto store = Store::open(disk, "state.db").value();
  EXPECT_EQ(contents(*store), (std::map<Buffer, Buffer>{{text("2"), text("c")}, {text("3"), text("d")}}));
  EXPECT_EQ(contents(*store, "other"), (std::map<Buffer, Buffer>{{{}, text("x")}}));
  EXPECT_TRUE(contents(*store, "none").empty());
}

TEST(Store, it_is_the_map_that_its_records_describe) {
  EXPECT_TRUE(rc::check([](const std::vector<std::tuple<std::uint8_t, Buffer, bool>>& changes) {
    CrashDisk disk;
    const auto store = Store::open(disk, "state.db").value();
    std::map<Buffer, Buffer> model;
    std::vector<env::Record> records;
    for (const auto& [key, value, erase] : changes) {
      records.push_back({"b", {key}, value, erase});
      if (erase) {
        model.erase({key});
      } else {
        model[{key}] = value;
      }
    }
    RC_ASSERT(store->apply(records).has_value());
    RC_ASSERT(contents(*store) == model);
  }));
}

TEST(Store, a_visitors_error_ends_the_load_and_the_store_goes_on) {
  CrashDisk disk;
  const auto store = Store::open(disk, "state.db").value();
  ASSERT_TRUE(store->apply(std::vector<env::Record>{record("1", {}), record("2", {})}));
  int visited = 0;
  const Status stopped = store->load("b", [&](Bytes, Bytes) -> Status {
    ++visited;
    return fail(Code::kDataLoss, "enough");
  });
  EXPECT_EQ(stopped.error().message, "enough");
  EXPECT_EQ(visited, 1);
  EXPECT_EQ(contents(*store).size(), 2u);
}

// Batches of records of one generation: batch n writes n into keys 0..4 (large values over several pages among them),
// so that a torn batch shows as mixed generations.
constexpr int kBatches = 12;
std::vector<env::Record> batch(int generation) {
  std::vector<env::Record> records;
  for (int key = 0; key < 5; ++key) {
    Buffer value(key == 4 ? 9000 : 10, static_cast<std::uint8_t>(generation));
    records.push_back(record(std::to_string(key), std::move(value)));
  }
  records.push_back(record("only/" + std::to_string(generation), text("x")));
  return records;
}

// Applies batches until the disk dies; returns how many were acknowledged.
int run_until_dead(CrashDisk& disk) {
  int acknowledged = 0;
  const auto store = Store::open(disk, "state.db");
  if (!store) return 0;
  for (int generation = 1; generation <= kBatches; ++generation) {
    if (!(*store)->apply(batch(generation))) break;
    acknowledged = generation;
  }
  return acknowledged;
}

// What was found must be the state after exactly `found` batches, none of the acknowledged missing.
void check_found(CrashDisk& disk, int acknowledged) {
  const auto store = Store::open(disk, "state.db");
  ASSERT_TRUE(store) << store.error().message;
  const auto found = contents(**store);
  if (found.empty()) {
    EXPECT_EQ(acknowledged, 0);
    return;
  }
  const int generation = found.at(text("0")).at(0);
  EXPECT_TRUE(generation == acknowledged || generation == acknowledged + 1) << generation << " after " << acknowledged;
  for (int key = 0; key < 5; ++key) {
    const Buffer& value = found.at(text(std::to_string(key)));
    EXPECT_EQ(std::ranges::count(value, generation), static_cast<std::ptrdiff_t>(value.size()));
  }
  EXPECT_EQ(found.size(), 5u + static_cast<std::size_t>(generation));
  EXPECT_TRUE((*store)->apply(batch(kBatches)));
}

TEST(Store, after_a_power_cut_at_any_call_all_that_was_acknowledged_is_there_and_nothing_is_torn) {
  CrashDisk whole;
  ASSERT_EQ(run_until_dead(whole), kBatches);
  ASSERT_GT(whole.calls, 2 * kBatches);
  Prng prng(7);
  for (int dies_at = 0; dies_at <= whole.calls; ++dies_at) {
    CrashDisk disk;
    disk.calls_left = dies_at;
    const int acknowledged = run_until_dead(disk);
    for (int outcome = 0; outcome < 3; ++outcome) {
      CrashDisk found = disk.after_power_cut(prng);
      check_found(found, acknowledged);
      if (HasFailure()) FAIL() << "died at call " << dies_at << " of " << whole.calls;
    }
  }
}

TEST(Store, a_power_cut_during_recovery_loses_nothing_either) {
  Prng prng(8);
  for (int dies_at = 4; dies_at < 40; dies_at += 3) {
    CrashDisk disk;
    disk.calls_left = dies_at;
    const int acknowledged = run_until_dead(disk);
    for (int again = 0; again < 8; ++again) {
      CrashDisk found = disk.after_power_cut(prng);
      found.calls_left = again;
      static_cast<void>(Store::open(found, "state.db"));
      CrashDisk second = found.after_power_cut(prng);
      check_found(second, acknowledged);
      if (HasFailure()) FAIL() << "died at call " << dies_at << ", then at " << again;
    }
  }
}

TEST(Store, one_batch_costs_one_sync) {
  CrashDisk disk;
  const auto store = Store::open(disk, "state.db").value();
  ASSERT_TRUE(store->apply(std::vector<env::Record>{record("1", text("x"))}));
  disk.calls = 0;
  std::vector<env::Record> many;
  for (int i = 0; i < 20; ++i) many.push_back(record("k", text(std::to_string(i))));
  ASSERT_TRUE(store->apply(many));
  EXPECT_LE(disk.calls, 8);  // frame headers, frames, padding to a sector, and the sync
}

TEST(Store, a_failing_disk_is_an_error_that_says_what_the_disk_said) {
  CrashDisk disk;
  const auto store = Store::open(disk, "state.db").value();
  ASSERT_TRUE(store->apply(std::vector<env::Record>{record("1", text("x"))}));
  disk.calls_left = 0;
  const Status failed = store->apply(std::vector<env::Record>{record("2", text("y"))});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::kUnavailable);
  EXPECT_NE(failed.error().message.find("the power is off"), std::string::npos) << failed.error().message;
  disk.calls_left = -1;
  EXPECT_EQ(contents(*store).size(), 1u);
  EXPECT_TRUE(store->apply(std::vector<env::Record>{record("3", text("z"))}));
  EXPECT_EQ(contents(*store).size(), 2u);
}

TEST(Store, what_is_not_ours_is_refused) {
  CrashDisk disk;
  disk.files["state.db"].now = text(
      "this is not a database, and it is longer than a header of one hundred bytes is, "
      "as anybody can count who has the time");
  const auto noise = Store::open(disk, "state.db");
  ASSERT_FALSE(noise);
  EXPECT_EQ(noise.error().code, Code::kDataLoss) << noise.error().message;

  CrashDisk newer;
  ASSERT_TRUE(Store::open(newer, "state.db").value()->apply(std::vector<env::Record>{record("1", text("x"))}));
  Buffer& bytes = newer.files["state.db"].now;
  ASSERT_GT(bytes.size(), 100u);
  bytes[63] = 2;  // user_version, big-endian at 60 (SQLite's file format, section 1.3)
  const auto refused = Store::open(newer, "state.db");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kFailedPrecondition) << refused.error().message;
}

TEST(Store, any_damage_to_the_file_is_an_error_or_a_store_that_reads) {
  CrashDisk disk;
  ASSERT_EQ(run_until_dead(disk), kBatches);
  Prng prng(9);
  for (int round = 0; round < 300; ++round) {
    CrashDisk damaged = disk.after_power_cut(prng);
    for (auto& [name, stored] : damaged.files) {
      if (stored.now.empty()) continue;
      for (int i = 0; i < 3; ++i) stored.now[prng.below(stored.now.size())] ^= static_cast<std::uint8_t>(prng.next());
      if (prng.chance(0.2)) stored.now.resize(prng.below(stored.now.size()));
    }
    const auto store = Store::open(damaged, "state.db");
    if (store) static_cast<void>((*store)->load("b", [](Bytes, Bytes) { return Status{}; }));
  }
}

}  // namespace
}  // namespace sedge::store
