#include "consensus/group.h"

#include <algorithm>
#include <utility>

namespace sedge::consensus {
namespace {

constexpr Duration kRedirectPause = 50ms;  // two nodes that name each other do not loop at the speed of the network

}  // namespace

Group::Group(GroupOptions options)
    : options_(std::move(options)),
      prng_(options_.seed),
      raft_(
          [&] {
            RaftOptions raft = options_.raft;
            raft.self = options_.self;
            raft.seed = prng_.next();
            return raft;
          }(),
          {.apply = [this](Index index, Bytes command) { applied(index, command); },
           .snapshot = [this] { return registry_.snapshot(); },
           .restore = [this](Bytes bytes) { return registry_.restore(bytes); }}) {}

void Group::start(Instant now) {
  raft_.start(now);
  if (options_.may_found && raft_.group() == GroupId{} && raft_.forced() == 0) found_at_ = now + options_.found_after;
  settle(now);
}

Status Group::on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  Status taken;
  if (type == wire::MessageType::kAgreedRequest) {
    SEDGE_TRY(const auto request, wire::decode<wire::AgreedRequest>(body));
    serve(from, request, now);
  } else if (type == wire::MessageType::kAgreedAnswer) {
    SEDGE_TRY(const auto reply, wire::decode<wire::AgreedAnswer>(body));
    on_answer(from, reply, now);
  } else {
    taken = raft_.on_message(from, type, body, now);
  }
  settle(now);
  return taken;
}

void Group::on_link_up(NodeId peer, Instant now) {
  raft_.on_link_up(peer, now);
  for (auto& [id, open] : open_) {
    if (open.asked == peer || open.asked.is_zero()) open.next = now;
  }
  settle(now);
}

void Group::on_durable(env::Lsn upto, Instant now) {
  raft_.on_durable(upto, now);
  settle(now);
}

void Group::on_timer(Instant now) {
  if (now >= found_at_) {
    found_at_ = kNever;
    if (raft_.group() == GroupId{} && hint_.group == GroupId{} && raft_.forced() == 0)
      raft_.found(GroupId{prng_.next() | 1}, now);
  }
  raft_.on_timer(now);
  if (now >= next_look_) look_at_roster(now);
  settle(now);
}

Instant Group::next_deadline() const {
  Instant next = std::min({raft_.next_deadline(), found_at_, next_look_});
  for (const auto& [id, open] : open_) next = std::min({next, open.next, open.until});
  return next;
}

void Group::drain(env::Outbox& out) {
  raft_.drain(out);
  std::ranges::move(sends_, std::back_inserter(out.sends));
  sends_.clear();
}

// After every call: what Raft has decided is told to those who wait for it.
void Group::settle(Instant now) {
  for (const Raft::ReadResult& result : raft_.take_reads()) {
    const auto found = reads_.extract(result.id);
    if (!found) continue;
    const auto& [from, request] = found.mapped();
    if (!result.current) {
      elsewhere(from, request.id);
      continue;
    }
    const Agreed agreed = registry_.get(request.path);
    answer(from, {.id = request.id, .version = agreed.version, .value = agreed.value});
  }
  if (!raft_.leads()) {
    for (const auto& [id, who] : std::exchange(waits_, {})) {
      for (const NodeId to : who) elsewhere(to, id);
    }
    next_look_ = kNever;
  } else if (next_look_ == kNever && !leaving_) {
    next_look_ = now + options_.look_interval;
  }
  if (const NodeId leader = lead().leader; leader != std::exchange(last_leader_, leader) && !leader.is_zero()) {
    for (auto& [id, open] : open_) open.next = now;
  }
  for (auto& [id, open] : open_) {
    if (open.next <= now) attempt(open, now);
  }
  while (!own_answers_.empty()) {
    for (const wire::AgreedAnswer& each : std::exchange(own_answers_, {})) on_answer(options_.self, each, now);
  }
  give_up(now);
}

// --- at the leader
// -----------------------------------------------------------------------------------------------------

void Group::serve(NodeId from, const wire::AgreedRequest& request, Instant now) {
  if (!raft_.leads() || leaving_) return elsewhere(from, request.id);
  Status valid = check_request(request);
  if (valid && options_.allows) valid = options_.allows(from, request);
  if (!valid) return refuse(from, request.id, valid.error());
  if (request.op == wire::AgreedOp::kGet) {
    const auto read = raft_.read(now);
    if (!read) return refuse(from, request.id, read.error());
    reads_[*read] = {from, request};
    return;
  }
  if (const auto waits = waits_.find(request.id); waits != waits_.end()) {
    waits->second.insert(from);
    return;
  }
  const auto proposed = raft_.propose(wire::encode(request), now);
  if (!proposed) return refuse(from, request.id, proposed.error());
  waits_[request.id].insert(from);  // as many as Raft lets be uncommitted
}

void Group::applied(Index index, Bytes command) {
  const auto request = wire::decode<wire::AgreedRequest>(command);
  if (!request) return;  // on every node alike
  const Result<Agreed> outcome = registry_.apply(index, *request);
  const auto waits = waits_.extract(request->id);
  if (!waits) return;
  for (const NodeId to : waits.mapped()) {
    if (outcome)
      answer(to, {.id = request->id, .version = outcome->version});
    else
      refuse(to, request->id, outcome.error());
  }
}

void Group::answer(NodeId to, wire::AgreedAnswer answer) {
  answer.leader = lead().leader;
  if (to == options_.self) {
    own_answers_.push_back(std::move(answer));
    return;
  }
  sends_.push_back({to, env::Priority::kState, false, wire::frame(wire::MessageType::kAgreedAnswer, answer)});
}

void Group::refuse(NodeId to, TaskId id, const Error& error) {
  answer(to, {.id = id, .end = wire::AgreedEnd::kRefused, .code = error.code, .message = error.message});
}

void Group::elsewhere(NodeId to, TaskId id) { answer(to, {.id = id, .end = wire::AgreedEnd::kElsewhere}); }

// --- where the client is
// -----------------------------------------------------------------------------------------------

void Group::submit(wire::AgreedRequest request, Duration patience, Done done, Instant now) {
  if (const Status valid = check_request(request); !valid) return done(std::unexpected(valid.error()));
  if (open_.size() >= options_.requests_max) {
    return done(
        fail(Code::kResourceExhausted, "{} requests for agreed values wait already: try again soon", open_.size()));
  }
  const TaskId id = request.id;
  if (open_.contains(id)) return done(fail(Code::kAlreadyExists, "request {} is under way", id.hex()));
  open_[id] = {.request = std::move(request),
               .done = std::move(done),
               .until = now + patience,
               .next = now,
               .asked = {},
               .last_error = {}};
  settle(now);
}

void Group::attempt(Open& open, Instant now) {
  open.asked = whom_to_ask();
  open.next = now + (open.asked.is_zero() ? options_.look_again : options_.ask_again);
  if (open.asked.is_zero()) return;
  if (open.asked == options_.self) return serve(options_.self, open.request, now);
  sends_.push_back(
      {open.asked, env::Priority::kState, false, wire::frame(wire::MessageType::kAgreedRequest, open.request)});
}

// The leader; where it is not known, the voters in turn, who may know.
NodeId Group::whom_to_ask() {
  const Lead known = lead();
  const bool gone = options_.alive && !known.leader.is_zero() && !options_.alive(known.leader);
  if (!known.leader.is_zero() && !gone) return known.leader;
  if (part() || known.voters.empty()) return NodeId{};
  return known.voters[next_voter_++ % known.voters.size()];
}

void Group::on_answer(NodeId from, const wire::AgreedAnswer& answer, Instant now) {
  const auto found = open_.find(answer.id);
  if (found == open_.end() || found->second.asked != from) return;
  if (answer.end == wire::AgreedEnd::kElsewhere) {
    Open& open = found->second;
    open.next = now + (answer.leader.is_zero() ? options_.look_again : kRedirectPause);
    if (!answer.leader.is_zero() && !part()) hint_.leader = answer.leader;
    return;
  }
  const auto open = open_.extract(found);
  if (answer.end == wire::AgreedEnd::kDone)
    open.mapped().done(Agreed{answer.version, answer.value});
  else
    open.mapped().done(std::unexpected(Error{answer.code, answer.message}));
}

void Group::give_up(Instant now) {
  std::vector<TaskId> over;
  for (const auto& [id, open] : open_) {
    if (open.until <= now) over.push_back(id);
  }
  for (const TaskId& id : over) {
    if (const auto open = open_.extract(id)) open.mapped().done(std::unexpected(out_of_patience(open.mapped())));
  }
}

Error Group::out_of_patience(const Open& open) const {
  const Lead known = lead();
  std::string missing = "the node where the fleet was created has founded no consensus group yet, or cannot be heard";
  if (!known.voters.empty()) {
    const auto there = std::ranges::count_if(
        known.voters, [&](NodeId id) { return id == options_.self || !options_.alive || options_.alive(id); });
    missing = fmt::format("{} of {} voters are alive as this node sees it, {} must answer", there, known.voters.size(),
                          known.voters.size() / 2 + 1);
  }
  const bool write = open.request.op != wire::AgreedOp::kGet;
  return {Code::kUnavailable,
          fmt::format(
              "no majority answered: {}. Retry in 2 s{}", missing,
              write ? fmt::format("; with the request's id {} it is carried out once", open.request.id.hex()) : "")};
}

// --- who leads, who votes
// ----------------------------------------------------------------------------------------------

Lead Group::lead() const {
  if (part()) return {raft_.leader(), raft_.term(), raft_.configuration().voters};
  return {hint_.leader, hint_.term, hint_.voters};
}

void Group::on_hint(const wire::GroupHint& hint, Instant now) {
  if (hint.voters.size() > kPartsMax || hint.group == GroupId{} || former_.contains(hint.group)) return;
  const GroupId ours = raft_.group() > GroupId{} ? raft_.group() : hint_.group;
  if (ours > GroupId{} && hint.group != ours) {
    if (!std::exchange(stranger_reported_, true) && options_.report) {
      options_.report(fmt::format(
          "this fleet has two consensus groups, {:016x} and {:016x}: a founder lost its disk. Revoke it, and have it "
          "join again",
          ours.value, hint.group.value));
    }
    return;
  }
  if (std::tie(hint.term, hint.index) <= std::tie(hint_.term, hint_.index)) return;
  hint_ = hint;
  settle(now);
}

void Group::force(std::span<const wire::ForcedQuorum> orders, Instant now) {
  // What came before the group that we are of already is over.
  auto first = orders.begin();
  for (auto order = orders.begin(); order != orders.end(); ++order) {
    former_.insert(order->former);
    if (order->group == raft_.group()) first = order;
  }
  for (auto order = first; order != orders.end(); ++order) {
    if (order->number <= raft_.forced()) continue;
    raft_.force(*order, now);
    if (options_.report) {
      options_.report(
          fmt::format("by the root's order {} the consensus group goes on with {} voters, without the others",
                      order->number, order->voters.size()));
    }
  }
  if (!orders.empty() && (hint_.group == GroupId{} || former_.contains(hint_.group))) {
    const wire::ForcedQuorum& last = orders.back();
    hint_ = {.group = last.group, .term = {}, .index = {}, .leader = {}, .voters = last.voters};
  }
  settle(now);
}

std::optional<wire::GroupHint> Group::take_hint() {
  if (!raft_.leads_settled() || !raft_.configuration_settled()) return std::nullopt;
  const std::pair now{raft_.term(), raft_.configuration_index()};
  if (told_ == now) return std::nullopt;
  told_ = now;
  return wire::GroupHint{raft_.group(), raft_.term(), {now.second}, options_.self, raft_.configuration().voters};
}

void Group::look_at_roster(Instant now) {
  next_look_ = now + options_.look_interval;
  if (!raft_.leads_settled() || !raft_.configuration_settled() || !options_.members) return;
  const auto next = next_configuration(
      raft_.configuration(), options_.self, options_.members(now), [this](NodeId id) { return raft_.caught_up(id); },
      options_.roster);
  if (next) (void)raft_.change(*next, now);  // refused: looked at again
}

void Group::on_members_changed(Instant now) {
  if (raft_.leads() && !leaving_) look_at_roster(now);
  settle(now);
}

void Group::leave(Instant now) {
  leaving_ = true;
  raft_.hand_over(now);
  for (auto& [id, open] : std::exchange(open_, {})) {
    open.done(fail(Code::kUnavailable, "this node is leaving the fleet"));
  }
  settle(now);
}

}  // namespace sedge::consensus
