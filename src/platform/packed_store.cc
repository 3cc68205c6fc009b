#include "platform/packed_store.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "SDGPCK1\n";
constexpr std::string_view kSuffix = ".packed";
constexpr std::string_view kUnfinished = ".new";
constexpr std::size_t kHashBytesMax = 128;                                // of a content hash, as text
constexpr std::size_t kPieceBytes = std::size_t{4} << 20;                 // written before it is looked whether to stop
constexpr std::size_t kSyncBytes = std::size_t{8} << 20;                  // no more waits for a slow disk, nor others
constexpr std::chrono::nanoseconds kTimesTick = std::chrono::seconds(2);  // of the coarsest file system's times

Bytes bytes_of(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

void append_u64(Buffer& out, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

std::uint64_t read_u64(Bytes bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value |= std::uint64_t{bytes[i]} << (8 * i);
  return value;
}

trust::Digest key_of(const model::GgufFile& file) {
  Buffer all = to_buffer(bytes_of(kMagic));
  append_u64(all, engine::PackedWeights::kLayout);
  for (const model::FileStamp& stamp : file.stamps()) {
    append_u64(all, stamp.number);
    append_u64(all, stamp.bytes);
    append_u64(all, static_cast<std::uint64_t>(stamp.written_ns));
    append_u64(all, static_cast<std::uint64_t>(stamp.changed_ns));
  }
  return trust::digest(all);
}

// Whether a change that comes now would show in the stamps: also of times in the future, by a clock that was put back.
bool settled(const model::GgufFile& file, std::chrono::nanoseconds now) {
  const auto far = [&](std::int64_t time_ns) {
    return std::chrono::abs(now - std::chrono::nanoseconds(time_ns)) > kTimesTick;
  };
  const std::vector<model::FileStamp> stamps = file.stamps();
  return !stamps.empty() && std::ranges::all_of(stamps, [&](const model::FileStamp& stamp) {
    return far(stamp.written_ns) && far(stamp.changed_ns);
  });
}

}  // namespace

// magic, key, bytes of weights, bytes of the hash, the hash, zeros, checksum of all that.
Buffer packed_header(const trust::Digest& key, std::uint64_t bytes, std::string_view content_hash) {
  Buffer header = to_buffer(bytes_of(kMagic));
  header.insert(header.end(), key.begin(), key.end());
  append_u64(header, bytes);
  append_u64(header, content_hash.size());
  const Bytes hash = bytes_of(content_hash);
  header.insert(header.end(), hash.begin(), hash.end());
  header.resize(kPackedHeaderBytes - sizeof(trust::Digest));
  const trust::Digest sum = trust::digest(header);
  header.insert(header.end(), sum.begin(), sum.end());
  return header;
}

std::optional<std::string> read_packed_header(const trust::Digest& key, Bytes file) {
  constexpr std::size_t kFixed = kMagic.size() + sizeof(trust::Digest);
  if (file.size() < kPackedHeaderBytes) return {};
  const std::uint64_t hash_bytes = read_u64(file.subspan(kFixed + 8));
  if (hash_bytes > kHashBytesMax) return {};
  const Bytes hash = file.subspan(kFixed + 16, static_cast<std::size_t>(hash_bytes));
  std::string text(hash.begin(), hash.end());
  const Buffer expected = packed_header(key, file.size() - kPackedHeaderBytes, text);
  if (!std::ranges::equal(expected, file.first(kPackedHeaderBytes))) return {};
  return text;
}

PackedStore::PackedStore(PackedStoreOptions options)
    : options_(std::move(options)), kept_(options_.folder, std::string(kSuffix)) {
  if (!options_.spare_bytes) options_.spare_bytes = [folder = options_.folder] { return spare_on_disk_of(folder); };
  if (!options_.wall_clock) options_.wall_clock = [] { return std::chrono::system_clock::now().time_since_epoch(); };
  kept_.evict(options_.bytes_max);
}

PackedStore::~PackedStore() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool PackedStore::stopping() {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

std::optional<PackedStore::Kept> PackedStore::load(const model::GgufFile& file) {
  if (!settled(file, options_.wall_clock())) return {};
  const trust::Digest key = key_of(file);
  const std::string name = kept_.name_of(key);
  const std::lock_guard lock(mutex_);
  old_enough_.insert(key);
  if (!kept_.contains(name)) return {};
  const auto mapping = model::MappedFile::open(kept_.path_of(name));
  auto hash = mapping ? read_packed_header(key, (*mapping)->bytes()) : std::nullopt;
  if (!hash) {
    kept_.remove(name);
    return {};
  }
  kept_.use(name);
  (*mapping)->expect();
  return Kept{{*mapping, (*mapping)->bytes().subspan(kPackedHeaderBytes)}, *std::move(hash)};
}

void PackedStore::forget(const model::GgufFile& file) {
  const std::lock_guard lock(mutex_);
  kept_.remove(kept_.name_of(key_of(file)));
}

void PackedStore::save(std::shared_ptr<const engine::Model> model, std::string content_hash) {
  const trust::Digest key = key_of(model->file());
  const std::uint64_t bytes = kPackedHeaderBytes + model->packed_bytes();
  const std::lock_guard lock(mutex_);
  if (model->packed_bytes() == 0 || bytes > options_.bytes_max || content_hash.size() > kHashBytesMax) return;
  if (old_enough_.erase(key) == 0 || kept_.contains(kept_.name_of(key))) return;
  queue_.push_back({key, std::move(model), std::move(content_hash)});
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  wake_.notify_all();
}

void PackedStore::flush() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return queue_.empty(); });
}

void PackedStore::run() {
  remove_unfinished();
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const Waiting next = queue_.front();  // stays there until it can be read from the disk
    const std::string name = kept_.name_of(next.key), unfinished = name + std::string(kUnfinished);
    const std::uint64_t bytes = kPackedHeaderBytes + next.model->packed_bytes();
    kept_.evict(options_.bytes_max - bytes);
    lock.unlock();
    kept_.make_folder();
    std::error_code error;
    const bool written = options_.spare_bytes() >= bytes && write(next, unfinished);
    if (written) fs::rename(kept_.path_of(unfinished), kept_.path_of(name), error);
    if (!written || error) (void)kept_.storage().remove(unfinished, false);
    lock.lock();
    if (written && !error) kept_.add(name, bytes);
    queue_.pop_front();
    wake_.notify_all();
  }
}

// What a process that was killed left.
void PackedStore::remove_unfinished() {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator each(options_.folder, error), end; !error && each != end; each.increment(error)) {
    names.push_back(each->path().filename().string());
  }
  for (const std::string& name : names) {
    if (name.ends_with(std::string(kSuffix) + std::string(kUnfinished))) (void)kept_.storage().remove(name, false);
  }
}

// On the disk when it returns: only then it gets its name.
Status PackedStore::write(const Waiting& next, const std::string& name) {
  const Bytes weights = next.model->packed().memory();
  SEDGE_TRY(const auto file, kept_.storage().open(name, true));
  SEDGE_CHECK(file->truncate(0));
  SEDGE_CHECK(file->write(0, packed_header(next.key, weights.size(), next.content_hash)));
  for (std::size_t at = 0; at < weights.size(); at += kPieceBytes) {
    if (stopping()) return fail(Code::kCancelled, "the node stops");
    SEDGE_CHECK(file->write(kPackedHeaderBytes + at, weights.subspan(at, std::min(kPieceBytes, weights.size() - at))));
    if (at / kSyncBytes != (at + kPieceBytes) / kSyncBytes) SEDGE_CHECK(file->sync());
  }
  return file->sync();
}

}  // namespace sedge::platform
