// What a node adds to its consensus group, and to averaging: who its members are, how its messages find a link, who may
// write what, and the hint by which everybody learns who leads.
#include <algorithm>
#include <functional>
#include <utility>

#include "mesh/topic.h"
#include "node/node.h"
#include "trust/quorum.h"

namespace sedge::node {
namespace {

constexpr Duration kVoterLinkTime = 10s;              // a link that carries such messages is kept so long after each
constexpr std::string_view kPower = "sys/consensus";  // who may write there may vote and lead

std::string hint_path(NodeId id) { return fmt::format("sys/node/{}/consensus", id.hex()); }

}  // namespace

consensus::GroupOptions Node::group_options() {
  consensus::GroupOptions group;
  group.self = id_;
  group.raft.former = options_.former;
  group.seed = entropy_.u64();
  group.may_found = options_.may_found;
  group.members = [this](Instant now) { return candidates(now); };
  group.alive = [this](NodeId id) {
    const auto state = membership_->state_of(id);
    return state && *state <= mesh::MemberState::kSuspect;
  };
  group.allows = [this](NodeId who, const wire::AgreedRequest& request) -> Status {
    if (request.op == wire::AgreedOp::kGet || directory_.allows(who, trust::Verb::kWrite, request.path)) return {};
    return fail(Code::kPermissionDenied, "node {} has no grant write:{}", who.short_hex(), request.path);
  };
  group.report = [this](const std::string& text) {
    if (report_) report_(text);
  };
  return group;
}

std::vector<consensus::Candidate> Node::candidates(Instant now) const {
  std::vector<consensus::Candidate> all;
  for (const mesh::Member& member : membership_->members()) {
    all.push_back({.id = member.id,
                   .alive = member.state <= mesh::MemberState::kSuspect,
                   .revoked = directory_.revoked(member.id),
                   .able = directory_.allows(member.id, trust::Verb::kWrite, kPower),
                   .in_state = now - member.since});
  }
  // Membership forgets whom the fleet has put out; the group must hear of it, or its vote is missed for ever.
  const consensus::Configuration& parts = group_->raft().configuration();
  for (const auto& ids : {parts.voters, parts.learners}) {
    for (const NodeId id : ids) {
      if (directory_.revoked(id) && !membership_->state_of(id)) all.push_back({.id = id, .revoked = true});
    }
  }
  return all;
}

// Votes and the log are for those whose certificate would let them lead; requests are judged one by one.
Status Node::on_consensus_frame(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  const bool request = type == wire::MessageType::kAgreedRequest || type == wire::MessageType::kAgreedAnswer;
  if (!request && !directory_.allows(from, trust::Verb::kWrite, kPower)) {
    return fail(Code::kPermissionDenied, "node {} has no grant write:{}", from.short_hex(), kPower);
  }
  return group_->on_message(from, type, body, now);
}

// What finds no link is dropped, since Raft and requests are sent again; the link is dialled for the next time.
void Node::send_consensus(std::vector<env::Send> sends, Instant now) {
  for (env::Send& send : sends) {
    membership_->want_link(send.to, kVoterLinkTime, now);
    if (membership_->linked(send.to)) remote_.push_back(std::move(send));
  }
}

// Written by a leader when it is elected and when the voters change: a few entries in the life of a fleet.
void Node::tell_hint(Instant now) {
  if (leaving_) return;
  const auto hint = group_->take_hint();
  if (!hint) return;
  when_durable(state_->set(hint_path(id_), wire::encode(*hint), now), [](const Status&) {});
}

TaskId Node::agree(wire::AgreedRequest request, Duration patience, consensus::Group::Done done, Instant now) {
  now_ = now;
  if (request.id.is_zero()) entropy_.fill(request.id.bytes);
  const TaskId id = request.id;
  group_->submit(std::move(request), patience, std::move(done), now);
  settle(now);
  return id;
}

// In order of their numbers: who was away obeys the last, and knows the groups of the others for former ones. Two of
// one number are two of the operator's mistakes: the greater group counts with whoever has obeyed neither.
void Node::on_quorum_orders(Instant now) {
  const auto value = state_->replica().read(std::string(trust::kQuorumPath));
  if (!value) return;
  std::vector<wire::ForcedQuorum> orders;
  for (const Buffer& element : value->values) {
    if (auto order = trust::open_quorum(directory_.root(), element)) orders.push_back(std::move(order->quorum));
  }
  const auto rank = [](const wire::ForcedQuorum& order) { return std::pair(order.number, order.group); };
  std::ranges::sort(orders, std::greater(), rank);
  const auto same = std::ranges::unique(orders, {}, &wire::ForcedQuorum::number);
  if (!same.empty() && report_) {
    report_(
        "the root has signed two orders of a forced quorum with one number: those who obeyed different ones wait for "
        "each other until there is an order with the next number");
  }
  orders.erase(same.begin(), same.end());
  std::ranges::reverse(orders);
  group_->force(orders, now);
  // Who leads the new group may have been told before the order, when its hint was a stranger's.
  note_hints();
}

Status Node::force_quorum(Bytes order, Done done, Instant now) {
  now_ = now;
  SEDGE_TRY(const trust::QuorumOrder opened, trust::open_quorum(directory_.root(), order));
  const wire::ForcedQuorum& quorum = opened.quorum;
  if (quorum.former != group_->raft().group()) {
    return fail(Code::kFailedPrecondition, "that order is for consensus group {:016x}, this node is of {:016x}",
                quorum.former.value, group_->raft().group().value);
  }
  if (quorum.number != group_->raft().forced() + 1) {
    return fail(Code::kFailedPrecondition, "the next order of a quorum is number {}, this is number {}",
                group_->raft().forced() + 1, quorum.number);
  }
  when_durable(state_->insert(std::string(trust::kQuorumPath), to_buffer(order), now), std::move(done));
  settle(now);
  return {};
}

consensus::AveragerOptions Node::averager_options() {
  consensus::AveragerOptions options;
  options.self = id_;
  options.epoch = options_.epoch;
  for (std::size_t i = 0; i < 8; ++i) options.seed = options.seed << 8 | id_.bytes[i];  // whom to give to: no secret
  options.fleet_ms = [this](Instant now) { return state_->fleet_ms(now); };
  options.allows = [this](NodeId who, std::string_view name) {
    return directory_.allows(who, trust::Verb::kPub, name);
  };
  return options;
}

void Node::average(std::string_view name, double value, Duration window, consensus::Averager::Done done, Instant now) {
  now_ = now;
  if (const Status valid = mesh::check_topic(name); !valid) return done(std::unexpected(valid.error()));
  if (!directory_.allows(id_, trust::Verb::kPub, name)) {
    return done(fail(Code::kPermissionDenied, "this node has no grant pub:{}", name));
  }
  averager_->average(std::string(name), value, window, std::move(done), now);
  settle(now);
}

}  // namespace sedge::node
