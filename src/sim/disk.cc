#include "sim/disk.h"

#include <algorithm>
#include <ranges>

#include "base/prng.h"

namespace sedge::sim {

namespace {

constexpr std::size_t kSector = 512;
constexpr std::uint64_t kFileBytesMax = 1u << 30;

void put(Buffer& file, std::uint64_t offset, Bytes data) {
  file.resize(std::max<std::size_t>(file.size(), offset + data.size()));
  std::ranges::copy(data, file.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace

class DiskFile final : public env::File {
 public:
  DiskFile(Disk& disk, std::string_view name) : disk_(disk), name_(name) {}

  Result<std::size_t> read(std::uint64_t offset, MutableBytes out) override {
    const Buffer& bytes = stored().now;
    if (offset >= bytes.size()) return 0;
    const std::size_t count = std::min<std::size_t>(out.size(), bytes.size() - offset);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
    return count;
  }
  Status write(std::uint64_t offset, Bytes data) override {
    SEDGE_CHECK(disk_.spend());
    if (offset + data.size() > kFileBytesMax) return fail(Code::kResourceExhausted, "the simulated disk is full");
    note({false, offset, to_buffer(data), {}, 0}, offset, data.size());
    put(stored().now, offset, data);
    return {};
  }
  Status truncate(std::uint64_t bytes) override {
    SEDGE_CHECK(disk_.spend());
    const std::size_t cut = stored().now.size() - std::min<std::size_t>(stored().now.size(), bytes);
    note({true, bytes, {}, {}, 0}, bytes, cut);
    stored().now.resize(bytes);
    return {};
  }
  Status sync() override {
    SEDGE_CHECK(disk_.spend());
    ++disk_.syncs_;
    stored().unsynced.clear();
    return {};
  }
  Result<std::uint64_t> size() override { return stored().now.size(); }

 private:
  Disk::Stored& stored() { return disk_.files_[name_]; }
  // Remembers how to undo a change of these bytes.
  void note(Disk::Change change, std::uint64_t offset, std::size_t bytes) {
    const Buffer& now = stored().now;
    change.size_before = now.size();
    const std::size_t from = std::min<std::size_t>(offset, now.size()), to = std::min(now.size(), from + bytes);
    change.before = to_buffer(Bytes(now).subspan(from, to - from));
    stored().unsynced.push_back(std::move(change));
  }
  Disk& disk_;
  std::string name_;
};

Status Disk::spend() {
  if (changes_left_ == 0) {
    return breaks_ ? fail(Code::kDataLoss, "the simulated disk fails") : fail(Code::kUnavailable, "the power is off");
  }
  if (changes_left_ > 0) --changes_left_;
  return {};
}

Result<std::unique_ptr<env::File>> Disk::open(std::string_view name, bool create) {
  if (!files_.contains(name)) {
    if (!create) return fail(Code::kNotFound, "{} is not on the simulated disk", name);
    files_.emplace(std::string(name), Stored{});
  }
  return std::make_unique<DiskFile>(*this, name);
}

Status Disk::remove(std::string_view name, bool) {
  SEDGE_CHECK(spend());
  const auto found = files_.find(name);
  if (found == files_.end()) return fail(Code::kNotFound, "{} is not on the simulated disk", name);
  files_.erase(found);
  return {};
}

void Disk::cut_power(std::uint64_t seed) {
  Prng prng(seed);
  mend();
  for (auto& [name, stored] : files_) {
    // Back to what was synced for sure, then on with what happened to reach the disk.
    for (const Change& change : stored.unsynced | std::views::reverse) {
      stored.now.resize(change.size_before);
      put(stored.now, std::min<std::size_t>(change.offset, change.size_before), change.before);
    }
    for (const Change& change : stored.unsynced) {
      if (change.truncate) {
        if (prng.chance(0.5)) stored.now.resize(change.offset);
        continue;
      }
      for (std::size_t from = 0; from < change.data.size(); from += kSector) {
        const std::size_t bytes = std::min(kSector, change.data.size() - from);
        if (prng.chance(0.5)) put(stored.now, change.offset + from, Bytes(change.data).subspan(from, bytes));
      }
    }
    stored.unsynced.clear();
  }
}

}  // namespace sedge::sim
