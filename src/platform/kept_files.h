// A folder of files that could all be made again: each named by a hash of what it was made from, bounded in bytes
// together; the least recently used go. The order of use is that of the files' times, so it survives a restart.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <string>

#include "platform/file_storage.h"
#include "trust/keys.h"

namespace sedge::platform {

// Not for several threads at once.
class KeptFiles {
 public:
  // Finds what earlier processes left: files of such names with this suffix; others are left alone. Nothing is removed.
  KeptFiles(const std::filesystem::path& folder, std::string suffix);

  std::string name_of(const trust::Digest& key) const;
  std::filesystem::path path_of(const std::string& name) const { return folder_ / name; }
  std::uint64_t bytes() const { return bytes_; }
  bool contains(const std::string& name) const { return kept_.contains(name); }
  // The next to go last; on disk too, where the file system keeps times.
  void use(const std::string& name);
  void add(const std::string& name, std::uint64_t bytes);
  void remove(const std::string& name);
  // Removes the least recently used until there are so many bytes.
  void evict(std::uint64_t bytes);

  // The folder is its owner's alone: what is kept tells what was asked, or is a model.
  void make_folder() const;
  FileStorage& storage() { return files_; }

 private:
  struct Kept {
    std::uint64_t bytes = 0;
    std::list<std::string>::iterator use;
  };

  void scan();
  void forget(const std::string& name);

  std::filesystem::path folder_;
  std::string suffix_;
  FileStorage files_;
  std::map<std::string, Kept> kept_;
  std::list<std::string> uses_;  // names, newest first
  std::uint64_t bytes_ = 0;
};

// What may still be written on the disk of this folder: what is free over 256 MiB or a twentieth of it.
std::uint64_t spare_on_disk_of(const std::filesystem::path& folder);

}  // namespace sedge::platform
