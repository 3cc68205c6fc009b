// Tensor registers: model parameters at a path, whole or not at all.
//
// A register whose value is a manifest (mesh/manifest.h) is a tensor. Of each path this node knows the newest
// manifest, which is the register's value and merges as any, and the newest that is *complete*: all its chunks are
// here and fit their hashes. Only the complete one is read; it stays until a newer one is complete too, over restarts
// as well, so that a robot always has a model that is whole. A manifest that is replaced before it was complete is let
// go; what both versions have in common is not fetched twice, and not held twice.
// A writer hands over the chunks first (an upload), then writes the manifest: the chunks go to disk before or with it,
// so a manifest never promises what its writer could lose. Chunks that nothing names after a crash are erased at the
// start.
// Only paths outside "sys/": what may be written there without a grant must not fill anybody's memory.
// Bounded: bytes_max with a writer's part of it (mesh/chunk_store.h), kTensorsMax paths, of which one writer takes
// half, kUploadsMax uploads, each for kUploadTime after its last chunk. What does not fit waits until there is room, is
// told by find(), and reported once; a path beyond kTensorsMax holds its manifest and nothing else, until another path
// is free. Format: docs/formats/tensor.md. Threads: none.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/outbox.h"
#include "mesh/chunk_store.h"
#include "mesh/chunks.h"
#include "mesh/manifest.h"

namespace sedge::mesh {

inline constexpr std::string_view kTensorBucket = "tensor.complete";  // path -> writer, manifest
inline constexpr std::size_t kTensorsMax = 1024;
inline constexpr std::size_t kPlacesOfWriterMax = kTensorsMax / 2;
inline constexpr Duration kLookEvery = 1s;  // at most: all registers are gone over
inline constexpr std::size_t kUploadsMax = 8;
inline constexpr Duration kUploadTime = 60s;

using UploadId = Number<struct UploadTag>;

// One version of a tensor.
struct TensorVersion {
  Manifest manifest;
  trust::Digest hash{};  // of the encoded manifest: its name
  NodeId writer;
};

struct Tensor {
  std::optional<TensorVersion> complete;
  std::optional<TensorVersion> pending;  // newer; its chunks are on their way, unless
  std::optional<Error> refused;          // there is no room for it
  NodeId account;                        // whose place the path takes: who wrote the first version here
};

class Tensors {
 public:
  struct Options {
    std::size_t bytes_max = 512u << 20;  // of chunks, held and waited for
    ChunkExchange::Options exchange;
  };
  struct Hooks {
    std::function<void(const std::string&)> report;  // what a person should know
  };

  explicit Tensors(Options options);
  Hooks hooks;

  static const std::vector<std::string>& buckets();
  // Before start(). Errors: DataLoss: names the record.
  Status load(std::string_view bucket, Bytes key, Bytes value);
  // After on_entry() for all registers that there are.
  void start(Instant now);

  // What is at the path now: a register's value, or nothing, if it holds anything else.
  void on_entry(const std::string& path, std::optional<Bytes> value, NodeId writer, Instant now);
  // Whether on_entry() may mean something.
  bool concerns(const std::string& path, std::optional<Bytes> value) const;
  // Whether a tensor by this writer can be there. Errors: InvalidArgument: never; ResourceExhausted: no path is free,
  // or it has its part of them.
  Status check_place(const std::string& path, NodeId writer) const;
  // True: a path has become free for what found none. The caller goes over all registers with on_entry().
  bool take_look(Instant now);

  // Of a new version, by this node. Errors: InvalidArgument (the manifest); ResourceExhausted: no room, or too many
  // uploads at once.
  Result<UploadId> begin(Bytes manifest, NodeId self, Instant now);
  // Chunks that are not here: to be given. NotFound: no such upload, or its time is over: begin again.
  Result<std::vector<std::uint32_t>> lacking(UploadId upload) const;
  // Errors: NotFound; InvalidArgument: it is not that chunk; ResourceExhausted: the disk is behind, try again soon.
  Status give(UploadId upload, std::uint32_t number, Bytes chunk, Instant now);
  // The value for the register. The upload stays until end(). Errors: NotFound; FailedPrecondition: chunks are lacking.
  Result<Buffer> value_of(UploadId upload);
  void end(UploadId upload, Instant now);

  // Paths of which another version is complete, or nothing any more, since it was asked last.
  std::vector<std::string> take_changed() { return std::exchange(changed_, {}); }
  const Tensor* find(const std::string& path) const;
  // Whether the version with this hash is at the path, complete or not.
  bool holds(const std::string& path, const trust::Digest& hash) const;
  const std::map<std::string, Tensor>& all() const { return tensors_; }
  std::size_t missing(const TensorVersion& version) const { return store_.missing(version.manifest); }
  // Errors: NotFound: no tensor is there; Unavailable: its first version is on its way (the message says how far), or
  // there is no room for it.
  Result<TensorVersion> complete_at(const std::string& path) const;
  // Of the complete version with this hash. Errors: NotFound; Aborted: there is a newer one: read that; OutOfRange.
  Result<Bytes> chunk(const std::string& path, const trust::Digest& hash, std::size_t number) const;

  const ChunkStore& store() const { return store_; }
  const ChunkStats& stats() const { return exchange_.stats(); }

  void on_link_up(NodeId peer, Instant now) { exchange_.on_link_up(peer, now); }
  void on_link_down(NodeId peer, Instant now) { exchange_.on_link_down(peer, now); }
  Status on_message(NodeId from, wire::MessageType type, Bytes body, Instant now);
  void on_timer(Instant now);
  Instant next_deadline() const;
  void drain(env::Outbox& out);
  void on_persisting(env::Lsn lsn) { store_.on_persisting(lsn); }
  void on_durable(env::Lsn upto, Instant now);

 private:
  struct Held {  // a manifest whose chunks are named, for so many versions and uploads
    Manifest manifest;
    std::size_t uses = 0;
  };
  struct Upload {
    TensorVersion version;
    Instant until{};
  };

  Status take(const TensorVersion& version);
  void release(const trust::Digest& hash);
  void admit(const std::string& path, Tensor& tensor, Instant now);
  void promote(const std::string& path, Tensor& tensor);
  void drop_pending(Tensor& tensor);
  Tensor& place(const std::string& path, NodeId writer);
  void forget(const std::string& path);
  void on_complete(const trust::Digest& hash);
  void retry(Instant now);

  Options options_;
  ChunkStore store_;
  ChunkExchange exchange_;
  std::map<trust::Digest, Held> held_;
  std::map<std::string, Tensor> tensors_;
  std::map<NodeId, std::size_t> places_;  // of tensors_, by account
  bool turned_away_ = false;              // some register found no place
  bool look_ = false;                     // and since then one has become free
  Instant looked_{};
  std::set<std::string> seen_;  // before start(): paths with an entry
  std::map<UploadId, Upload> uploads_;
  UploadId last_upload_;
  bool room_ = false;  // something was released: what waits for room may fit
  bool started_ = false;
  bool told_full_ = false;
  std::vector<std::string> changed_;
  std::vector<env::Record> records_;
};

}  // namespace sedge::mesh
