// A file in memory without reading it: pages come when they are touched and can be dropped again, so a model
// larger than memory still opens in microseconds. Rejected: read() into a buffer (doubles the memory).
// A file that shrinks while it is mapped would fault; model files are immutable, and we write them by rename.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace sedge::model {

// Of a file when it was opened: whoever writes to it or puts another in its place changes one of these, as far as its
// clock moves on meanwhile (which may take hundredths of a second, on some file systems two).
struct FileStamp {
  std::uint64_t number = 0;  // the file system's own, of the file
  std::uint64_t bytes = 0;
  std::int64_t written_ns = 0, changed_ns = 0;  // since 1970: its content; that, its name or who may read it
  bool operator==(const FileStamp&) const = default;
};

class MappedFile {
 public:
  // Errors: NotFound; InvalidArgument (not a regular file); PermissionDenied; Unknown with the system's reason.
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // The whole file; page-aligned; valid while this object lives. An empty file gives an empty view.
  Bytes bytes() const { return bytes_; }
  const FileStamp& stamp() const { return stamp_; }
  // Takes the pages that `part` of it touches out of this process's memory: they come again when touched.
  void forget(Bytes part) const;
  // Asks for its pages, all of them and in order: they will be touched.
  void expect() const;

 private:
  MappedFile(Bytes bytes, const FileStamp& stamp) : bytes_(bytes), stamp_(stamp) {}
  Bytes bytes_;
  FileStamp stamp_;
};

}  // namespace sedge::model
