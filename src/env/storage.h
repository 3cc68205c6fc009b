// Files, as SQLite's VFS needs them and no more. The platform gives real ones; a simulation gives memory that can
// lose what was not synced, tear a write, fill up or fail. Only the storage worker calls this; it may block.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace sedge::env {

class File {
 public:
  virtual ~File() = default;
  // Reads up to out.size() bytes at `offset`; returns how many were there (fewer only at the end of the file).
  virtual Result<std::size_t> read(std::uint64_t offset, MutableBytes out) = 0;
  virtual Status write(std::uint64_t offset, Bytes data) = 0;
  virtual Status truncate(std::uint64_t bytes) = 0;
  virtual Status sync() = 0;  // when this returns, all written before survives a power cut
  virtual Result<std::uint64_t> size() = 0;
};

class Storage {
 public:
  virtual ~Storage() = default;
  virtual Result<std::unique_ptr<File>> open(std::string_view name, bool create) = 0;
  virtual Status remove(std::string_view name, bool sync_directory) = 0;
  virtual Result<bool> exists(std::string_view name) = 0;
};

}  // namespace sedge::env
