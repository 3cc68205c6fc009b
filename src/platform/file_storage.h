// env::Storage over a real directory. Blocking; only the storage thread uses it.
#pragma once

#include <filesystem>

#include "env/storage.h"

namespace sedge::platform {

class FileStorage final : public env::Storage {
 public:
  // The directory must exist.
  explicit FileStorage(std::filesystem::path directory) : directory_(std::move(directory)) {}

  Result<std::unique_ptr<env::File>> open(std::string_view name, bool create) override;
  Status remove(std::string_view name, bool sync_directory) override;
  Result<bool> exists(std::string_view name) override;

 private:
  Status sync_directory();
  std::filesystem::path directory_;
};

// Replaces the file in one step: a crash leaves the old content or the new, never a mixture. Mode 0600.
Status write_file_atomically(const std::filesystem::path& path, Bytes content);
Result<Buffer> read_file(const std::filesystem::path& path, std::size_t bytes_max);

}  // namespace sedge::platform
