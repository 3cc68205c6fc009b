// Beginnings of prompts on disk, so that a restart forgets none (docs/formats/prefix_cache.md).
//
// A file a block, named by a hash of everything its values depend on, so that nothing has to be looked up, changed or
// migrated: what another model, class or version wrote is never asked for and goes as the least recently used. Writing
// is left to a thread and to chance: a queue that is full drops the block, the end of the process drops the queue,
// nothing is synced, and what a power cut tore fails its checksum, is removed and computed again. Others need the disk
// more, the node's own state first: what they leave is not filled up, and where it runs out, files here go. Rejected:
// one file with an index (compaction, and a torn index loses all); a row each in the node's database, whose commits
// others wait for.
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "engine/prefix_cache.h"
#include "platform/kept_files.h"
#include "trust/keys.h"

namespace sedge::platform {

struct PrefixStoreOptions {
  std::filesystem::path folder;  // made when the first block is written
  std::uint64_t bytes_max = 0;   // of all files; the least recently used go
  // Of blocks that wait to be written, which the cache may have forgotten: a prompt of 250 tokens at 8 MiB a block.
  std::size_t queued_bytes_max = std::size_t{64} << 20;
  // What may still be written; none: what the folder's disk has free over 256 MiB or a twentieth of it.
  std::function<std::uint64_t()> spare_bytes{};
};

struct PrefixStoreStats {
  std::uint64_t loaded = 0, saved = 0;
  std::uint64_t dropped = 0;  // the queue was full or the end came, the disk had no room or refused
  std::uint64_t damaged = 0;
};

// A block's file: a header, then its values. Of any bytes: those values, or nothing where it is not that block, whole.
Buffer prefix_block_header(const trust::Digest& key, Bytes values);
std::optional<Bytes> read_prefix_block(const trust::Digest& key, Bytes file);

class PrefixStore final : public engine::BlockStore {
 public:
  // Finds what an earlier process left, and keeps it within the bound.
  explicit PrefixStore(PrefixStoreOptions options);
  ~PrefixStore() override;  // writes the block under way and no other
  PrefixStore(const PrefixStore&) = delete;
  PrefixStore& operator=(const PrefixStore&) = delete;

  engine::BlockValues load(const std::string& scope, std::span<const std::int32_t> tokens, std::size_t bytes) override;
  void save(const std::string& scope, std::span<const std::int32_t> tokens, engine::BlockValues values) override;

  // Waits until each block that was saved is written or dropped.
  void flush();
  PrefixStoreStats stats() const;

 private:
  struct Waiting {
    trust::Digest key;  // of everything the values depend on
    engine::BlockValues values;
  };
  void run();
  Status write(const Waiting& block);

  PrefixStoreOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;  // the queue is another
  std::deque<Waiting> queue_;
  std::size_t queued_bytes_ = 0;
  KeptFiles kept_;
  PrefixStoreStats stats_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sedge::platform
