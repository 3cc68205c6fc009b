#include "platform/kept_files.h"

#include <algorithm>
#include <limits>
#include <system_error>
#include <vector>

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFilesMax = 1 << 16;  // looked at when a folder is opened; what is more is left alone

}  // namespace

KeptFiles::KeptFiles(const fs::path& folder, std::string suffix)
    : folder_(folder), suffix_(std::move(suffix)), files_(folder) {
  scan();
}

std::string KeptFiles::name_of(const trust::Digest& key) const { return to_hex(Bytes(key)) + suffix_; }

void KeptFiles::scan() {
  struct Found {
    fs::file_time_type used;
    std::string name;
    std::uint64_t bytes;
  };
  std::vector<Found> found;
  std::error_code error;
  for (fs::directory_iterator each(folder_, error), end; !error && each != end; each.increment(error)) {
    const std::string name = each->path().filename().string();
    const bool named = name.size() == 2 * sizeof(trust::Digest) + suffix_.size() && name.ends_with(suffix_);
    if (!named || found.size() == kFilesMax) continue;
    std::error_code gone;
    const auto used = each->last_write_time(gone);
    const std::uint64_t bytes = gone ? 0 : each->file_size(gone);
    if (!gone) found.push_back({used, name, bytes});
  }
  std::ranges::sort(found, {}, &Found::used);
  for (const Found& file : found) add(file.name, file.bytes);
}

void KeptFiles::use(const std::string& name) {
  const auto found = kept_.find(name);
  if (found == kept_.end()) return;
  uses_.splice(uses_.begin(), uses_, found->second.use);
  std::error_code ignored;
  fs::last_write_time(path_of(name), fs::file_time_type::clock::now(), ignored);
}

void KeptFiles::add(const std::string& name, std::uint64_t bytes) {
  forget(name);
  uses_.push_front(name);
  kept_[name] = {bytes, uses_.begin()};
  bytes_ += bytes;
}

void KeptFiles::forget(const std::string& name) {
  const auto found = kept_.find(name);
  if (found == kept_.end()) return;
  bytes_ -= found->second.bytes;
  uses_.erase(found->second.use);
  kept_.erase(found);
}

void KeptFiles::remove(const std::string& name) {
  forget(name);
  (void)files_.remove(name, false);  // what cannot be removed is no longer counted, and found at the next start
}

void KeptFiles::evict(std::uint64_t bytes) {
  while (bytes_ > bytes) remove(std::string(uses_.back()));
}

void KeptFiles::make_folder() const {
  std::error_code error;
  if (fs::create_directory(folder_, error)) fs::permissions(folder_, fs::perms::owner_all, error);
}

std::uint64_t spare_on_disk_of(const fs::path& folder) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) return std::numeric_limits<std::uint64_t>::max();  // whatever it is, writing says it too
  const std::uint64_t reserve = std::max(std::uint64_t{256} << 20, std::uint64_t{space.capacity} / 20);
  return space.available - std::min<std::uint64_t>(space.available, reserve);
}

}  // namespace sedge::platform
