// Packed weights on disk, so that a model is packed once and not at each start (docs/formats/packed_weights.md).
//
// The problem: weaving the weights of a model (kernels/pack/pack.h) takes longer than reading them, and a node reads
// its model's file once more to know its hash. The idea: what was packed is written behind the work, to a file that the
// next process maps: it packs nothing, touches the model's own file hardly at all, and its memory is a file's, which
// the system can take back. A file is found by the stamps of the model's (its number, size and times): hashing what it
// holds would cost what is to be saved. Nothing is lost with any of the files, and what the disk has not room for is
// not written. Rejected: packed weights in the place of the model's file (other nodes and programs want that one);
// packing into the mapped file (a slow card would hold up the first start).
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include "engine/model.h"
#include "platform/kept_files.h"
#include "trust/keys.h"

namespace sedge::platform {

struct PackedStoreOptions {
  std::filesystem::path folder;                 // made when the first file is written
  std::uint64_t bytes_max = ~std::uint64_t{0};  // of all files; the least recently used go
  // What may still be written; none: what the folder's disk has free over 256 MiB or a twentieth of it.
  std::function<std::uint64_t()> spare_bytes{};
  // Since 1970; none: the system's clock.
  std::function<std::chrono::nanoseconds()> wall_clock{};
};

// Where a node with this home keeps them.
inline std::filesystem::path packed_folder(const std::filesystem::path& home) { return home / "packed"; }

// A file's first kPackedHeaderBytes: for weights of `bytes` bytes, packed from the file of this key and content hash.
inline constexpr std::size_t kPackedHeaderBytes = 4096;  // the weights begin at a page
Buffer packed_header(const trust::Digest& key, std::uint64_t bytes, std::string_view content_hash);
// The content hash, where any bytes are a whole file of this key.
std::optional<std::string> read_packed_header(const trust::Digest& key, Bytes file);

class PackedStore {
 public:
  // Finds what an earlier process left, and keeps it within the bound.
  explicit PackedStore(PackedStoreOptions options);
  ~PackedStore();  // a file that is half written goes
  PackedStore(const PackedStore&) = delete;
  PackedStore& operator=(const PackedStore&) = delete;

  // Of a model's file that has just been opened: `weights` as engine::Model::from takes them, and the hash of its
  // content that was saved with them. None: nothing is kept of it, or it changed in the last two seconds, so that
  // another change need not show.
  struct Kept {
    engine::KeptWeights weights;
    std::string content_hash;
  };
  std::optional<Kept> load(const model::GgufFile& file);
  // What load() gave is not the model's after all: it goes.
  void forget(const model::GgufFile& file);
  // Of a model that load() had nothing of: written by a thread, from its own memory. At most once a model.
  void save(std::shared_ptr<const engine::Model> model, std::string content_hash);

  // Waits until what was saved is written or given up.
  void flush();

 private:
  struct Waiting {
    trust::Digest key;
    std::shared_ptr<const engine::Model> model;
    std::string content_hash;
  };

  void run();
  void remove_unfinished();
  Status write(const Waiting& next, const std::string& name);
  bool stopping();

  PackedStoreOptions options_;
  KeptFiles kept_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> queue_;
  std::set<trust::Digest> old_enough_;  // keys of files that load() saw
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sedge::platform
