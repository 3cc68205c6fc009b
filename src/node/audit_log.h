// This node's own audit chain: appends entries, keeps them on disk, shows them.
//
// The danger is to contradict ourselves: an entry that somebody saw, lost in a power cut and written anew with other
// contents, would make an honest node an equivocator. So nobody is shown an entry, nor a head that covers it, before
// the disk has it. Entries are not waited for: they go with the next commit that anybody makes, at the latest after
// lazy_flush, and a power cut takes what was younger than that.
// Bounded: `kept` entries and an eighth; then the oldest eighth is erased, and a signed checkpoint with the hash of its
// last entry stands for all before. At most kStagedMax entries wait for the disk; beyond that they are dropped and
// counted (a disk that does not answer must not stop a robot).
// A node that took a new key (trust/rotation.h) begins a new chain; what the former id wrote moves to a bucket of its
// own, in the commit that writes the new chain's first entry, so that neither is ever taken for the other.
// Threads: none.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/outbox.h"
#include "trust/audit.h"
#include "wire/audit_messages.h"
#include "wire/codec.h"

namespace sedge::node {

class AuditLog {
 public:
  struct Options {
    NodeId self;
    BootEpoch epoch;
    std::uint64_t kept = trust::kAuditKept;
    Duration lazy_flush = 500ms;
  };
  static constexpr const char* kBucket = "audit";  // number, 8 bytes big-endian -> entry; "checkpoint" -> head
  static constexpr const char* kFormerBucket = "audit.former";  // id of the former node, then a key as above
  static constexpr std::size_t kStagedMax = 4096;
  static constexpr std::size_t kChunkBytesMax = 128u << 10;

  // `key` outlives this.
  AuditLog(Options options, const trust::SecretKey& key) : options_(options), key_(key) {}

  Result<bool> load(Bytes key, Bytes value);  // before start(); false: of a former id
  void start();                               // all records are loaded

  template <class Body>
  void append(trust::AuditKind kind, const Body& body, std::uint64_t fleet_ms, Instant now) {
    append(kind, wire::encode(body), fleet_ms, now);
  }

  // Takes part in a commit that is made anyway, or makes one when it is time.
  void drain(env::Outbox& out, Instant now);
  void on_persisting(env::Lsn lsn);
  void on_durable(env::Lsn upto);
  Instant next_deadline() const { return flush_at_; }

  // What is durable, and nothing else.
  std::uint64_t last() const { return durable_; }
  const trust::AuditHead& head();
  const std::optional<trust::AuditHead>& checkpoint() const { return checkpoint_; }
  std::vector<trust::AuditEntry> entries() const;
  // Entries behind `after` as far as one chunk carries them, with our heads.
  wire::AuditChunk chunk(std::uint64_t after);

  std::uint64_t dropped() const { return dropped_; }

 private:
  void append(trust::AuditKind kind, Buffer body, std::uint64_t fleet_ms, Instant now);
  void roll();
  void move_away(NodeId former, Bytes key, Bytes value);
  std::uint64_t first() const { return end_ - entries_.size() + 1; }

  Options options_;
  const trust::SecretKey& key_;
  std::map<std::uint64_t, Buffer> loaded_;
  std::vector<env::Record> former_;  // what to move
  std::deque<Buffer> entries_;       // encoded; the last one has number end_
  std::uint64_t end_ = 0;
  trust::Digest end_hash_{};
  std::uint64_t drained_ = 0;  // handed out as records,
  std::uint64_t durable_ = 0;  // and on disk
  std::deque<std::pair<env::Lsn, std::uint64_t>> flights_;
  bool unnumbered_ = false;  // drained, and no lsn said yet
  std::optional<trust::AuditHead> checkpoint_;
  std::optional<trust::AuditHead> head_;
  Instant flush_at_ = kNever;
  std::uint64_t dropped_ = 0;
};

}  // namespace sedge::node
