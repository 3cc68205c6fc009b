#include "node/auditor.h"

#include <algorithm>
#include <utility>

#include "wire/task_messages.h"

namespace sedge::node {
namespace {

constexpr std::size_t kTextBytesMax = 160;  // of a text in an entry: bodies stay under kAuditBodyBytesMax
constexpr std::size_t kHeadsBytesMax = 64u << 10;

std::string cut(std::string_view text) { return std::string(text.substr(0, kTextBytesMax)); }

}  // namespace

trust::Digest prompt_digest(const wire::TaskSpec& spec) {
  struct Texts {
    std::vector<std::string> texts;
    void fields(wire::Encoder& visit) { visit("texts", texts); }
  };
  if (!spec.texts.empty()) return trust::digest(wire::encode(Texts{spec.texts}));
  if (spec.turns.empty()) return trust::digest(as_bytes(spec.prompt));
  struct Turns {
    std::vector<env::ChatTurn> turns;
    void fields(wire::Encoder& visit) { visit("turns", turns); }
  };
  return trust::digest(wire::encode(Turns{spec.turns}));
}

Auditor::Auditor(Options options, const trust::SecretKey& key, const trust::Directory& directory)
    : options_(std::move(options)),
      log_({.self = options_.self, .epoch = options_.epoch, .kept = options_.kept}, key),
      others_({.kept = options_.kept}, directory),
      prng_(options_.seed) {}

std::vector<std::string> Auditor::buckets() {
  return {AuditLog::kBucket, AuditLog::kFormerBucket, AuditCollector::kSeenBucket, AuditCollector::kProofBucket};
}

Status Auditor::load(std::string_view bucket, Bytes key, Bytes value) {
  if (bucket == AuditLog::kFormerBucket) {
    return others_.load_former(key.subspan(std::min(key.size(), NodeId{}.bytes.size())), value);
  }
  if (bucket != AuditLog::kBucket) return others_.load(bucket, key, value);
  SEDGE_TRY(const bool own, log_.load(key, value));
  return own ? Status() : others_.load_former(key, value);
}

void Auditor::start(Instant now) {
  log_.start();
  append(trust::AuditKind::kStart, trust::AuditStart{cut(options_.name)}, now);
}

void Auditor::inference(trust::AuditInference what, Instant now) {
  what.model = cut(what.model);
  what.model_hash = cut(what.model_hash);
  what.outcome = cut(what.outcome);
  append(trust::AuditKind::kInference, what, now);
}

void Auditor::refused(NodeId peer, std::string_view what, Instant now) {
  if (!refused_.contains(peer) && refused_.size() >= kRefusedPeersMax) peer = {};
  Refused& refused = refused_[peer];
  if (refused.count++ > 0) return;
  refused.what = cut(what);
  refused.tell_at = now + options_.refusals_interval;
}

Status Auditor::on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  switch (type) {
    case wire::MessageType::kAuditRequest: {
      SEDGE_TRY(const auto request, wire::decode<wire::AuditRequest>(body));
      sends_.push_back(
          {from, env::Priority::kLow, false, wire::frame(wire::MessageType::kAuditChunk, answer(request))});
      return {};
    }
    case wire::MessageType::kAuditChunk: {
      SEDGE_TRY(const auto chunk, wire::decode<wire::AuditChunk>(body));
      return others_.on_chunk(from, chunk, now);
    }
    default:
      return fail(Code::kUnimplemented, "audit message type {} is of a newer version", static_cast<int>(type));
  }
}

wire::AuditChunk Auditor::answer(const wire::AuditRequest& request) {
  wire::AuditChunk chunk{request.subject, request.after, {}, {}, false};
  if (request.subject == options_.self) chunk = log_.chunk(request.after);
  if (!request.heads) return chunk;
  std::ranges::move(others_.seen(kHeadsBytesMax), std::back_inserter(chunk.heads));
  return chunk;
}

Status Auditor::on_head(NodeId writer, Bytes bytes) {
  SEDGE_TRY(const trust::AuditHead head, trust::decode_head(bytes));
  if (head.node != writer) return fail(Code::kUnauthenticated, "{} tells another's head", writer.short_hex());
  if (writer == options_.self) return {};
  return others_.see(head);
}

void Auditor::on_timer(Instant now) {
  others_.on_timer(now);
  for (auto at = refused_.begin(); at != refused_.end();) {
    if (at->second.tell_at > now) {
      ++at;
      continue;
    }
    append(trust::AuditKind::kRefusals, trust::AuditRefusals{at->first, at->second.count, at->second.what}, now);
    at = refused_.erase(at);
  }
}

Instant Auditor::next_deadline() const {
  Instant next = std::min({log_.next_deadline(), others_.next_deadline(), tell_at_});
  for (const auto& [peer, refused] : refused_) next = std::min(next, refused.tell_at);
  return next;
}

std::vector<env::Send> Auditor::take_sends() {
  std::vector<env::Send> sends = others_.take_sends();
  std::ranges::move(std::exchange(sends_, {}), std::back_inserter(sends));
  return sends;
}

std::optional<Buffer> Auditor::take_head(Instant now) {
  if (now < tell_at_) return std::nullopt;
  tell_at_ = untold_since_ + head_wait();  // the fleet may have grown: who just started knew nobody yet
  if (now < tell_at_) return std::nullopt;
  tell_at_ = kNever;
  told_ = log_.last();
  return trust::encode_head(log_.head());
}

void Auditor::drain(env::Outbox& out, Instant now) {
  others_.drain(out);
  log_.drain(out, now);
}

void Auditor::on_durable(env::Lsn upto, Instant now) {
  log_.on_durable(upto);
  if (log_.last() == told_ || tell_at_ != kNever) return;
  untold_since_ = now;
  wait_permille_ = static_cast<std::int64_t>(500 + prng_.below(1000));
  tell_at_ = now + head_wait();
}

Duration Auditor::head_wait() const {
  const auto members = static_cast<std::int64_t>(options_.members ? options_.members() : 1);
  return std::max(options_.head_interval, members * options_.head_interval_member) / 1000 * wait_permille_;
}

std::vector<Auditor::Row> Auditor::rows() {
  std::vector<Row> rows;
  const auto row = [&rows](NodeId node, const trust::AuditView& view) {
    rows.push_back({node, view.size(), view.last(), view.checkpoint(), view.findings()});
  };
  trust::AuditView own(options_.kept);
  for (const trust::AuditEntry& entry : log_.entries()) static_cast<void>(own.add(entry));
  if (log_.checkpoint()) static_cast<void>(own.add(*log_.checkpoint()));
  static_cast<void>(own.add(log_.head()));
  row(options_.self, own);
  for (const auto& [node, view] : others_.views()) row(node, view);
  return rows;
}

std::vector<trust::AuditEntry> Auditor::entries_of(NodeId node) const {
  if (node == options_.self) return log_.entries();
  std::vector<trust::AuditEntry> entries;
  const auto view = others_.views().find(node);
  if (view == others_.views().end()) return entries;
  for (const trust::AuditEntry* entry : view->second.entries()) entries.push_back(*entry);
  return entries;
}

}  // namespace sedge::node
