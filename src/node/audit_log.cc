#include "node/audit_log.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sedge::node {
namespace {

constexpr std::string_view kCheckpointKey = "checkpoint";

Buffer key_of(std::uint64_t index) {
  Buffer key;
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<std::uint8_t>(index >> shift));
  return key;
}

trust::AuditHead sign_head_of(const trust::AuditEntry& entry, bool checkpoint, const trust::SecretKey& key) {
  trust::AuditHead head{entry.node, entry.index, trust::hash_of(entry), checkpoint, {}};
  trust::sign_head(head, key);
  return head;
}

// Of our own disk, checked when it was loaded.
trust::AuditEntry decoded(const Buffer& bytes) { return *trust::decode_entry(bytes); }

}  // namespace

Result<bool> AuditLog::load(Bytes key, Bytes value) {
  if (as_text(key) == kCheckpointKey) {
    SEDGE_TRY(const trust::AuditHead head, trust::decode_head(value));
    if (head.node != options_.self) return move_away(head.node, key, value), false;
    checkpoint_ = head;
    return true;
  }
  SEDGE_TRY(const trust::AuditEntry entry, trust::decode_entry(value));
  if (key_of(entry.index) != to_buffer(key)) return fail(Code::kDataLoss, "audit {}: another entry", to_hex(key));
  if (entry.node != options_.self) return move_away(entry.node, key, value), false;
  loaded_[entry.index] = to_buffer(value);
  return true;
}

void AuditLog::move_away(NodeId former, Bytes key, Bytes value) {
  Buffer kept = to_buffer(former.view());
  kept.insert(kept.end(), key.begin(), key.end());
  former_.push_back({kFormerBucket, std::move(kept), to_buffer(value), false});
  former_.push_back({kBucket, to_buffer(key), {}, true});
}

// A chain with a hole (somebody was at the file) goes on behind its last entry: to begin again would be to contradict
// what was shown. Whoever verifies it finds the hole.
void AuditLog::start() {
  for (auto& [index, entry] : loaded_) {
    if (end_ != 0 && index != end_ + 1) entries_.clear();
    end_ = index;
    entries_.push_back(std::move(entry));
  }
  loaded_.clear();
  if (!entries_.empty()) {
    end_hash_ = trust::hash_of(decoded(entries_.back()));
  } else if (checkpoint_) {
    end_ = checkpoint_->index;
    end_hash_ = checkpoint_->hash;
  }
  drained_ = durable_ = end_;
}

void AuditLog::append(trust::AuditKind kind, Buffer body, std::uint64_t fleet_ms, Instant now) {
  if (end_ - durable_ >= kStagedMax) {
    ++dropped_;
    return;
  }
  trust::AuditEntry entry;
  entry.node = options_.self;
  entry.index = end_ + 1;
  entry.previous = end_hash_;
  entry.epoch = options_.epoch;
  entry.fleet_ms = fleet_ms;
  entry.kind = static_cast<std::uint32_t>(kind);
  entry.body = std::move(body);
  trust::sign_entry(entry, key_);
  end_hash_ = trust::hash_of(entry);
  ++end_;
  entries_.push_back(trust::encode_entry(entry));
  flush_at_ = std::min(flush_at_, now + options_.lazy_flush);
}

void AuditLog::drain(env::Outbox& out, Instant now) {
  if (drained_ == end_ || (out.records.empty() && now < flush_at_)) return;
  std::ranges::move(former_, std::back_inserter(out.records));  // before what takes their places
  former_.clear();
  for (; drained_ < end_; ++drained_) {
    const Buffer& entry = entries_[static_cast<std::size_t>(drained_ + 1 - first())];
    out.records.push_back({kBucket, key_of(drained_ + 1), entry, false});
  }
  if (entries_.size() > options_.kept + options_.kept / 8) {
    const std::uint64_t from = first();
    roll();
    for (std::uint64_t index = from; index < first(); ++index)
      out.records.push_back({kBucket, key_of(index), {}, true});
    out.records.push_back({kBucket, to_buffer(as_bytes(kCheckpointKey)), trust::encode_head(*checkpoint_), false});
  }
  unnumbered_ = true;
  flush_at_ = kNever;
}

// Gives up all but `kept`. Only what is durable: a checkpoint is shown to others.
void AuditLog::roll() {
  const std::uint64_t upto = std::min(end_ - options_.kept, durable_);
  if (upto < first()) return;
  const auto past = entries_.begin() + static_cast<std::ptrdiff_t>(upto + 1 - first());
  checkpoint_ = sign_head_of(decoded(*std::prev(past)), true, key_);
  entries_.erase(entries_.begin(), past);
}

void AuditLog::on_persisting(env::Lsn lsn) {
  if (std::exchange(unnumbered_, false)) flights_.emplace_back(lsn, drained_);
}

void AuditLog::on_durable(env::Lsn upto) {
  for (; !flights_.empty() && flights_.front().first <= upto; flights_.pop_front()) durable_ = flights_.front().second;
}

const trust::AuditHead& AuditLog::head() {
  if (head_ && head_->index == durable_) return *head_;
  if (durable_ >= first() && !entries_.empty()) {
    head_ = sign_head_of(decoded(entries_[static_cast<std::size_t>(durable_ - first())]), false, key_);
  } else {
    head_ = checkpoint_.value_or(trust::AuditHead{options_.self, 0, {}, false, {}});
    head_->checkpoint = false;
    trust::sign_head(*head_, key_);
  }
  return *head_;
}

std::vector<trust::AuditEntry> AuditLog::entries() const {
  std::vector<trust::AuditEntry> all;
  for (std::uint64_t index = first(); index <= durable_; ++index) {
    all.push_back(decoded(entries_[static_cast<std::size_t>(index - first())]));
  }
  return all;
}

wire::AuditChunk AuditLog::chunk(std::uint64_t after) {
  wire::AuditChunk chunk{options_.self, after, {}, {}, false};
  if (checkpoint_) chunk.heads.push_back(trust::encode_head(*checkpoint_));
  chunk.heads.push_back(trust::encode_head(head()));
  std::size_t bytes = 0;
  if (after >= durable_) return chunk;  // a peer's number: nothing is added to it before this
  for (std::uint64_t index = std::max(after + 1, first()); index <= durable_; ++index) {
    const Buffer& entry = entries_[static_cast<std::size_t>(index - first())];
    bytes += entry.size();
    chunk.more = !chunk.entries.empty() && bytes > kChunkBytesMax;
    if (chunk.more) break;
    chunk.entries.push_back(entry);
  }
  return chunk;
}

}  // namespace sedge::node
