#include "node/node.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "env/model_name.h"
#include "mesh/topic.h"
#include "trust/beacon.h"
#include "trust/quorum.h"
#include "trust/revocation.h"
#include "wire/task_messages.h"

namespace sedge::node {
namespace {

constexpr std::string_view kNodePrefix = "sys/node/";
constexpr std::string_view kOffersSuffix = "/offers";
constexpr std::string_view kHintSuffix = "/consensus";
constexpr std::string_view kRetainedPrefix = "retained/";
constexpr Duration kIdleLoadInterval = 2s;      // an unchanged queue is repeated, for those who missed it
constexpr Duration kLonelyBeaconInterval = 1s;  // with no link yet; then rarer: 2 KB a minute a node
constexpr Duration kBeaconInterval = 10s;
constexpr Duration kTaskLinkTime = 10s;       // a link that carries a task's messages is kept so long after each
constexpr Duration kHeldTime = 2s;            // task messages wait so long for a dial; their owner has moved on by then
constexpr Duration kViewAge = 1s;             // what a task is placed by is no older
constexpr std::size_t kHeldMax = 64;          // a node, of such messages
constexpr std::size_t kPublishTopicsMax = 8;  // of one answer
constexpr int kSelfRoundsMax = 64;            // messages to ourselves that answer each other, in one call

// As seeds in invitations: where to dial us.
std::vector<std::string> texts_of(const std::vector<env::Endpoint>& endpoints) {
  std::vector<std::string> texts;
  for (const env::Endpoint& endpoint : endpoints) texts.push_back(endpoint.text());
  texts.resize(std::min(texts.size(), trust::kSeedsMax));
  return texts;
}

std::string offers_path(NodeId id) { return fmt::format("{}{}{}", kNodePrefix, id.hex(), kOffersSuffix); }

template <class Message, class Handler>
Status with(Bytes body, Handler&& handle) {
  SEDGE_TRY(const Message message, wire::decode<Message>(body));
  handle(message);
  return {};
}

bool same_load(const wire::LoadReport& a, const wire::LoadReport& b) {
  return a.running == b.running && a.waiting == b.waiting && a.backlog == b.backlog;
}

}  // namespace

Node::Node(NodeOptions options, trust::SecretKey key, trust::Directory& directory, env::Entropy& entropy,
           env::Compute& compute)
    : options_(std::move(options)),
      id_(trust::node_id_of(key.public_key())),
      key_(std::move(key)),
      directory_(directory),
      entropy_(entropy),
      compute_(compute),
      meter_(options_.meter),
      privacy_(options_.privacy),
      owner_([&] {
        TaskOwnerOptions owner = options_.owner;
        owner.self = id_;
        return owner;
      }()),
      worker_(options_.worker, compute) {
  membership_ = std::make_unique<mesh::Membership>(membership_options(), key_, directory_);
  broadcast_ = std::make_unique<mesh::Broadcast>(broadcast_options(), key_, directory_);
  pubsub_ = std::make_unique<mesh::PubSub>(id_, directory_, mesh::CausalOptions{.epoch = options_.epoch});
  pubsub_->set_clock([this](Instant now) -> std::optional<std::uint64_t> {
    if (!state_->clock_settled(now)) return std::nullopt;
    return state_->fleet_ms(now);
  });
  make_state();
  tensors_ = std::make_unique<mesh::Tensors>(
      mesh::Tensors::Options{.bytes_max = options_.tensor_bytes_max, .exchange = {.seed = entropy_.u64()}});
  tensors_->hooks.report = state_->hooks.report;
  group_ = std::make_unique<consensus::Group>(group_options());
  averager_ = std::make_unique<consensus::Averager>(averager_options());
  if (options_.issuer) {
    enroller_ =
        std::make_unique<Enroller>(*options_.issuer, options_.fleet_secret, texts_of(options_.endpoints), entropy_);
  }
  make_auditor();
}

mesh::Membership::Options Node::membership_options() {
  mesh::Membership::Options member;
  member.self = id_;
  member.name = options_.name;
  member.epoch = options_.epoch;
  member.seed = entropy_.u64();
  member.endpoints = options_.endpoints;
  member.seeds = options_.seeds;
  member.overlay = options_.overlay;
  member.zone = options_.zone;
  member.gateway_rank = options_.gateway_rank;
  member.learn_certificate = [this](Bytes chain) { return learn_chain(chain); };
  member.forget_certificate = [this](NodeId id) { forget_certificate(id); };
  member.of_tree = [this](NodeId peer) { return broadcast_->tree().holds(peer); };
  member.fleet_us = [this](Instant now) -> std::uint64_t {
    return state_->clock_settled(now) ? state_->fleet_us(now) : 0;  // an unsettled clock has no vote
  };
  member.clock_sample = [this](NodeId peer, const crdt::FleetClock::Exact& reading, Instant now) {
    state_->on_clock_sample(peer, reading, now);
  };
  return member;
}

mesh::Broadcast::Options Node::broadcast_options() {
  mesh::Broadcast::Options broadcast;
  broadcast.self = id_;
  broadcast.epoch = options_.epoch;
  broadcast.deliver = [this](mesh::BatchKind kind, NodeId origin, Bytes payload, Instant now) {
    on_batch(kind, origin, payload, now);
  };
  broadcast.budget = [this](NodeId from, bool straight, Instant now) { return meter_.batch(from, straight, now); };
  broadcast.pack = options_.pack;
  broadcast.members = [this] { return membership_->alive(); };
  broadcast.state_of = [this](NodeId id) { return membership_->state_of(id); };
  broadcast.round_trip = [this](NodeId peer) { return membership_->rtt(peer); };
  broadcast.least_round_trip = [this](NodeId peer) { return membership_->least_rtt(peer); };
  broadcast.loss = [this](NodeId peer) { return membership_->loss(peer); };
  broadcast.fleet_ms = [this](Instant now) -> std::uint64_t {
    return state_->clock_settled(now) ? state_->fleet_ms(now) : 0;
  };
  return broadcast;
}

void Node::make_state() {
  mesh::StateSync::Options state;
  state.self = id_;
  state.epoch = options_.epoch;
  state.seed = entropy_.u64();
  state.collect_every = options_.collect_every;
  state.collect_after = options_.collect_after;
  state_ = std::make_unique<mesh::StateSync>(state, key_, directory_);
  state_->hooks.done = [this](mesh::Ticket ticket, const Status& status) {
    if (auto found = durable_callbacks_.extract(ticket)) found.mapped()(status);
  };
  state_->hooks.changed = [this](const std::string& path, NodeId writer) { on_entry(path, writer); };
  state_->hooks.learn_chain = [this](Bytes chain) { return learn_chain(chain); };
  if (options_.pack) state_->hooks.packs = [this](NodeId peer) { return broadcast_->slow(peer); };
  state_->hooks.enrolled = [this] {
    return static_cast<std::size_t>(std::ranges::count_if(membership_->members(), [this](const mesh::Member& one) {
      return one.id != id_ && !directory_.revoked(one.id);
    }));
  };
  state_->hooks.report = [this](const std::string& text) {
    if (report_) report_(text);
  };
  state_->hooks.forbidden = [this](NodeId origin, const std::string& path) {
    auditor_->refused(origin, fmt::format("write '{}'", path), now_);
  };
}

void Node::make_auditor() {
  Auditor::Options options;
  options.self = id_;
  options.epoch = options_.epoch;
  options.name = options_.name;
  options.seed = entropy_.u64();
  options.kept = options_.audit_kept;
  options.fleet_ms = [this](Instant now) { return state_->fleet_ms(now); };
  options.members = [this] { return membership_->alive(); };
  auditor_ = std::make_unique<Auditor>(std::move(options), key_, directory_);
  worker_.on_served([this](const ServedAttempt& served) {
    if (served.owner == id_) return;  // the owner tells more of it
    auditor_->inference({.task = served.task,
                         .prompt = served.prompt,
                         .model = served.model,
                         .model_hash = served.model_hash,
                         .owner = served.owner,
                         .server = id_,
                         .outcome = std::string(served.outcome),
                         .tokens = served.tokens,
                         .attempts = served.attempt},
                        now_);
  });
  if (enroller_) {
    enroller_->on_enrolled([this](const trust::AuditEnrolled& enrolled) { auditor_->enrolled(enrolled, now_); });
  }
}

Node::~Node() = default;

const std::vector<std::string>& Node::buckets() {
  static const std::vector<std::string> kBuckets = [] {
    std::vector<std::string> buckets = {mesh::Membership::kBucket,
                                        mesh::Broadcast::kBucket,
                                        std::string(mesh::kStateOpBucket),
                                        std::string(mesh::kStateVectorBucket),
                                        std::string(mesh::kStateFrontierBucket),
                                        std::string(mesh::kStateChainBucket),
                                        consensus::Group::kBucket,
                                        PrivacyLedger::kBucket};
    std::ranges::copy(mesh::Tensors::buckets(), std::back_inserter(buckets));
    std::ranges::copy(Enroller::buckets(), std::back_inserter(buckets));
    std::ranges::copy(Auditor::buckets(), std::back_inserter(buckets));
    return buckets;
  }();
  return kBuckets;
}

Status Node::load(std::string_view bucket, Bytes key, Bytes value) {
  if (bucket == mesh::Membership::kBucket) return membership_->load(key, value);
  if (bucket == mesh::Broadcast::kBucket) return broadcast_->load(key, value);
  if (bucket == consensus::Group::kBucket) return group_->load(key, value);
  if (bucket == PrivacyLedger::kBucket) return privacy_.load(key, value);
  if (bucket == trust::InvitationBook::kBucket || bucket == trust::Replacement::kBucket) {
    return enroller_ ? enroller_->load(bucket, key, value) : Status();
  }
  if (bucket == mesh::kTensorBucket || bucket == mesh::kChunkBucket) return tensors_->load(bucket, key, value);
  if (bucket.starts_with(AuditLog::kBucket)) return auditor_->load(bucket, key, value);
  return state_->load(bucket, key, value);
}

void Node::start(Instant now) {
  now_ = now;
  state_->start(now);
  pubsub_->start(now);
  note_tensors();
  tensors_->start(now);
  broadcast_->start(now);
  membership_->start(now);
  group_->start(now);
  auditor_->start(now);
  on_quorum_orders(now);
  // What was replicated before this start is as good as what comes now.
  state_->replica().for_each(
      kNodePrefix, [this](const std::string& path, const crdt::Value& value) { on_entry(path, value.writer); });
  on_revocations(now);
  advertise(now);
  next_load_ = now;
  if (options_.beacons) next_beacon_ = now;
  settle(now);
}

void Node::on_link_up(const env::PeerInfo& peer, Instant now) {
  now_ = now;
  if (meter_.shunned(peer.id, now)) {
    hangups_.push_back({peer.id, env::LinkDown::kProtocol});
    return;
  }
  if (const auto known = directory_.add(peer.certificate_chain); !known) {
    ++stats_.frames_refused;
    hangups_.push_back({peer.id, env::LinkDown::kProtocol});
    return;
  }
  membership_->on_link_up(peer, now);
  broadcast_->on_link_up(peer.id, now);
  state_->on_link_up(peer.id, now);
  tensors_->on_link_up(peer.id, now);
  owner_.on_link_up(peer.id);
  group_->on_link_up(peer.id, now);
  averager_->on_link_up(peer.id, now);
  if (auto held = unlinked_.extract(peer.id)) std::ranges::move(held.mapped().sends, std::back_inserter(remote_));
  views_stale_ = true;
  settle(now);
}

void Node::on_link_down(NodeId peer, env::LinkDown reason, Instant now) {
  now_ = now;
  membership_->on_link_down(peer, reason, now);
  using enum env::LinkDown;
  const bool broke = reason == kTimeout || reason == kClosed || reason == kTooSlow || reason == kReplaced;
  broadcast_->on_link_down(peer, broke, now);
  state_->on_link_down(peer, now);
  averager_->on_link_down(peer);
  tensors_->on_link_down(peer, now);
  meter_.on_link_down(peer);
  lose(peer, now);
  settle(now);
}

// What we and it had under way with each other is void; both sides start over on the next link.
void Node::lose(NodeId peer, Instant now) {
  views_stale_ = true;
  refresh_views();
  owner_.on_node_lost(peer, now);
  worker_.on_owner_lost(peer, now);
  views_stale_ = true;  // it may live on without a link: then it can be dialled
}

void Node::on_dial_failed(const env::DialFailure& failure, Instant now) {
  now_ = now;
  membership_->on_dial_failed(failure, now);
  for (auto& [id, held] : unlinked_) {  // it may have another address
    if (held.dials_left == 0) continue;
    --held.dials_left;
    membership_->want_link(id, kTaskLinkTime, now);
  }
  settle(now);
}

void Node::on_link_bytes(std::span<const env::LinkBytes> bytes, Instant now) {
  broadcast_->on_link_bytes(bytes, now);
  for (const env::LinkBytes& each : bytes) membership_->on_carried(each.peer, each.heard);
}

void Node::on_frame(NodeId from, Bytes frame, const env::AnswersWaiting& waiting, Instant now) {
  now_ = now;
  if (meter_.shunned(from, now)) return;  // what was on its way when we hung up
  if (frame.empty()) {
    membership_->on_life(from, now);
    return settle(now);
  }
  membership_->on_heard(from, now);
  const auto opened = wire::open_frame(frame);
  if (opened && !meter_.takes(from, opened->type, waiting, now)) return settle(now);
  const Status handled =
      opened ? dispatch(from, opened->type, opened->body, now) : Status(std::unexpected(opened.error()));
  if (!handled) refuse(from, handled.error(), frame.size(), now);
  settle(now);
}

// What it lacks a grant for is written down; what no honest peer sends counts against the link.
void Node::refuse(NodeId from, const Error& error, std::size_t bytes, Instant now) {
  ++stats_.frames_refused;
  if (error.code == Code::kPermissionDenied) auditor_->refused(from, error.message, now);
  const bool lies = error.code == Code::kDataLoss || error.code == Code::kUnauthenticated;
  const bool floods = error.code == Code::kResourceExhausted;  // it publishes though it was asked to wait
  if (!(lies && meter_.lied(from, now)) && !(floods && meter_.overran(from, bytes, now))) return;
  ++stats_.peers_shunned;
  hangups_.push_back({from, env::LinkDown::kProtocol});
  if (report_)
    report_(fmt::format("node {} is hung up on: it sends what no honest node does: {}", from.hex(), error.message));
}

Status Node::dispatch(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  const auto number = static_cast<std::uint8_t>(type);
  if (number < 16) return membership_->on_message(from, type, body, now);
  if (number < 32) return broadcast_->on_message(from, type, body, now);
  if (number >= 42 && number < 46) return tensors_->on_message(from, type, body, now);
  if (number < 48) return state_->on_message(from, type, body, now);
  if (number < 64) return on_task_frame(from, type, body, now);
  if (number < 72) return on_consensus_frame(from, type, body, now);
  if (type == wire::MessageType::kAverageShare) return averager_->on_message(from, body, now);
  if (number < 80) return auditor_->on_message(from, type, body, now);
  return fail(Code::kUnimplemented, "message type {} is of a newer version", number);
}

Status Node::on_task_frame(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  SEDGE_CHECK(take_task_frame(from, type, body, now));
  membership_->want_link(from, kTaskLinkTime, now);
  return {};
}

Status Node::take_task_frame(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  switch (type) {
    case wire::MessageType::kTaskAssign: {
      SEDGE_TRY(const auto assign, wire::decode<wire::TaskAssign>(body));
      if (!may_run(from, assign.spec.model)) {
        return fail(Code::kPermissionDenied, "node {} has no grant task:{}", from.short_hex(), assign.spec.model);
      }
      if (!leaving_) worker_.on_assign(from, assign, now);
      return {};
    }
    case wire::MessageType::kTaskCancel:
      return with<wire::TaskCancel>(body, [&](const auto& message) { worker_.on_cancel(from, message, now); });
    case wire::MessageType::kTaskCredit:
      return with<wire::TaskCredit>(body, [&](const auto& message) { worker_.on_credit(from, message, now); });
    case wire::MessageType::kTaskAnswer:
      return with<wire::TaskAnswer>(body, [&](const auto& message) { owner_.on_answer(from, message, now); });
    case wire::MessageType::kTaskTokens:
      return with<wire::TaskTokens>(body, [&](const auto& message) { owner_.on_tokens(from, message, now); });
    case wire::MessageType::kTaskDone:
      return with<wire::TaskDone>(body, [&](const auto& message) { owner_.on_done(from, message, now); });
    default:
      return fail(Code::kUnimplemented, "task message type {} is of a newer version", static_cast<int>(type));
  }
}

void Node::on_beacon(const env::Endpoint& from, Bytes beacon, Instant now) {
  now_ = now;
  const auto opened = trust::open_beacon(options_.fleet_secret, beacon);
  if (!opened || opened->node == id_) return;  // another fleet's, noise, or our own echo
  env::Endpoint address = from;
  address.port = opened->port;
  membership_->on_hint(address, now);
  settle(now);
}

void Node::on_durable(env::Lsn lsn, Instant now) {
  now_ = now;
  state_->on_durable(lsn, now);
  tensors_->on_durable(lsn, now);
  group_->on_durable(lsn, now);
  auditor_->on_durable(lsn, now);
  privacy_.on_durable(lsn);
  if (enroller_) enroller_->on_durable(lsn);
  settle(now);
}

void Node::on_slice(const env::SliceReport& report, Instant now) {
  now_ = now;
  worker_.on_slice(report, now);
  settle(now);
}

void Node::set_endpoints(std::vector<env::Endpoint> endpoints, Instant now) {
  now_ = now;
  options_.endpoints = endpoints;
  membership_->set_endpoints(std::move(endpoints), now);
  if (enroller_) enroller_->set_seeds(texts_of(options_.endpoints));
  if (options_.beacons && !leaving_) next_beacon_ = now;  // whoever is near at the new place
  settle(now);
}

void Node::on_timer(Instant now) {
  now_ = now;
  membership_->on_timer(now);
  broadcast_->on_timer(now);
  pubsub_->on_timer(now);
  state_->on_timer(now);
  tensors_->on_timer(now);
  owner_.on_timer(now);
  worker_.on_timer(now);
  group_->on_timer(now);
  averager_->on_timer(now);
  auditor_->on_timer(now);
  if (const auto head = auditor_->take_head(now)) {
    when_durable(state_->set(fmt::format("{}{}{}", kNodePrefix, id_.hex(), Auditor::kHeadSuffix), head, now),
                 [](const Status&) {});
  }
  std::erase_if(unlinked_, [now](const auto& held) { return held.second.until <= now; });
  if (next_load_ <= now) report_load(now);
  if (next_beacon_ <= now) send_beacon(now);
  settle(now);
}

Instant Node::next_deadline() const {
  return std::min({membership_->next_deadline(), broadcast_->next_deadline(), pubsub_->next_deadline(),
                   state_->next_deadline(), owner_.next_deadline(), worker_.next_deadline(), group_->next_deadline(),
                   auditor_->next_deadline(), averager_->next_deadline(), tensors_->next_deadline(), next_load_,
                   next_beacon_});
}

// After every call: passes on what the cores have for each other, until nothing moves.
void Node::settle(Instant now) {
  for (int round = 0; round < kSelfRoundsMax; ++round) {
    while (const auto event = membership_->poll()) on_event(*event, now);
    if (std::exchange(revocations_stale_, false)) on_revocations(now);
    if (std::exchange(quorum_stale_, false)) on_quorum_orders(now);
    if (std::exchange(rotations_stale_, false)) finish_rotations(now);
    if (views_stale_) refresh_views();
    tell_hint(now);
    if (tensors_->take_look(now)) note_tensors();
    tell_tensors();
    broadcast_gathered(now);
    for (env::Send& send : auditor_->take_sends()) send_task(std::move(send), now);
    env::Outbox tasks;
    owner_.drain(tasks);
    worker_.drain(tasks);
    bool local = false;
    for (env::Send& send : tasks.sends) {
      if (send.to != id_) {
        send_task(std::move(send), now);
        continue;
      }
      local = true;
      const auto opened = wire::open_frame(send.frame);
      // What a client asked for is in here, so it may be refused like anybody's; the owner then hears nothing and says
      // so.
      if (!opened || !dispatch(id_, opened->type, opened->body, now)) ++stats_.frames_refused;
    }
    if (!local) return;
  }
}

// A task's messages go over a link of their own two nodes, dialled when there is none; they wait for it.
void Node::send_task(env::Send send, Instant now) {
  membership_->want_link(send.to, kTaskLinkTime, now);
  if (membership_->linked(send.to)) {
    remote_.push_back(std::move(send));
    return;
  }
  Unlinked& held = unlinked_[send.to];
  if (held.sends.empty()) held.until = now + kHeldTime;
  if (held.sends.size() < kHeldMax) held.sends.push_back(std::move(send));
}

void Node::broadcast_gathered(Instant now) {
  for (const Buffer& ops : state_->take_outgoing()) {
    (void)broadcast_->broadcast(mesh::BatchKind::kState, ops, mesh::Reliability::kReliable, env::Priority::kState, now);
  }
  pubsub_->set_batch_interval(broadcast_->direct() ? Duration::zero() : mesh::kBatchInterval);
  for (const mesh::OutgoingBatch& batch : pubsub_->take_outgoing()) {
    (void)broadcast_->broadcast(mesh::BatchKind::kPubSub, batch.payload, batch.reliability, batch.priority, now);
  }
}

void Node::drain(env::Outbox& out, Instant now) {
  settle(now);
  membership_->drain(out);
  broadcast_->drain(out);
  state_->drain(out);
  tensors_->drain(out);  // with the manifests: the disk has both, or neither
  if (enroller_) enroller_->drain(out);
  privacy_.drain(out);
  env::Outbox group;
  group_->drain(group);
  std::ranges::move(group.records, std::back_inserter(out.records));
  send_consensus(std::move(group.sends), now);
  std::ranges::move(averager_->take_sends(), std::back_inserter(out.sends));
  out.sends.insert(out.sends.end(), std::make_move_iterator(remote_.begin()), std::make_move_iterator(remote_.end()));
  remote_.clear();
  out.hangups.insert(out.hangups.end(), hangups_.begin(), hangups_.end());
  hangups_.clear();
  out.beacons.insert(out.beacons.end(), std::make_move_iterator(beacons_.begin()),
                     std::make_move_iterator(beacons_.end()));
  beacons_.clear();
  auditor_->drain(out, now);  // last: it joins a commit that is made anyway
  if (out.records.empty()) return;
  out.lsn = ++lsn_;
  state_->on_persisting(lsn_);
  tensors_->on_persisting(lsn_);
  group_->on_persisting(lsn_);
  auditor_->on_persisting(lsn_);
  privacy_.on_persisting(lsn_);
  if (enroller_) enroller_->on_persisting(lsn_);
}

void Node::on_event(const mesh::MemberEvent& event, Instant now) {
  using Kind = mesh::MemberEvent::Kind;
  broadcast_->on_member_changed(event.id, now);
  rotations_stale_ = true;
  switch (event.kind) {
    case Kind::kRestarted:
    case Kind::kDown:
    case Kind::kLeft:
      loads_.erase(event.id);
      lose(event.id, now);
      if (event.kind != Kind::kRestarted) pubsub_->on_member_gone(event.id);
      break;
    case Kind::kUp:
    case Kind::kUpdated:
    case Kind::kSuspect:
    case Kind::kClone:
      views_stale_ = true;
      break;
  }
  if (member_event_) member_event_(event);
}

void Node::on_batch(mesh::BatchKind kind, NodeId origin, Bytes payload, Instant now) {
  Status handled;
  switch (kind) {
    case mesh::BatchKind::kPubSub:
      handled = pubsub_->on_broadcast(origin, payload, now);
      break;
    case mesh::BatchKind::kState:
      handled = state_->on_broadcast(origin, payload, now);
      break;
    case mesh::BatchKind::kLoad:
      handled = with<wire::LoadReport>(payload, [&](const wire::LoadReport& load) {
        loads_[origin] = load;
        owner_.on_load(origin, load);
      });
      break;
  }
  if (handled) return;
  ++stats_.frames_refused;
  if (handled.error().code == Code::kPermissionDenied) auditor_->refused(origin, handled.error().message, now);
}

void Node::on_entry(const std::string& path, NodeId writer) {
  if (path.starts_with(trust::kRevocationPath)) revocations_stale_ = true;
  if (path == trust::kQuorumPath) quorum_stale_ = true;
  note_tensor(path);
  const std::vector<WatchId> watching = watchers_of(path);
  const bool offers = path.starts_with(kNodePrefix) && path.ends_with(kOffersSuffix);
  const bool hint = path.starts_with(kNodePrefix) && path.ends_with(kHintSuffix);
  const bool head = path.starts_with(kNodePrefix) && path.ends_with(Auditor::kHeadSuffix);
  if (!offers && !hint && !head && watching.empty()) return;  // reading a counter or a set of many writers takes time
  const auto value = state_->replica().read(path);
  if (head && value && !value->values.empty() && !auditor_->on_head(writer, value->values.front())) {
    ++stats_.frames_refused;
  }
  if (offers && value && !value->values.empty()) {
    // Only its node may write there (StateSync holds to that), so the writer is whom it speaks of.
    if (auto told = wire::decode<wire::Offers>(value->values.front())) offers_[writer] = std::move(*told);
    views_stale_ = true;
  }
  if (hint && value) note_hint(*value);
  tell(watching, path, value, writer);
}

void Node::note_hint(const crdt::Value& value) {
  if (value.values.empty()) return;
  if (const auto told = wire::decode<wire::GroupHint>(value.values.front())) group_->on_hint(*told, now_);
}

void Node::note_hints() {
  state_->replica().for_each(kNodePrefix, [this](const std::string& path, const crdt::Value& value) {
    if (path.ends_with(kHintSuffix)) note_hint(value);
  });
}

std::vector<Node::WatchId> Node::watchers_of(const std::string& path) const {
  std::vector<WatchId> watching;
  for (const auto& [id, watcher] : watchers_) {
    if (mesh::matches(watcher.filter, path)) watching.push_back(id);
  }
  return watching;
}

void Node::tell(const std::vector<WatchId>& watching, const std::string& path, const std::optional<crdt::Value>& value,
                NodeId writer) {
  for (const WatchId id : watching) {  // a callback may watch or unwatch
    const auto found = watchers_.find(id);
    if (found == watchers_.end()) continue;
    const std::shared_ptr<const OnChange> callback = found->second.callback;
    (*callback)(path, value, writer);
  }
}

Status Node::learn_chain(Bytes chain) {
  SEDGE_CHECK(directory_.add(chain));
  return {};
}

// A member is long gone. What it wrote lives on and is passed on with its certificate; and an issuer may have to revoke
// a robot that was stolen weeks ago.
void Node::forget_certificate(NodeId id) {
  if (!state_->writes_live_of(id) && !enroller_ && !directory_.revoked(id)) directory_.forget(id);
}

// A successor is a member: nobody needs its former id any more, and whoever has the former key shall not be it.
void Node::finish_rotations(Instant now) {
  if (!enroller_) return;
  std::map<NodeId, const trust::Replacement*> due;  // of several tries the latest: a home goes on until its key is new
  std::set<NodeId> over;
  for (const auto& [serial, replacement] : enroller_->replacements()) {
    const NodeId former = trust::node_id_of(replacement.former.node.subject);
    if (directory_.revoked(former)) {
      over.insert(former);
    } else if (replacement.successor) {
      const NodeId successor = trust::node_id_of(*replacement.successor);
      if (successor != id_ && !membership_->state_of(successor)) continue;
      const trust::Replacement*& latest = due[former];
      if (latest == nullptr || latest->last < replacement.last) latest = &replacement;
    }
  }
  for (const auto& one : due) {
    const NodeId former = one.first;
    const trust::Replacement& replacement = *one.second;
    if (!revoking_.insert(former).second) continue;
    when_durable(withdraw(replacement.former, replacement.last, now),
                 [this, former, name = replacement.former.node.name](const Status& status) {
                   report_withdrawn(former, name, status);
                 });
  }
  for (const NodeId former : over) enroller_->forget_replacements(former);
}

void Node::report_withdrawn(NodeId former, const std::string& name, const Status& status) const {
  if (!report_) return;
  if (status) return report_(fmt::format("'{}' has a new key; its former id {} is revoked", name, former.short_hex()));
  report_(
      fmt::format("'{}' has a new key, but its former id {} could not be revoked: {}; `sedge fleet revoke {}` does "
                  "it by hand",
                  name, former.hex(), status.error().message, former.hex()));
}

void Node::on_revocations(Instant now) {
  const std::uint64_t before = directory_.generation();
  state_->replica().for_each(trust::kRevocationPath, [this](const std::string&, const crdt::Value& value) {
    for (const Buffer& element : value.values) {
      const auto revocation = trust::decode_revocation(element);
      if (!revocation || !directory_.revoke(*revocation)) {
        ++stats_.frames_refused;
        continue;
      }
      // What the subject wrote before stays, and whoever gets it later must be able to check it: no member is left to
      // bring the certificate.
      if (revocation->by && directory_.find(revocation->subject) == nullptr) {
        static_cast<void>(directory_.add(trust::encode_chain(revocation->by->subject)));
      }
    }
  });
  if (directory_.generation() == before) return;
  rotations_stale_ = true;
  for (const mesh::Member& member : membership_->members()) {
    if (member.id == id_ || !directory_.revoked(member.id)) continue;
    membership_->on_revoked(member.id, now);
    hangups_.push_back({member.id, env::LinkDown::kRevoked});
  }
  state_->on_directory_changed(now);
  group_->on_members_changed(now);
}

// What placement decides from: every living member that offers something, ourselves included.
void Node::refresh_views() {
  views_stale_ = false;
  views_at_ = now_;
  auto& views = owner_.nodes();
  std::map<NodeId, place::NodeView> fresh;
  for (const auto& [id, offers] : offers_) {
    const std::optional<mesh::MemberState> state = membership_->state_of(id);
    if (!state || *state > mesh::MemberState::kSuspect) continue;
    place::NodeView view;
    if (const auto old = views.find(id); old != views.end()) view = old->second;
    view.offers = offers.models;
    view.linked = id == id_ || membership_->linked(id);
    view.suspect = *state == mesh::MemberState::kSuspect;
    view.round_trip = id == id_ ? Duration::zero() : membership_->round_trip(id);
    if (const auto load = loads_.find(id); load != loads_.end() && load->second.number > view.load.number) {
      view.load = load->second;
    }
    fresh.emplace(id, std::move(view));
  }
  views = std::move(fresh);
}

// Our offers are a replicated entry, written only when they changed.
void Node::advertise(Instant now) {
  wire::Offers offers{compute_.offers()};
  const Buffer encoded = wire::encode(offers);
  offers_[id_] = std::move(offers);
  const auto known = state_->replica().read(offers_path(id_));
  if (!known && compute_.offers().empty()) return;  // most of a large fleet: said by saying nothing
  if (known && known->values.size() == 1 && known->values.front() == encoded) return;
  when_durable(state_->set(offers_path(id_), encoded, now), [](const Status&) {});
}

void Node::report_load(Instant now) {
  if (offers_[id_].models.empty()) {  // nobody will ask us
    next_load_ = kNever;
    return;
  }
  wire::LoadReport load = worker_.load();
  load.number |= options_.epoch.value << 40;  // a restarted node's reports are newer than its former life's
  loads_[id_] = load;
  owner_.on_load(id_, load);
  const bool changed = !same_load(load, told_load_);
  if (changed || now - load_told_ >= kIdleLoadInterval) {
    (void)broadcast_->broadcast(mesh::BatchKind::kLoad, wire::encode(load), mesh::Reliability::kBestEffort,
                                env::Priority::kNormal, now);
    told_load_ = load;
    load_told_ = now;
  }
  next_load_ = now + options_.load_interval;
}

void Node::send_beacon(Instant now) {
  if (options_.endpoints.empty()) {
    next_beacon_ = kNever;
    return;
  }
  // The rotation number must grow over all lives of the node; the epoch does, and the monotonic clock within one.
  const auto period = static_cast<std::uint64_t>(now.time_since_epoch() / trust::kBeaconRotation);
  const trust::Beacon beacon{id_, options_.endpoints.front().port, options_.epoch};
  beacons_.push_back(trust::seal_beacon(options_.fleet_secret, beacon, options_.epoch.value << 32 | period));
  next_beacon_ = now + (membership_->neighbours().empty() ? kLonelyBeaconInterval : kBeaconInterval);
}

void Node::when_durable(Result<mesh::Ticket> ticket, Done done) {
  if (!ticket) return done(std::unexpected(ticket.error()));
  durable_callbacks_.emplace(*ticket, std::move(done));
}

Result<Node::WatchId> Node::watch(std::string_view filter, bool initial, OnChange callback) {
  SEDGE_CHECK(mesh::check_filter(filter));
  const WatchId id = ++last_watch_;
  if (initial) {
    state_->replica().for_each("", [&](const std::string& path, const crdt::Value& value) {
      if (mesh::matches(filter, path)) callback(path, value, value.writer);
    });
  }
  watchers_.emplace(id, Watcher{std::string(filter), std::make_shared<const OnChange>(std::move(callback))});
  return id;
}

void Node::unwatch(WatchId id) { watchers_.erase(id); }

Result<std::string> Node::revoke(std::string_view who, Done done, Instant now) {
  now_ = now;
  if (!enroller_) return fail(Code::kPermissionDenied, "this node is no issuer: revoke where the fleet was created");
  SEDGE_TRY(const auto subject, member_called(who));
  if (subject.id == id_) return fail(Code::kInvalidArgument, "a node does not revoke itself");
  SEDGE_TRY(const auto chain, trust::decode_chain(directory_.chain_of(subject.id)));
  trust::Cut cut{subject.epoch, Sequence{0}};
  for (const auto& [dot, op] : state_->replica().living()) {
    if (dot.origin == subject.id) cut = std::max(cut, trust::Cut{dot.epoch, dot.sequence});
  }
  SEDGE_TRY(const mesh::Ticket ticket, withdraw(chain, cut, now));
  when_durable(ticket, std::move(done));
  return fmt::format("{} ({})", subject.name, subject.id.short_hex());
}

Result<mesh::Ticket> Node::withdraw(const trust::CertificateChain& chain, trust::Cut cut, Instant now) {
  SEDGE_TRY(Buffer revocation, enroller_->revoke(chain, cut));
  const NodeId id = trust::node_id_of(chain.node.subject);
  SEDGE_TRY(const mesh::Ticket ticket,
            state_->insert(fmt::format("{}{}", trust::kRevocationPath, id.hex()), std::move(revocation), now));
  auditor_->revoked({id, enroller_->issuer(), cut}, now);
  return ticket;
}

Status Node::invite_successor(std::string_view who, Enroller::Shown shown) {
  if (!enroller_) return fail(Code::kPermissionDenied, "this node is no issuer: invite where the fleet was created");
  SEDGE_TRY(const auto subject, member_called(who));
  if (subject.id == id_) {
    return fail(Code::kInvalidArgument,
                "this node holds the issuer's key and needs no invitation: stop it, and `sedge fleet rotate-node`");
  }
  SEDGE_TRY(const auto chain, trust::decode_chain(directory_.chain_of(subject.id)));
  enroller_->invite_successor(chain, std::move(shown));
  return {};
}

Status Node::retire_issuer(Bytes bytes, bool leave_behind, Done done, Instant now) {
  now_ = now;
  SEDGE_TRY(const trust::Revocation revocation, trust::decode_revocation(bytes));
  SEDGE_CHECK(trust::verify_revocation(directory_.root(), revocation));
  if (revocation.by || (enroller_ && revocation.subject == enroller_->issuer())) {
    return fail(Code::kInvalidArgument, "that revokes no issuer of a former time");
  }
  std::string below;
  for (const mesh::Member& member : membership_->members()) {
    const auto chain = trust::decode_chain(directory_.chain_of(member.id));
    if (!chain || trust::node_id_of(chain->issuer.subject) != revocation.subject) continue;
    below += fmt::format("{}'{}' ({})", below.empty() ? "" : ", ", chain->node.name, member.id.short_hex());
  }
  if (!below.empty() && !leave_behind) {
    return fail(
        Code::kFailedPrecondition,
        "these members have their certificates of that issuer and would be put out with it: {}. Give each a new "
        "key first (`sedge fleet invite --replace NAME`, then rotate-node there), or leave them behind with "
        "--leave-behind",
        below);
  }
  SEDGE_TRY(
      const mesh::Ticket ticket,
      state_->insert(fmt::format("{}{}", trust::kRevocationPath, revocation.subject.hex()), to_buffer(bytes), now));
  auditor_->revoked({revocation.subject, trust::node_id_of(directory_.root()), revocation.cut}, now);
  when_durable(ticket, std::move(done));
  return {};
}

// By name or the beginning of an id.
Result<mesh::Member> Node::member_called(std::string_view who) const {
  std::optional<mesh::Member> found;
  for (mesh::Member& member : membership_->members()) {
    const trust::Certificate* certificate = directory_.find(member.id);
    if (member.shrunk && certificate != nullptr) member.name = certificate->name;
    if (member.name != who && (who.size() < 8 || !member.id.hex().starts_with(who))) continue;
    if (found) return fail(Code::kInvalidArgument, "'{}' names several nodes: give more of the id", who);
    found = member;
  }
  if (!found) return fail(Code::kNotFound, "no member is called '{}'; `sedge status` lists them", who);
  return *found;
}

void Node::audit_pull(NodeId subject, Auditor::Done done, Instant now) {
  now_ = now;
  const std::optional<mesh::MemberState> state = membership_->state_of(subject);
  if (!state || *state > mesh::MemberState::kSuspect) {
    return done(fail(Code::kUnavailable, "node {} is not there", subject.short_hex()));
  }
  auditor_->pull(subject, std::move(done), now);
  settle(now);
}

// All but the payload.
Status Node::check_publish(std::string_view topic, const mesh::PublishOptions& options, std::uint32_t retain,
                           Instant now) const {
  SEDGE_CHECK(mesh::check_options(options));
  if (retain > 0) {
    if (options.causal) {
      return fail(Code::kInvalidArgument, "a retained message is an entry, which merges: it is never causal");
    }
    SEDGE_CHECK(mesh::check_topic(topic));
    if (directory_.allows(id_, trust::Verb::kPub, topic)) return {};
    return fail(Code::kPermissionDenied, "this node has no grant pub:{}", topic);
  }
  // Who publishes little beside others is not who fills the links, and does not wait for them to empty.
  const auto much = [&] { return broadcast_->above_share(now); };
  const mesh::Pace& pace = broadcast_->pace();
  const std::size_t own = pubsub_->waiting_bytes(), waiting = pace.waiting(options.for_all) + own;
  const std::size_t bound = env::publish_backlog_max(options.priority, !broadcast_->direct());
  const bool over_all = waiting > env::publish_backlog_max(options.priority, false);
  if (options.reliable && waiting > bound && (over_all || own > bound || much())) {
    return fail(Code::kResourceExhausted, "{} KiB wait for a neighbour that does not keep up: try again soon",
                waiting >> 10);
  }
  if (options.reliable && broadcast_->owes(now) && much()) {
    return fail(Code::kResourceExhausted, "a neighbour whose link broke is still missing messages: try again soon");
  }
  const bool may_wait = options.reliable && options.priority > env::Priority::kUrgent;
  const Duration slowed = may_wait ? broadcast_->wait(options.for_all, now) : Duration::zero();
  if (slowed > Duration::zero() && much()) {
    return fail(Code::kResourceExhausted, "a node on the way of this node's messages has no room: retry in {} ms",
                slowed / 1ms + 1);
  }
  return {};
}

void Node::publish(std::string_view topic, Bytes payload, mesh::PublishOptions options, std::uint32_t retain, Done done,
                   Instant now) {
  now_ = now;
  if (const Status may = check_publish(topic, options, retain, now); !may) return done(may);
  if (retain == 0) return done(pubsub_->publish(topic, payload, options, now));
  pubsub_->note_published(topic, now);
  const std::string path = fmt::format("{}{}", kRetainedPrefix, topic);
  when_durable(
      retain == 1 ? state_->set(path, to_buffer(payload), now) : state_->append(path, to_buffer(payload), retain, now),
      std::move(done));
}

void Node::publish_private(std::string_view topic, Bytes payload, const PrivateOptions& privacy,
                           mesh::PublishOptions options, std::uint32_t retain, const Done& done, Instant now) {
  now_ = now;
  Status may = check_private(privacy);
  if (may && options.once) {
    may = fail(Code::kInvalidArgument, "a private message is another one each time: it cannot be published only once");
  }
  if (may) may = mesh::check_topic(topic);
  if (may) may = check_publish(topic, options, retain, now);
  if (may && !directory_.allows(id_, trust::Verb::kPub, topic)) {
    may = fail(Code::kPermissionDenied, "this node has no grant pub:{}", topic);
  }
  if (!may) return done(may);
  const auto noised = with_noise(as_text(payload), privacy, [this] { return entropy_.u64(); });
  if (!noised) return done(std::unexpected(noised.error()));
  const Status spent =
      privacy_.spend(topic, privacy.epsilon, [this, topic = std::string(topic), text = *noised, options, retain, done] {
        publish(topic, as_bytes(text), options, retain, done, now_);
      });
  if (!spent) done(spent);
}

Result<mesh::SubscriptionId> Node::subscribe(std::string_view filter, mesh::PubSub::Callback callback,
                                             mesh::SubscribeOptions options, Instant now) {
  now_ = now;
  SEDGE_TRY(const mesh::SubscriptionId id, pubsub_->subscribe(filter, callback, std::move(options), now));
  // A retained topic's messages travel as its entry, live ones too: one way, one order, nothing twice.
  // Of a topic that keeps several, each once and in the order of the log as it is then.
  const auto heard = std::make_shared<std::map<std::string, std::vector<crdt::Dot>>>();
  const auto as_message = [this, id, heard, callback = std::move(callback)](
                              const std::string& path, const std::optional<crdt::Value>& value, NodeId writer) {
    if (!value || value->values.empty()) return static_cast<void>(heard->erase(path));
    const std::string_view topic = std::string_view(path).substr(kRetainedPrefix.size());
    const auto hear = [&](const Buffer& payload, NodeId origin) {
      pubsub_->note_heard(id, topic, origin, now_);
      callback({.topic = topic, .payload = payload, .origin = origin});
    };
    if (value->family != crdt::Family::kLog) return hear(value->values.front(), writer);
    const std::vector<crdt::Dot> before = std::exchange((*heard)[path], value->dots);
    for (std::size_t i = 0; i < value->dots.size(); ++i) {
      if (std::ranges::find(before, value->dots[i]) == before.end()) hear(value->values[i], value->dots[i].origin);
    }
  };
  const auto watching = watch(fmt::format("{}{}", kRetainedPrefix, filter), true, as_message);
  if (!watching) {
    pubsub_->unsubscribe(id);
    return std::unexpected(watching.error());
  }
  retained_watches_.emplace(id, *watching);
  return id;
}

Result<mesh::SubscriptionId> Node::promise(std::string_view topic, Duration deadline,
                                           std::function<void(std::string_view topic)> on_late, Instant now) {
  now_ = now;
  return pubsub_->promise(topic, deadline, std::move(on_late), now);
}

void Node::unsubscribe(mesh::SubscriptionId id) {
  pubsub_->unsubscribe(id);
  if (const auto found = retained_watches_.extract(id)) unwatch(found.mapped());
}

// Who may run each part of a stack may run the stack. What is offered under that very name needs a grant for the name.
bool Node::may_run(NodeId id, std::string_view model) const {
  if (directory_.allows(id, trust::Verb::kTask, model)) return true;
  const auto parts = env::stack_of(model);
  const auto granted = [&](const env::StackPart& part) { return directory_.allows(id, trust::Verb::kTask, part.name); };
  if (parts.empty() || !std::ranges::all_of(parts, granted)) return false;
  const auto offers = compute_.offers();
  return std::ranges::find(offers, model, &env::ModelOffer::name) == offers.end();
}

Status Node::check_task(const TaskRequest& request) const {
  if (!may_run(id_, request.spec.model)) {
    return fail(Code::kPermissionDenied, "this node has no grant task:{}", request.spec.model);
  }
  if (request.publish.size() > kPublishTopicsMax) {
    return fail(Code::kInvalidArgument, "an answer is published on at most {} topics, not {}", kPublishTopicsMax,
                request.publish.size());
  }
  for (const std::string& topic : request.publish) {
    SEDGE_CHECK(mesh::check_topic(topic));
    if (!directory_.allows(id_, trust::Verb::kPub, topic)) {
      return fail(Code::kPermissionDenied, "this node has no grant pub:{}", topic);
    }
  }
  return {};
}

TaskId Node::run(TaskRequest request, RunOptions options, Instant now) {
  now_ = now;
  if (request.id.is_zero()) entropy_.fill(request.id.bytes);
  const TaskId id = request.id;
  OnTokens on_tokens = [this, inner = std::move(options.on_tokens)](std::span<const env::Token> tokens) {
    stats_.tokens_streamed += tokens.size();
    if (inner) inner(tokens);
  };
  Status allowed = check_task(request);
  OnResult on_result = [this, inner = std::move(options.on_result), topics = request.publish,
                        spec = request.spec](const TaskResult& result) {
    count(result);
    audit_own(result, spec);
    const bool told = result.outcome == Outcome::kAnswered || result.outcome == Outcome::kFallback;
    // Past the back-pressure that publish() knows: an answer is not offered a second time.
    for (const std::string& topic : told ? topics : std::vector<std::string>()) {
      const Status sent = pubsub_->publish(topic, as_bytes(result.text), {.once = result.id}, now_);
      if (!sent && report_) report_(fmt::format("task {}: {}", result.id.hex(), sent.error().message));
    }
    if (inner) inner(result);
  };
  if (!allowed) {
    TaskResult refusal;
    refusal.id = id;
    refusal.outcome = allowed.error().code == Code::kInvalidArgument ? Outcome::kFailed : Outcome::kRefused;
    refusal.code = allowed.error().code;
    refusal.reason = std::move(allowed).error().message;
    on_result(refusal);
    return id;
  }
  if (now - views_at_ >= kViewAge) refresh_views();  // round trips change without any event
  owner_.submit(std::move(request), std::move(on_tokens), std::move(on_result), options.manual_credit, now);
  settle(now);
  return id;
}

void Node::audit_own(const TaskResult& result, const wire::TaskSpec& spec) {
  auditor_->inference({.task = result.id,
                       .prompt = prompt_digest(spec),
                       .model = spec.model,
                       .model_hash = result.model_hash,
                       .owner = id_,
                       .server = result.served_by,
                       .outcome = std::string(outcome_name(result.outcome)),
                       .tokens = static_cast<std::uint32_t>(result.tokens.size()),
                       .attempts = result.attempts},
                      now_);
}

void Node::count(const TaskResult& result) {
  if (result.outcome == Outcome::kAnswered) ++stats_.tasks_answered;
  if (result.outcome == Outcome::kRefused) ++stats_.tasks_refused;
  if (result.outcome == Outcome::kFallback) ++stats_.tasks_fallback;
  if (result.outcome == Outcome::kFailed || result.outcome == Outcome::kDeadlineExceeded) ++stats_.tasks_failed;
  if (result.attempts > 1 && !result.tokens.empty()) ++stats_.tasks_resumed;
}

void Node::cancel(TaskId task, Instant now) {
  now_ = now;
  owner_.cancel(task, now);
  settle(now);
}

void Node::consumed(TaskId task, std::uint32_t tokens) { owner_.consumed(task, tokens); }

void Node::leave(Instant now) {
  now_ = now;
  leaving_ = true;
  owner_.shutdown("this node is leaving the fleet", now);
  group_->leave(now);
  auditor_->abandon();
  averager_->abandon();
  membership_->leave(now);
  next_beacon_ = kNever;
  next_load_ = kNever;
  settle(now);
}

}  // namespace sedge::node
