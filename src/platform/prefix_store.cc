#include "platform/prefix_store.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "trust/keys.h"

namespace sedge::platform {
namespace {

constexpr std::string_view kMagic = "SDGPFX1\n";
constexpr std::string_view kSuffix = ".kv";
constexpr std::size_t kHeaderBytes = kMagic.size() + 2 * sizeof(trust::Digest);  // magic, name, checksum

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

}  // namespace

Buffer prefix_block_header(const trust::Digest& key, Bytes values) {
  const trust::Digest sum = trust::digest(values, Bytes(key));
  Buffer header;
  for (const Bytes part : {bytes_of(kMagic), Bytes(key), Bytes(sum)}) {
    header.insert(header.end(), part.begin(), part.end());
  }
  return header;
}

std::optional<Bytes> read_prefix_block(const trust::Digest& key, Bytes file) {
  if (file.size() < kHeaderBytes) return {};
  const Bytes values = file.subspan(kHeaderBytes);
  if (!std::ranges::equal(prefix_block_header(key, values), file.first(kHeaderBytes))) return {};
  return values;
}

PrefixStore::PrefixStore(PrefixStoreOptions options)
    : options_(std::move(options)), kept_(options_.folder, std::string(kSuffix)) {
  if (!options_.spare_bytes) options_.spare_bytes = [folder = options_.folder] { return spare_on_disk_of(folder); };
  kept_.evict(options_.bytes_max);
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

engine::BlockValues PrefixStore::load(const std::string& scope, std::span<const std::int32_t> tokens,
                                      std::size_t bytes) {
  const trust::Digest key = key_of(scope, tokens);
  const std::string name = kept_.name_of(key);
  {
    const std::lock_guard lock(mutex_);
    const auto waiting = std::ranges::find(queue_, key, &Waiting::key);
    if (waiting != queue_.end()) return waiting->values->size() == bytes ? waiting->values : nullptr;
    if (!kept_.contains(name)) return nullptr;
  }
  const Result<Buffer> content = read_file(kept_.path_of(name), kHeaderBytes + bytes);
  const auto read = content ? read_prefix_block(key, *content) : std::nullopt;
  const bool whole = read && read->size() == bytes;
  auto values = whole ? std::make_shared<const Buffer>(to_buffer(*read)) : nullptr;
  const std::lock_guard lock(mutex_);
  if (whole) {
    kept_.use(name);
  } else {
    kept_.remove(name);
  }
  ++(whole ? stats_.loaded : stats_.damaged);
  return values;
}

void PrefixStore::save(const std::string& scope, std::span<const std::int32_t> tokens, engine::BlockValues values) {
  const trust::Digest key = key_of(scope, tokens);
  {
    const std::lock_guard lock(mutex_);
    if (kept_.contains(kept_.name_of(key)) || std::ranges::find(queue_, key, &Waiting::key) != queue_.end()) return;
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

Status PrefixStore::write(const Waiting& block) {
  const Bytes values = *block.values;
  const Buffer header = prefix_block_header(block.key, values);
  SEDGE_TRY(const auto file, kept_.storage().open(kept_.name_of(block.key), true));
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
    kept_.make_folder();
    const bool room = options_.spare_bytes() >= bytes;
    const bool written = room && write(next);
    lock.lock();
    const std::string name = kept_.name_of(next.key);
    if (room && !written) kept_.remove(name);
    queue_.pop_front();
    queued_bytes_ -= bytes;
    if (written) {
      ++stats_.saved;
      kept_.add(name, bytes);
      kept_.evict(options_.bytes_max);
    } else {
      ++stats_.dropped;
      // What the disk refused, for a quota say, it will refuse again: from now on half of what it has must do.
      if (room) options_.bytes_max = kept_.bytes() / 2;
      kept_.evict(room ? options_.bytes_max : kept_.bytes() - std::min<std::uint64_t>(kept_.bytes(), bytes));
    }
    wake_.notify_all();
  }
}

PrefixStoreStats PrefixStore::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace sedge::platform
