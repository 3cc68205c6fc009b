#include "api/audit_ops.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "node/node.h"
#include "platform/system.h"
#include "wire/codec.h"

namespace sedge::api {
namespace {

constexpr std::uint64_t kLogCountDefault = 20;

template <class Body, class Show>
bool show_body(const Buffer& bytes, Show show) {
  const auto body = wire::decode<Body>(bytes);
  if (body) show(*body);
  return body.has_value();
}

bool add_body(json::Object& object, const trust::AuditEntry& entry) {
  using trust::AuditKind;
  const auto text = [&object](const char* key, std::string value) { object[key] = std::move(value); };
  switch (static_cast<AuditKind>(entry.kind)) {
    case AuditKind::kStart:
      return show_body<trust::AuditStart>(entry.body,
                                          [&](const auto& body) { put_bytes(object, "name", as_bytes(body.name)); });
    case AuditKind::kEnrolled:
      return show_body<trust::AuditEnrolled>(entry.body, [&](const auto& body) {
        text("subject", body.subject.hex());
        put_bytes(object, "name", as_bytes(body.name));
        text("issuer", body.issuer.hex());
        object["invitation"] = body.invitation;
      });
    case AuditKind::kRevoked:
      return show_body<trust::AuditRevoked>(entry.body, [&](const auto& body) {
        text("subject", body.subject.hex());
        text("issuer", body.issuer.hex());
        object["cut"] = json::Object{{"epoch", body.cut.epoch.value}, {"sequence", body.cut.sequence.value}};
      });
    case AuditKind::kInference:
      return show_body<trust::AuditInference>(entry.body, [&](const auto& body) {
        text("task", body.task.hex());
        text("prompt", to_hex(body.prompt));
        put_bytes(object, "model", as_bytes(body.model));
        put_bytes(object, "model_hash", as_bytes(body.model_hash));
        text("owner", body.owner.hex());
        text("server", body.server.hex());
        put_bytes(object, "outcome", as_bytes(body.outcome));
        object["tokens"] = body.tokens;
        object["attempts"] = body.attempts;
      });
    case AuditKind::kRefusals:
      return show_body<trust::AuditRefusals>(entry.body, [&](const auto& body) {
        text("peer", body.peer.hex());
        object["count"] = body.count;
        put_bytes(object, "what", as_bytes(body.what));
      });
  }
  return false;
}

std::string name_of(const node::Node& node, NodeId id) {
  const auto member = node.membership().find(id);
  return member ? member->name : id.short_hex();
}

void answer_entries(const node::Node& node, NodeId of, std::uint64_t count, const SessionRef& session) {
  const auto entries = node.auditor().entries_of(of);
  const std::size_t skip = entries.size() > count ? entries.size() - static_cast<std::size_t>(count) : 0;
  for (std::size_t i = skip; i < entries.size(); ++i) session->answer(entry_object(entries[i]));
  session->end();
}

json::Object finding_object(const trust::AuditFinding& finding) {
  json::Object object{
      {"kind", std::string(trust::finding_name(finding.kind))}, {"first", finding.first}, {"last", finding.last}};
  if (finding.proof) {
    object["proof"] =
        json::Object{{"first", to_base64url(finding.proof->first)}, {"second", to_base64url(finding.proof->second)}};
  }
  return object;
}

// Chains that were asked for and did not come, by node.
using Missed = std::map<NodeId, Error>;

void answer_verdict(node::Node& node, const Missed& missed, const SessionRef& session) {
  bool whole = true;
  for (const node::Auditor::Row& row : node.auditor().rows()) {
    json::Array findings;
    for (const trust::AuditFinding& finding : row.findings) findings.push_back(finding_object(finding));
    whole = whole && findings.empty();
    session->answer({{"node", row.node.hex()},
                     {"name", name_of(node, row.node)},
                     {"entries", row.entries},
                     {"last", row.last},
                     {"checkpoint", row.checkpoint},
                     {"findings", std::move(findings)}});
  }
  json::Array out_of_reach;
  for (const auto& [id, error] : missed) {
    const bool lied = error.code != Code::kUnavailable && error.code != Code::kAborted;
    whole = whole && !lied;
    out_of_reach.push_back(
        json::Object{{"node", id.hex()}, {"name", name_of(node, id)}, {"error", error.message}, {"lied", lied}});
  }
  json::Array proofs;
  for (const auto& [name, proof] : node.auditor().proofs()) {
    whole = false;
    proofs.push_back(json::Object{{"first", to_base64url(proof.first)}, {"second", to_base64url(proof.second)}});
  }
  session->answer({{"verified", whole}, {"missed", std::move(out_of_reach)}, {"proofs", std::move(proofs)}});
  session->end();
}

}  // namespace

json::Object entry_object(const trust::AuditEntry& entry) {
  json::Object object{{"node", entry.node.hex()},
                      {"index", entry.index},
                      {"epoch", entry.epoch.value},
                      {"fleet_ms", entry.fleet_ms},
                      {"kind", std::string(trust::audit_kind_name(entry.kind))}};
  if (!add_body(object, entry)) {
    object["kind_number"] = entry.kind;
    object["body_base64"] = to_base64url(entry.body);
  }
  object["hash"] = to_hex(trust::hash_of(entry));
  return object;
}

Status audit_log(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  node::Node& node = runtime.node();
  std::uint64_t count = kLogCountDefault;
  if (request.contains("count")) {
    SEDGE_TRY(count, json::get_uint(request, "count"));
  }
  NodeId of = node.id();
  if (request.contains("node") && !request.at("node").is_null()) {
    SEDGE_TRY(const std::string who, json::get_string(request, "node"));
    SEDGE_TRY(const mesh::Member member, node.member_called(who));
    of = member.id;
  }
  if (of == node.id()) {
    answer_entries(node, of, count, session);
    return {};
  }
  const std::weak_ptr<ControlSession> weak = session;
  node.audit_pull(
      of,
      [weak, &node, of, count](const Status& status) {
        const auto open = weak.lock();
        if (!open) return;
        if (!status) return open->fail(status.error());
        answer_entries(node, of, count, open);
      },
      platform::now());
  return {};
}

Status audit_verify(platform::Runtime& runtime, const json::Object& request, const SessionRef& session) {
  node::Node& node = runtime.node();
  bool fleet = false;
  if (request.contains("fleet")) {
    SEDGE_TRY(fleet, json::get_bool(request, "fleet"));
  }
  std::vector<NodeId> others;
  for (const mesh::Member& member : node.membership().members()) {
    if (fleet && member.id != node.id()) others.push_back(member.id);
  }
  if (others.empty()) {
    answer_verdict(node, {}, session);
    return {};
  }
  struct Round {
    std::size_t left = 0;
    Missed missed;
  };
  const auto round = std::make_shared<Round>(Round{others.size(), {}});
  const std::weak_ptr<ControlSession> weak = session;
  for (const NodeId id : others) {
    node.audit_pull(
        id,
        [weak, round, id, &node](const Status& status) {
          if (!status) round->missed.emplace(id, status.error());
          const auto open = weak.lock();
          if (open) open->answer({{"fetched", name_of(node, id)}, {"ok", status.has_value()}});
          if (--round->left == 0 && open) answer_verdict(node, round->missed, open);
        },
        platform::now());
  }
  return {};
}

}  // namespace sedge::api
