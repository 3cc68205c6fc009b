#include "platform/prefix_store.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "trust/keys.h"

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "SDGPFX1\n";
constexpr std::string_view kSuffix = ".kv";
constexpr std::size_t kHeaderBytes = kMagic.size() + 2 * sizeof(trust::Digest);  // magic, name, checksum
constexpr std::size_t kNameBytes = 2 * sizeof(trust::Digest) + kSuffix.size();
constexpr std::size_t kFilesMax = 1 << 16;  // looked at when a folder is opened; what is more is left alone

Bytes bytes_of(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

template <class T>
Bytes bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()};
}

// Everything the values depend on.
trust::Digest key_of(const std::string& scope, std::span<const std::int32_t> tokens) {
  Buffer all;
  const auto append = [&](Bytes bytes) { all.insert(all.end(), bytes.begin(), bytes.end()); };
  append(bytes_of(kMagic));
  append(bytes_of(std::string_view(scope)));
  all.push_back(0);
  append(bytes_of(tokens));
  return trust::digest(all);
}

std::string name_of(const trust::Digest& key) { return to_hex(Bytes(key)) + std::string(kSuffix); }

trust::Digest checksum(Bytes key, Bytes values) { return trust::digest(values, key); }

std::uint64_t spare_on_disk_of(const fs::path& folder) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) return std::numeric_limits<std::uint64_t>::max();  // whatever it is, writing says it too
  const std::uint64_t reserve = std::max(std::uint64_t{256} << 20, std::uint64_t{space.capacity} / 20);
  return space.available - std::min<std::uint64_t>(space.available, reserve);
}

}  // namespace

PrefixStore::PrefixStore(PrefixStoreOptions options) : options_(std::move(options)), files_(options_.folder) {
  if (!options_.spare_bytes) options_.spare_bytes = [folder = options_.folder] { return spare_on_disk_of(folder); };
  scan();
  thread_ = std::thread([this] { run(); });
}

PrefixStore::~PrefixStore() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    const std::size_t kept = std::min<std::size_t>(queue_.size(), 1);
    stats_.dropped += queue_.size() - kept;
    queue_.resize(kept);
  }
  wake_.notify_all();
  thread_.join();
}

void PrefixStore::scan() {
  struct Found {
    fs::file_time_type used;
    std::string name;
    std::uint64_t bytes;
  };
  std::vector<Found> found;
  std::error_code error;
  for (fs::directory_iterator each(options_.folder, error), end; !error && each != end; each.increment(error)) {
    const std::string name = each->path().filename().string();
    if (name.size() != kNameBytes || !name.ends_with(kSuffix) || found.size() == kFilesMax) continue;
    std::error_code gone;
    const auto used = each->last_write_time(gone);
    const std::uint64_t bytes = gone ? 0 : each->file_size(gone);
    if (!gone) found.push_back({used, name, bytes});
  }
  std::ranges::sort(found, {}, &Found::used);
  for (const Found& file : found) add(file.name, file.bytes);
  evict(options_.bytes_max);
}

void PrefixStore::add(const std::string& name, std::uint64_t bytes) {
  uses_.push_front(name);
  kept_[name] = {bytes, uses_.begin()};
  bytes_ += bytes;
}

void PrefixStore::forget(const std::string& name) {
  const auto found = kept_.find(name);
  if (found == kept_.end()) return;
  bytes_ -= found->second.bytes;
  uses_.erase(found->second.use);
  kept_.erase(found);
}

void PrefixStore::evict(std::uint64_t bytes) {
  while (bytes_ > bytes) {
    const std::string oldest = uses_.back();
    forget(oldest);
    (void)files_.remove(oldest, false);  // what cannot be removed is no longer counted, and found at the next start
  }
}

engine::BlockValues PrefixStore::load(const std::string& scope, std::span<const std::int32_t> tokens,
                                      std::size_t bytes) {
  const trust::Digest key = key_of(scope, tokens);
  const std::string name = name_of(key);
  {
    const std::lock_guard lock(mutex_);
    const auto waiting = std::ranges::find(queue_, key, &Waiting::key);
    if (waiting != queue_.end()) return waiting->values->size() == bytes ? waiting->values : nullptr;
    const auto found = kept_.find(name);
    if (found == kept_.end()) return nullptr;
    uses_.splice(uses_.begin(), uses_, found->second.use);
  }
  const Result<Buffer> content = read_file(options_.folder / name, kHeaderBytes + bytes);
  const auto part = [&](std::size_t begin, std::size_t size) { return Bytes(*content).subspan(begin, size); };
  const bool whole = content && content->size() == kHeaderBytes + bytes &&
                     std::ranges::equal(part(0, kMagic.size()), bytes_of(kMagic)) &&
                     std::ranges::equal(part(kMagic.size(), key.size()), key) &&
                     std::ranges::equal(part(kMagic.size() + key.size(), sizeof(trust::Digest)),
                                        checksum(Bytes(key), part(kHeaderBytes, bytes)));
  if (!whole) {
    const std::lock_guard lock(mutex_);
    ++stats_.damaged;
    forget(name);
    (void)files_.remove(name, false);
    return nullptr;
  }
  auto values = std::make_shared<const Buffer>(to_buffer(part(kHeaderBytes, bytes)));
  std::error_code ignored;  // the order of use survives a restart where the file system keeps it
  fs::last_write_time(options_.folder / name, fs::file_time_type::clock::now(), ignored);
  const std::lock_guard lock(mutex_);
  ++stats_.loaded;
  return values;
}

void PrefixStore::save(const std::string& scope, std::span<const std::int32_t> tokens, engine::BlockValues values) {
  const trust::Digest key = key_of(scope, tokens);
  {
    const std::lock_guard lock(mutex_);
    if (kept_.contains(name_of(key)) || std::ranges::find(queue_, key, &Waiting::key) != queue_.end()) return;
    const std::size_t bytes = kHeaderBytes + values->size();
    if (queued_bytes_ + bytes > options_.queued_bytes_max || bytes > options_.bytes_max) {
      ++stats_.dropped;
      return;
    }
    queue_.push_back({key, std::move(values)});
    queued_bytes_ += bytes;
  }
  wake_.notify_all();
}

void PrefixStore::flush() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return queue_.empty(); });
}

void PrefixStore::make_folder() const {
  std::error_code error;
  if (fs::create_directory(options_.folder, error)) {
    fs::permissions(options_.folder, fs::perms::owner_all, error);  // prompts can be read out of the values
  }
}

Status PrefixStore::write(const Waiting& block) {
  const Bytes values = *block.values;
  const trust::Digest sum = checksum(Bytes(block.key), values);
  Buffer header;
  for (const Bytes part : {bytes_of(kMagic), Bytes(block.key), Bytes(sum)}) {
    header.insert(header.end(), part.begin(), part.end());
  }
  SEDGE_TRY(const auto file, files_.open(name_of(block.key), true));
  SEDGE_CHECK(file->truncate(0));
  SEDGE_CHECK(file->write(0, header));
  return file->write(header.size(), values);
}

void PrefixStore::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Waiting next = queue_.front();  // stays there until it can be read from the disk
    const std::size_t bytes = kHeaderBytes + next.values->size();
    lock.unlock();
    make_folder();
    const bool room = options_.spare_bytes() >= bytes;
    const bool written = room && write(next);
    if (room && !written) (void)files_.remove(name_of(next.key), false);
    lock.lock();
    queue_.pop_front();
    queued_bytes_ -= bytes;
    if (written) {
      ++stats_.saved;
      add(name_of(next.key), bytes);
      evict(options_.bytes_max);
    } else {
      ++stats_.dropped;
      // What the disk refused, for a quota say, it will refuse again: from now on half of what it has must do.
      if (room) options_.bytes_max = bytes_ / 2;
      evict(room ? options_.bytes_max : bytes_ - std::min<std::uint64_t>(bytes_, bytes));
    }
    wake_.notify_all();
  }
}

PrefixStoreStats PrefixStore::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace sedge::platform
