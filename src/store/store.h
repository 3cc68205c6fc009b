// Durable records: named buckets of key -> value in one SQLite file, through our own VFS over env::Storage, so that a
// simulation's disk can tear writes and lose what was not synced under exactly the code that runs on a robot.
//
// One apply() is one transaction, and durable when it returns: the caller groups what has gathered (group commit).
// WAL with synchronous=FULL and an exclusive lock: one sync a commit, no shared memory, at most one process.
// A log of our own was rejected: recovery is where such code breaks, and SQLite's has been tested for twenty years.
// Layout: docs/formats/store.md. Threads: one, the storage worker; every call may block on the disk.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "env/outbox.h"
#include "env/storage.h"

namespace sedge::store {

class Store {
 public:
  virtual ~Store() = default;

  // Opens or creates `name` ("state.db") and checks it; recovers from a crash. `storage` must outlive the store.
  // Errors: DataLoss: not ours or damaged: restore it or start with an empty home. FailedPrecondition: written by a
  // newer version. Others: as the storage gave them.
  static Result<std::unique_ptr<Store>> open(env::Storage& storage, std::string_view name);

  // All or nothing, in order. After an error nothing of it is in the store, and it may be tried again.
  virtual Status apply(std::span<const env::Record> records) = 0;

  // All records of a bucket in order of keys. Stops at the first error that `visit` returns, and returns it.
  virtual Status load(std::string_view bucket, const std::function<Status(Bytes key, Bytes value)>& visit) = 0;
};

}  // namespace sedge::store
