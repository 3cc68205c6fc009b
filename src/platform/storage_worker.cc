#include "platform/storage_worker.h"

#include <iterator>
#include <utility>

namespace sedge::platform {

StorageWorker::StorageWorker(std::unique_ptr<store::Store> store, Callbacks callbacks)
    : store_(std::move(store)), callbacks_(std::move(callbacks)), thread_([this] { run(); }) {}

StorageWorker::~StorageWorker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Status StorageWorker::enqueue(env::Lsn lsn, std::vector<env::Record> records) {
  {
    const std::lock_guard lock(mutex_);
    if (queued_.size() + records.size() > kQueuedMax) {
      return fail(Code::kResourceExhausted, "the disk does not keep up: {} records wait to be written", queued_.size());
    }
    queued_.insert(queued_.end(), std::make_move_iterator(records.begin()), std::make_move_iterator(records.end()));
    newest_ = lsn;
  }
  wake_.notify_one();
  return {};
}

void StorageWorker::run() {
  for (;;) {
    std::vector<env::Record> batch;
    env::Lsn upto;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queued_.empty(); });
      if (queued_.empty()) return;
      batch.swap(queued_);
      upto = newest_;
    }
    if (const Status committed = store_->apply(batch); !committed) {
      callbacks_.failed(committed.error());
      return;
    }
    callbacks_.durable(upto);
  }
}

}  // namespace sedge::platform
