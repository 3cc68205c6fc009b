#include "node/audit_collector.h"

#include <algorithm>
#include <utility>

#include "wire/codec.h"
#include "wire/message_type.h"

namespace sedge::node {
namespace {

// A record of kSeenBucket.
struct SeenHeads {
  std::vector<trust::AuditHead> heads;
  template <class V>
  void fields(V& visit) {
    visit("heads", heads);
  }
};

// One has to go: not the oldest or newest, but where the others lie closest, so that what is left spans the history.
void thin(std::vector<trust::AuditHead>& heads) {
  std::size_t least = 1;
  for (std::size_t i = 2; i + 1 < heads.size(); ++i) {
    if (heads[i + 1].index - heads[i - 1].index < heads[least + 1].index - heads[least - 1].index) least = i;
  }
  heads.erase(heads.begin() + static_cast<std::ptrdiff_t>(least));
}

}  // namespace

Status AuditCollector::load(std::string_view bucket, Bytes key, Bytes value) {
  if (bucket == kProofBucket) {
    SEDGE_TRY(auto proof, wire::decode<trust::AuditProof>(value));
    if (proofs_.size() < kProofsMax) proofs_.emplace(trust::digest(value), std::move(proof));
    return {};
  }
  SEDGE_TRY(const NodeId node, id_from_bytes<NodeId>(key));
  SEDGE_TRY(auto seen, wire::decode<SeenHeads>(value));
  if (seen_.size() < kSeenNodesMax && seen.heads.size() <= kSeenHeadsMax) seen_[node] = std::move(seen.heads);
  return {};
}

Status AuditCollector::load_former(Bytes key, Bytes value) {
  if (key.size() != sizeof(std::uint64_t)) {
    SEDGE_TRY(const trust::AuditHead head, trust::decode_head(value));
    return views_.try_emplace(head.node, options_.kept).first->second.add(head);
  }
  SEDGE_TRY(const trust::AuditEntry entry, trust::decode_entry(value));
  return views_.try_emplace(entry.node, options_.kept).first->second.add(entry);
}

Status AuditCollector::see(Bytes encoded) {
  SEDGE_TRY(const trust::AuditHead head, trust::decode_head(encoded));
  return see(head);
}

Status AuditCollector::see(const trust::AuditHead& head) {
  if (head.index == 0) return {};
  const auto known = seen_.find(head.node);
  if (known == seen_.end() && seen_.size() >= kSeenNodesMax) return {};
  Heads none;
  const Heads& before = known == seen_.end() ? none : known->second;
  const auto at = std::ranges::lower_bound(before, head.index, {}, &trust::AuditHead::index);
  const bool same_number = at != before.end() && at->index == head.index;
  if (same_number && at->hash == head.hash) return {};
  SEDGE_CHECK(trust::verify_head(directory_, head));
  if (same_number) {
    keep(trust::make_proof(*at, head));
    return {};
  }
  Heads heads = before;
  heads.insert(heads.begin() + (at - before.begin()), head);
  if (heads.size() > kSeenHeadsMax) thin(heads);
  records_.push_back({kSeenBucket, to_buffer(head.node.view()), wire::encode(SeenHeads{heads}), false});
  seen_[head.node] = std::move(heads);
  return {};
}

std::vector<Buffer> AuditCollector::seen(std::size_t bytes_max) {
  std::vector<Buffer> heads;
  std::size_t bytes = 0;
  auto at = seen_.upper_bound(seen_cursor_);
  for (std::size_t i = 0; i < seen_.size() && bytes < bytes_max; ++i, ++at) {
    if (at == seen_.end()) at = seen_.begin();
    for (const trust::AuditHead& head : at->second) {
      heads.push_back(trust::encode_head(head));
      bytes += heads.back().size();
    }
    seen_cursor_ = at->first;
  }
  return heads;
}

void AuditCollector::pull(NodeId subject, Done done, Instant now) {
  const auto [at, is_new] = pulls_.try_emplace(subject);
  at->second.waiting.push_back(std::move(done));
  if (is_new) queue_.push_back(subject);
  next_pulls(now);
}

void AuditCollector::next_pulls(Instant now) {
  while (!queue_.empty() && pulls_.size() - queue_.size() < options_.at_once) {
    const NodeId subject = queue_.front();
    queue_.pop_front();
    make_room(subject);
    trust::AuditView& view = views_.try_emplace(subject, options_.kept).first->second;
    Pull& pull = pulls_.at(subject);
    if (const auto seen = seen_.find(subject); seen != seen_.end()) pull.seen = seen->second;
    pull.after = view.size() == 0 ? 0 : view.last();
    ask(subject, pull, true, now);
  }
}

void AuditCollector::ask(NodeId subject, Pull& pull, bool heads, Instant now) {
  pull.until = now + options_.answer_wait;
  ++pull.attempts;
  const wire::AuditRequest request{subject, pull.after, heads};
  sends_.push_back({subject, env::Priority::kLow, false, wire::frame(wire::MessageType::kAuditRequest, request)});
}

// The chains fetched longest ago go, all of a chain or nothing.
void AuditCollector::make_room(NodeId except) {
  std::erase(fetched_order_, except);
  fetched_order_.push_back(except);
  std::size_t held = 0;
  for (const auto& [node, view] : views_) held += view.size();
  while (held + trust::AuditView::kEntriesMax > kEntriesHeldMax && fetched_order_.front() != except) {
    const auto oldest = views_.find(fetched_order_.front());
    fetched_order_.pop_front();
    if (oldest == views_.end()) continue;
    held -= oldest->second.size();
    views_.erase(oldest);
  }
}

Status AuditCollector::on_chunk(NodeId from, const wire::AuditChunk& chunk, Instant now) {
  const auto found = pulls_.find(from);
  const bool asked = found != pulls_.end() && found->second.attempts > 0;
  if (!asked || chunk.subject != from || chunk.after != found->second.after) {
    return fail(Code::kFailedPrecondition, "nobody asked {} for this part of its audit chain", from.short_hex());
  }
  Pull& pull = found->second;
  if (const Status taken = take_entries(from, chunk, pull); !taken) {
    finish(from, taken, now);
    return taken;
  }
  if (chunk.more) {
    pull.attempts = 0;
    ask(from, pull, false, now);
  } else {
    finish(from, {}, now);
  }
  return {};
}

Status AuditCollector::take_entries(NodeId subject, const wire::AuditChunk& chunk, Pull& pull) {
  const auto view = views_.find(subject);
  if (view == views_.end()) return fail(Code::kAborted, "others' chains took its place");
  for (const Buffer& bytes : chunk.heads) {
    SEDGE_TRY(const trust::AuditHead head, trust::decode_head(bytes));
    const Status seen = see(head);
    if (head.node != subject) continue;  // another's word of others: worth what their keys say
    SEDGE_CHECK(seen);
    SEDGE_CHECK(trust::verify_head(directory_, head));
    SEDGE_CHECK(view->second.add(head));
  }
  for (const Buffer& bytes : chunk.entries) {
    SEDGE_TRY(const trust::AuditEntry entry, trust::decode_entry(bytes));
    if (entry.node != subject) return fail(Code::kUnauthenticated, "{} showed another's entries", subject.short_hex());
    SEDGE_CHECK(trust::verify_entry(directory_, entry));
    if (entry.index <= pull.after) return fail(Code::kDataLoss, "{} showed entries in no order", subject.short_hex());
    pull.after = entry.index;
    SEDGE_CHECK(view->second.add(entry));
  }
  if (chunk.more && chunk.entries.empty())
    return fail(Code::kDataLoss, "{} showed nothing of more", subject.short_hex());
  return {};
}

void AuditCollector::finish(NodeId subject, const Status& status, Instant now) {
  const auto pull = pulls_.extract(subject);
  if (!pull) return;
  std::erase(queue_, subject);
  if (const auto view = views_.find(subject); view != views_.end()) {
    for (const trust::AuditHead& head : pull.mapped().seen) {
      if (status) static_cast<void>(view->second.add(head));
    }
    keep(view->second.findings());
    if (view->second.size() == 0 && !status) views_.erase(view);
  }
  next_pulls(now);
  for (const Done& done : pull.mapped().waiting) done(status);
}

void AuditCollector::abandon() {
  queue_.clear();
  for (const auto& [subject, pull] : std::exchange(pulls_, {})) {
    for (const Done& done : pull.waiting) done(fail(Code::kAborted, "this node is leaving the fleet"));
  }
}

void AuditCollector::keep(const std::vector<trust::AuditFinding>& findings) {
  for (const trust::AuditFinding& finding : findings) {
    if (finding.proof) keep(*finding.proof);
  }
}

void AuditCollector::keep(trust::AuditProof proof) {
  const auto proved = trust::verify_proof(directory_, proof);
  Buffer bytes = wire::encode(proof);
  const trust::Digest name = trust::digest(bytes);
  if (!proved || proofs_.size() >= kProofsMax || proofs_.contains(name)) return;
  // One is as good as a thousand: a node that forked its chain did it for every number since.
  const auto same = [&](const auto& known) {
    const auto other = trust::verify_proof(directory_, known.second);
    return other && other->node == proved->node;
  };
  if (std::ranges::count_if(proofs_, same) >= 4) return;
  proofs_.emplace(name, std::move(proof));
  records_.push_back({kProofBucket, Buffer(name.begin(), name.end()), std::move(bytes), false});
  if (!report) return;
  report(
      fmt::format("node {} signed two different audit entries {}: its home was cloned or restored, or it lies; the "
                  "proof is kept (`sedge audit verify`)",
                  proved->node.hex(), proved->index));
}

void AuditCollector::on_timer(Instant now) {
  std::vector<NodeId> late;
  for (auto& [subject, pull] : pulls_) {
    if (pull.attempts == 0 || pull.until > now) continue;
    if (pull.attempts < options_.attempts)
      ask(subject, pull, true, now);
    else
      late.push_back(subject);
  }
  for (const NodeId subject : late) {
    finish(subject, fail(Code::kUnavailable, "node {} does not answer", subject.short_hex()), now);
  }
}

Instant AuditCollector::next_deadline() const {
  Instant next = kNever;
  for (const auto& [subject, pull] : pulls_) next = std::min(next, pull.attempts > 0 ? pull.until : kNever);
  return next;
}

void AuditCollector::drain(env::Outbox& out) {
  out.records.insert(out.records.end(), std::make_move_iterator(records_.begin()),
                     std::make_move_iterator(records_.end()));
  records_.clear();
}

}  // namespace sedge::node
