// SQLite's view of env::Storage. One Vfs a store; it is registered under a name of its own for as long as it lives.
//
// Locks do nothing: one process holds the home (platform/ locks it) and one connection has the file. Shared memory is
// not offered: with an exclusive lock SQLite keeps the WAL's index in its own heap. The device promises nothing beyond
// what sync() says (no atomic sectors, no safe overwrites), so SQLite pads and orders its writes for the worst disk.
// The clock stands still and sleep returns at once: SQLite needs neither for what we ask of it.
#pragma once

#include <memory>
#include <string>

#include "env/storage.h"

struct sqlite3_vfs;

namespace sedge::store {

class Vfs {
 public:
  explicit Vfs(env::Storage& storage);
  ~Vfs();
  Vfs(const Vfs&) = delete;
  Vfs& operator=(const Vfs&) = delete;

  const char* name() const { return name_.c_str(); }
  // What the storage said last when it failed: SQLite only passes a number on.
  const Error& last_error() const { return last_error_; }

  // For the callbacks.
  env::Storage& storage() { return storage_; }
  int failed(Error error, int code) {
    last_error_ = std::move(error);
    return code;
  }

 private:
  env::Storage& storage_;
  std::string name_;
  Error last_error_;
  std::unique_ptr<sqlite3_vfs> vfs_;
};

}  // namespace sedge::store
