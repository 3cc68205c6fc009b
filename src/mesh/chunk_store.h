// The chunks that a node holds or waits for: in memory, on disk, and counted.
//
// A chunk is here because a manifest names it. Room is taken when it is named, not when it comes, so that what was
// begun can be finished; a manifest for which there is no room is refused as a whole and none of it is fetched. A
// chunk that several manifests name is held once. When the last of them is released it is gone, from disk too.
// The room has a bound in bytes, and so has the part of one writer (half, as of the state's entries): one that writes
// without end does not keep the others' tensors out. A chunk counts for whose manifest named it first.
// Chunks that came and are not durable yet are in the storage's queue, with every other write behind them: above
// kUnsavedBytesMax it is behind(), and no more are asked for or taken until the disk has some.
// On disk: bucket kChunkBucket, hash -> bytes. What is read back is hashed again; what does not fit its name is
// fetched again. Chunks are in memory because the cores have no other disk than the one that is read at the start.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "env/outbox.h"
#include "env/when_durable.h"
#include "mesh/manifest.h"

namespace sedge::mesh {

inline constexpr std::string_view kChunkBucket = "tensor.chunk";
inline constexpr std::size_t kUnsavedBytesMax = 8u << 20;  // on a card of 10 MB/s other writes wait for less than 1 s

class ChunkStore {
 public:
  explicit ChunkStore(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  ChunkStore(const ChunkStore&) = delete;  // what waits for the disk counts here
  ChunkStore& operator=(const ChunkStore&) = delete;

  // Errors: ResourceExhausted: no room for what of it is not named yet; it says how much there is. Nothing changed.
  Status name(const Manifest& manifest, NodeId writer);
  void release(const Manifest& manifest);

  // True: it was waited for. False: nobody names it, or it is here.
  bool put(Bytes chunk);
  bool has(const ChunkName& name) const { return find(name) != nullptr; }
  const Buffer* find(const ChunkName& name) const;
  std::size_t missing(const Manifest& manifest) const;

  // Before start().
  void load(Bytes key, Bytes value);
  // All manifests are named: what none of them names is erased.
  void start();

  std::size_t bytes_named() const { return bytes_named_; }
  std::size_t bytes_held() const { return bytes_held_; }
  bool behind() const { return bytes_unsaved_ >= kUnsavedBytesMax; }
  void on_persisting(env::Lsn lsn) { when_durable_.on_persisting(lsn); }
  void on_durable(env::Lsn upto) { when_durable_.on_durable(upto); }
  void drain(env::Outbox& out);

 private:
  struct Chunk {
    NodeId account;
    std::size_t names = 0;
    std::optional<Buffer> bytes;
  };

  Status check_room(std::size_t more, NodeId writer) const;

  std::size_t bytes_max_;
  std::map<ChunkName, Chunk> chunks_;
  std::map<NodeId, std::size_t> accounts_;
  std::map<ChunkName, Buffer> loaded_;  // not named yet
  std::size_t bytes_named_ = 0;
  std::size_t bytes_held_ = 0;
  std::size_t bytes_unsaved_ = 0;
  env::WhenDurable when_durable_;
  std::vector<env::Record> records_;
};

}  // namespace sedge::mesh
