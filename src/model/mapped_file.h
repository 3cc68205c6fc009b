// A file in memory without reading it: pages come when they are touched and can be dropped again, so a model
// larger than memory still opens in microseconds. Rejected: read() into a buffer (doubles the memory).
// A file that shrinks while it is mapped would fault; model files are immutable, and we write them by rename.
#pragma once

#include <filesystem>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace sedge::model {

class MappedFile {
 public:
  // Errors: NotFound; InvalidArgument (not a regular file); PermissionDenied; Unknown with the system's reason.
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // The whole file; page-aligned; valid while this object lives. An empty file gives an empty view.
  Bytes bytes() const { return bytes_; }
  // Takes the pages that `part` of it touches out of this process's memory: they come again when touched.
  void forget(Bytes part) const;

 private:
  explicit MappedFile(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

}  // namespace sedge::model
