// The storage thread: takes batches of records, commits what has gathered in one transaction (group commit), and says
// which are durable. The event loop never waits for a disk; a slow one shows as a growing queue, whose bound stops the
// node rather than its memory.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "env/outbox.h"
#include "store/store.h"

namespace sedge::platform {

class StorageWorker {
 public:
  // Both callbacks run on the storage thread.
  struct Callbacks {
    std::function<void(env::Lsn)> durable;  // all batches up to this one survive a power cut
    std::function<void(Error)> failed;      // the disk refused a commit: nothing more will be durable
  };

  StorageWorker(std::unique_ptr<store::Store> store, Callbacks callbacks);
  ~StorageWorker();  // commits what is queued, then stops
  StorageWorker(const StorageWorker&) = delete;
  StorageWorker& operator=(const StorageWorker&) = delete;

  // Errors: ResourceExhausted: kQueuedMax records wait: the disk does not keep up.
  Status enqueue(env::Lsn lsn, std::vector<env::Record> records);

 private:
  static constexpr std::size_t kQueuedMax = 100'000;  // records; at 200 bytes each 20 MB

  void run();

  std::unique_ptr<store::Store> store_;
  Callbacks callbacks_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<env::Record> queued_;
  env::Lsn newest_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when all else is there
};

}  // namespace sedge::platform
