// Beginnings of prompts on disk, so that a restart forgets none (docs/formats/prefix_cache.md).
//
// A file a block, named by a hash of everything its values depend on, so that nothing has to be looked up, changed or
// migrated: what another model, class or version wrote is never asked for and goes as the least recently used. Writing
// is left to a thread and to chance: a queue that is full drops the block, nothing is synced, and what a power cut tore
// fails its checksum, is removed and computed again. Rejected: one file with an index (compaction, and a torn index
// loses all); a row each in the node's database, whose commits others wait for.
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <list>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include "engine/prefix_cache.h"
#include "platform/file_storage.h"
#include "trust/keys.h"

namespace sedge::platform {

struct PrefixStoreOptions {
  std::filesystem::path folder;  // made when the first block is written
  std::uint64_t bytes_max = 0;   // of all files; the least recently used go
  std::size_t queued_max = 64;   // blocks that wait to be written: a prompt of 2,000 tokens
};

struct PrefixStoreStats {
  std::uint64_t loaded = 0, saved = 0;
  std::uint64_t dropped = 0;  // the queue was full, or the disk refused
  std::uint64_t damaged = 0;
};

class PrefixStore final : public engine::BlockStore {
 public:
  // Finds what an earlier process left, and keeps it within the bound.
  explicit PrefixStore(PrefixStoreOptions options);
  ~PrefixStore() override;  // writes what waits
  PrefixStore(const PrefixStore&) = delete;
  PrefixStore& operator=(const PrefixStore&) = delete;

  engine::BlockValues load(const std::string& scope, std::span<const std::int32_t> tokens, std::size_t count) override;
  void save(const std::string& scope, std::span<const std::int32_t> tokens, engine::BlockValues values) override;

  PrefixStoreStats stats() const;

 private:
  struct Waiting {
    trust::Digest key;  // of everything the values depend on
    engine::BlockValues values;
  };
  struct Kept {
    std::uint64_t bytes = 0;
    std::list<std::string>::iterator use;
  };

  void scan();
  void run();
  Status write(const Waiting& block);
  void add(const std::string& name, std::uint64_t bytes);
  void forget(const std::string& name);
  void evict();

  PrefixStoreOptions options_;
  FileStorage files_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> queue_;
  std::map<std::string, Kept> kept_;
  std::list<std::string> uses_;  // names, newest first
  std::uint64_t bytes_ = 0;
  PrefixStoreStats stats_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sedge::platform
