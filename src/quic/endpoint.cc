#include "quic/endpoint.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "quic/endpoint_core.h"
#include "trust/certificate.h"

namespace sedge::quic {
namespace {

constexpr std::size_t kRawPacketsMax = 256;  // beyond it they fall out: whoever needs one will ask again
constexpr Duration kRetryValid = 10s;
constexpr std::size_t kResetBytes = 43;  // looks like any short packet; smaller than what provoked it, so no ping-pong

}  // namespace

Endpoint::Core::Core(Options given) : options(std::move(given)) {
  self = trust::node_id_of(options.key.public_key());
  shared_.limits = options.limits;
  shared_.entropy = options.entropy;
  shared_.reset_key = trust::digest(as_bytes("sedge.quic.reset.1"), options.key.seed());
  buffer_.resize(kBatchBytesMax + kPacketBytesMax);
}

Status Endpoint::Core::open() {
  SEDGE_ASSERT(options.entropy != nullptr);
  if (!options.chain.empty()) {
    SEDGE_ASSERT(options.directory != nullptr);
    SEDGE_TRY(const auto chain, trust::decode_chain(options.chain));
    if (chain.node.subject != options.key.public_key()) {
      return fail(Code::kInvalidArgument, "the certificate of '{}' is not for this node's key", chain.node.name);
    }
  }
  instance_ = options.entropy->u64();
  options.entropy->fill(retry_key_);
  const TlsIdentity identity{options.chain, options.boot_epoch, instance_};
  SEDGE_TRY(credentials_, TlsCredentials::create(options.key, identity, options.accept_joins));
  shared_.credentials = credentials_.get();
  return {};
}

// Calls function(connection) for each; it may end connections, not destroy them.
template <class Function>
void Endpoint::Core::for_each(Function function) {
  for (const auto& [number, connection] : connections_) function(*connection);
}

Connection* Endpoint::Core::link(NodeId peer) const {
  const auto entry = links_.find(peer);
  return entry == links_.end() ? nullptr : entry->second;
}

Status Endpoint::Core::dial(Connection::DialOptions dial, Instant now) {
  if (draining_) return fail(Code::kFailedPrecondition, "this endpoint is closing");
  if (dial.protocol == Protocol::kLink && options.chain.empty()) {
    return fail(Code::kFailedPrecondition, "this node has no certificate yet: join a fleet first");
  }
  if (!dial.expected.is_zero() && link(dial.expected) != nullptr) {
    return fail(Code::kAlreadyExists, "linked to {} already", dial.expected.short_hex());
  }
  for (const auto& [number, c] : connections_) {
    if (c->dialled() && !c->ended() && !c->confirmed() && c->remote() == dial.remote) {
      return fail(Code::kAlreadyExists, "dialling {} already", dial.remote.text());
    }
  }
  if (connections_.size() >= options.limits.links_max + options.limits.half_open_max) {
    return fail(Code::kResourceExhausted, "{} connections are open", connections_.size());
  }
  const auto admission = [this](Connection& c, const PeerProof& proof) { return admit(c, proof); };
  SEDGE_TRY(auto connection, Connection::dial(shared_, ++last_number_, std::move(dial), admission, now));
  Connection& c = *connection;
  connections_.emplace(c.number(), std::move(connection));
  settle(c, now);
  return {};
}

// Runs inside the handshake, once the peer has proved its key. What is refused here never becomes a link.
Status Endpoint::Core::admit(Connection& c, const PeerProof& proof) {
  if (proof.protocol == Protocol::kJoin && !c.dialled()) {  // a joiner: its key is all it has, and all it needs
    const auto joins = std::count_if(connections_.begin(), connections_.end(), [](const auto& entry) {
      return !entry.second->ended() && !entry.second->dialled() && entry.second->protocol() == Protocol::kJoin;
    });
    if (static_cast<std::size_t>(joins) <= options.limits.joins_max) return {};  // this one is counted
    return fail(Code::kResourceExhausted, "{} joins are under way", joins - 1);
  }
  if (proof.protocol == Protocol::kJoin) {
    SEDGE_TRY(const auto chain, trust::decode_chain(proof.identity.chain));
    SEDGE_CHECK(trust::check_inviter(*c.dial_options().invitation, chain));
    if (chain.node.subject == proof.key) return {};
    return fail(Code::kUnauthenticated, "the certificate shown there belongs to another key");
  }
  SEDGE_TRY(const auto chain, options.directory->admit(proof.identity.chain));
  if (chain.node.subject != proof.key) {
    return fail(Code::kUnauthenticated, "the certificate of '{}' belongs to another key", chain.node.name);
  }
  const NodeId id = c.peer();
  if (id == self) {
    if (proof.identity.instance == instance_) return fail(Code::kAborted, "that address is this node itself");
    emit(Clone{self, {}, c.remote()});
    return fail(Code::kAborted, "another process there uses this node's key");
  }
  if (c.dialled() && !c.dial_options().expected.is_zero() && c.dial_options().expected != id) {
    return fail(Code::kAborted, "another node, {}, answers there", id.short_hex());
  }
  return {};
}

// --- datagrams in ---

void Endpoint::Core::on_datagram(const env::IncomingDatagram& datagram, Instant now) {
  ++counters.datagrams_in;
  counters.bytes_in += datagram.payload.size();
  check_revocations(now);
  ngtcp2_version_cid ids{};
  const int code = ngtcp2_pkt_decode_version_cid(&ids, datagram.payload.data(), datagram.payload.size(), kCidBytes);
  if (code != 0 || ids.dcidlen > NGTCP2_MAX_CIDLEN) {
    ++counters.malformed;
    return;
  }
  const auto entry = shared_.router.find(to_cid({ids.dcid, ids.dcidlen}));
  if (entry != shared_.router.end()) {
    Connection& c = *entry->second;
    if (c.ended()) {  // the peer may not have heard our goodbye yet
      if (c.repeats_goodbye()) raw(c.remote(), c.local(), c.close_packet());
      return;
    }
    c.read(datagram, now);
    settle(c, now);
  } else if ((datagram.payload.front() & 0x80) == 0) {
    on_stray(datagram, {ids.dcid, ids.dcidlen}, now);
  } else {
    accept(datagram, now);
  }
}

void Endpoint::Core::accept(const env::IncomingDatagram& datagram, Instant now) {
  Connection::AcceptOptions accept{datagram.remote, datagram.local, {}, std::nullopt};
  if (ngtcp2_accept(&accept.header, datagram.payload.data(), datagram.payload.size()) != 0) {
    ++counters.malformed;
    return;
  }
  if (draining_ || options.chain.empty()) return;
  const auto same_address = half_open_by_address_.find(datagram.remote.address);
  if (half_open_ >= options.limits.half_open_max ||
      connections_.size() >= options.limits.links_max + options.limits.half_open_max ||
      (same_address != half_open_by_address_.end() && same_address->second >= options.limits.half_open_per_address)) {
    ++counters.handshakes_dropped;
    return;
  }
  if (!validate_address(datagram, accept, now)) return;
  const auto admission = [this](Connection& c, const PeerProof& proof) { return admit(c, proof); };
  auto connection = Connection::accept(shared_, ++last_number_, accept, admission, now);
  if (!connection) {
    ++counters.malformed;
    return;
  }
  Connection& c = **connection;
  connections_.emplace(c.number(), std::move(*connection));
  open_half(c);
  c.read(datagram, now);
  settle(c, now);
}

// False: a Retry was sent, or the packet shows a token that is not ours.
bool Endpoint::Core::validate_address(const env::IncomingDatagram& datagram, Connection::AcceptOptions& accept,
                                      Instant now) {
  const ngtcp2_pkt_hd& header = accept.header;
  if (header.tokenlen > 0 && header.token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2) {
    Path path(datagram.remote);
    const ngtcp2_path view = path.view();
    ngtcp2_cid original{};
    if (ngtcp2_crypto_verify_retry_token2(&original, header.token, header.tokenlen, retry_key_.data(),
                                          retry_key_.size(), header.version, view.remote.addr, view.remote.addrlen,
                                          &header.dcid, static_cast<ngtcp2_duration>(kRetryValid.count()),
                                          timestamp(now)) != 0) {
      ++counters.malformed;
      return false;
    }
    accept.original_dcid = original;
    return true;
  }
  if (half_open_ < options.limits.half_open_max / 2) return true;
  send_retry(datagram, header, now);
  return false;
}

void Endpoint::Core::send_retry(const env::IncomingDatagram& datagram, const ngtcp2_pkt_hd& header, Instant now) {
  Path path(datagram.remote);
  const ngtcp2_path view = path.view();
  ngtcp2_cid scid{};
  scid.datalen = kCidBytes;
  options.entropy->fill({scid.data, scid.datalen});
  std::array<std::uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2> token;
  const ngtcp2_ssize token_bytes =
      ngtcp2_crypto_generate_retry_token2(token.data(), retry_key_.data(), retry_key_.size(), header.version,
                                          view.remote.addr, view.remote.addrlen, &scid, &header.dcid, timestamp(now));
  if (token_bytes < 0) return;
  Buffer packet(kPacketBytesMax);
  const ngtcp2_ssize bytes =
      ngtcp2_crypto_write_retry(packet.data(), packet.size(), header.version, &header.scid, &scid, &header.dcid,
                                token.data(), static_cast<std::size_t>(token_bytes));
  if (bytes <= 0) return;
  packet.resize(static_cast<std::size_t>(bytes));
  ++counters.retries_sent;
  raw(datagram.remote, datagram.local, std::move(packet));
}

// A packet with an id that we never gave out is either a stateless reset, which hides its token behind noise and so can
// only be tried on the links to that address, or meant for an earlier process of ours.
void Endpoint::Core::on_stray(const env::IncomingDatagram& datagram, Bytes dcid, Instant now) {
  for_each([&](Connection& c) {
    if (c.ended() || !c.confirmed() || c.remote() != datagram.remote) return;
    c.read(datagram, now);
    settle(c, now);
  });
  send_reset(datagram, dcid);
}

// For a packet of a link that an earlier process of ours had: its sender should stop at once.
void Endpoint::Core::send_reset(const env::IncomingDatagram& datagram, Bytes dcid) {
  if (datagram.payload.size() <= kResetBytes) return;
  ngtcp2_cid cid{};
  cid.datalen = dcid.size();
  std::copy(dcid.begin(), dcid.end(), cid.data);
  std::array<std::uint8_t, NGTCP2_STATELESS_RESET_TOKENLEN> token;
  if (ngtcp2_crypto_generate_stateless_reset_token(token.data(), shared_.reset_key.data(), shared_.reset_key.size(),
                                                   &cid) != 0) {
    return;
  }
  std::array<std::uint8_t, kResetBytes - NGTCP2_STATELESS_RESET_TOKENLEN> noise;
  options.entropy->fill(noise);
  Buffer packet(kResetBytes);
  const ngtcp2_ssize bytes =
      ngtcp2_pkt_write_stateless_reset(packet.data(), packet.size(), token.data(), noise.data(), noise.size());
  if (bytes <= 0) return;
  packet.resize(static_cast<std::size_t>(bytes));
  ++counters.resets_sent;
  raw(datagram.remote, datagram.local, std::move(packet));
}

void Endpoint::Core::on_unreachable(const env::Endpoint& remote, Instant now) {
  for_each([&](Connection& c) {
    if (c.ended() || c.remote() != remote) return;
    if (c.confirmed()) {
      c.demand_life(now);
    } else {
      c.blame("nobody listens there");
      c.close(static_cast<std::uint64_t>(env::LinkDown::kRefused), {}, now);
    }
    settle(c, now);
  });
}

// --- time ---

void Endpoint::Core::on_timer(Instant now) {
  check_revocations(now);
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const std::uint64_t number = deadlines_.begin()->second;
    deadlines_.erase(deadlines_.begin());
    const auto entry = connections_.find(number);
    if (entry == connections_.end()) continue;
    Connection& c = *entry->second;
    c.queued_deadline = kNever;
    if (c.ended()) {
      std::erase(writers_, &c);
      connections_.erase(entry);
      continue;
    }
    c.expire(now);
    settle(c, now);
    // A deadline that stays in the past would keep this loop here; the next packet or call moves it.
    if (c.queued_deadline <= now && !c.ended()) {
      deadlines_.erase({c.queued_deadline, number});
      c.queued_deadline = kNever;
    }
  }
  if (draining_) drain(now);
}

Instant Endpoint::Core::next_deadline() const {
  const Instant first = deadlines_.empty() ? kNever : deadlines_.begin()->first;
  return std::min(first, drain_deadline_);
}

void Endpoint::Core::reschedule(Connection& c) {
  const Instant deadline = c.deadline();
  if (deadline == c.queued_deadline) return;
  if (c.queued_deadline != kNever) deadlines_.erase({c.queued_deadline, c.number()});
  if (deadline != kNever) deadlines_.emplace(deadline, c.number());
  c.queued_deadline = deadline;
}

// Whoever was let in on a certificate that is withdrawn now goes, on every path into the endpoint.
void Endpoint::Core::check_revocations(Instant now) {
  if (options.directory == nullptr || options.directory->generation() == generation_) return;
  generation_ = options.directory->generation();
  for_each([&](Connection& c) {
    if (c.ended() || !c.proof() || c.protocol() != Protocol::kLink) return;
    if (!options.directory->revoked(c.peer()) && options.directory->admit(c.proof()->identity.chain)) return;
    c.close(static_cast<std::uint64_t>(env::LinkDown::kRevoked), "certificate revoked", now);
    settle(c, now);
  });
}

void Endpoint::Core::settle(Connection& c, Instant now) {
  if (!c.ended() && c.confirmed()) {
    if (!std::exchange(c.announced, true)) {
      close_half(c);
      c.protocol() == Protocol::kJoin ? start_join(c, now) : confirm(c, now);
    }
    if (!c.arrivals().empty()) c.protocol() == Protocol::kJoin ? on_join_frames(c, now) : deliver(c, now);
  }
  if (c.ended()) {
    retire(c, now);
  } else {
    want_write(c);
    if (draining_ && (!c.confirmed() || c.queued_bytes() == 0)) {
      c.close(static_cast<std::uint64_t>(env::LinkDown::kClosed), "leaving", now);
      retire(c, now);
    }
  }
  reschedule(c);
}

void Endpoint::Core::open_half(Connection& c) {
  c.half_open = c.remote().address;
  ++half_open_;
  ++half_open_by_address_[*c.half_open];
}

void Endpoint::Core::close_half(Connection& c) {
  if (!c.half_open) return;
  --half_open_;
  const auto entry = half_open_by_address_.find(*c.half_open);
  if (--entry->second == 0) half_open_by_address_.erase(entry);
  c.half_open.reset();
}

// --- datagrams out ---

void Endpoint::Core::want_write(Connection& c) {
  if (c.queued_for_write) return;
  c.queued_for_write = true;
  writers_.push_back(&c);
}

void Endpoint::Core::raw(const env::Endpoint& remote, const env::Endpoint& local, Buffer bytes) {
  if (raw_.size() < kRawPacketsMax) raw_.push_back({remote, local, std::move(bytes)});
}

bool Endpoint::Core::next_datagrams(env::OutgoingDatagrams& out, Instant now) {
  Batch batch = std::exchange(spill_, {});
  if (batch.end == 0 && !raw_.empty()) {
    RawPacket packet = std::move(raw_.front());
    raw_.pop_front();
    raw_out_ = std::move(packet.bytes);
    out = {packet.local, packet.remote, raw_out_, raw_out_.size(), 0};
    ++counters.datagrams_out;
    counters.bytes_out += raw_out_.size();
    return true;
  }
  while (batch.end == 0 && !writers_.empty()) {
    Connection& c = *writers_.front();
    writers_.pop_front();
    const bool wrote = c.write(buffer_, batch, spill_, now);
    if (wrote && !c.ended()) {
      writers_.push_back(&c);  // there may be more: the others first
      continue;
    }
    c.queued_for_write = false;
    if (c.ended()) retire(c, now);
    reschedule(c);
  }
  if (batch.end == 0) return false;
  out = {batch.local, batch.remote, Bytes(buffer_).subspan(batch.begin, batch.end - batch.begin), batch.segment_bytes,
         batch.ecn};
  counters.datagrams_out += (out.payload.size() + batch.segment_bytes - 1) / batch.segment_bytes;
  counters.bytes_out += out.payload.size();
  return true;
}

// --- the upper seam ---

Status Endpoint::Core::send(NodeId to, env::Priority priority, Buffer frame, Instant) {
  Connection* const c = link(to);
  if (c == nullptr) return fail(Code::kUnavailable, "no link to {}", to.short_hex());
  if (frame.empty() || frame.size() > env::kFrameBytesMax) {
    return fail(Code::kInvalidArgument, "a frame of {} bytes; 1 to {} are possible", frame.size(), env::kFrameBytesMax);
  }
  if (c->queued_bytes() + frame.size() > options.limits.queue_bytes_max) {
    return fail(Code::kResourceExhausted, "{} bytes wait for {} already", c->queued_bytes(), to.short_hex());
  }
  c->push(priority, std::move(frame));
  want_write(*c);
  return {};
}

Status Endpoint::Core::send_datagram(NodeId to, Buffer payload, Instant) {
  Connection* const c = link(to);
  if (c == nullptr) return fail(Code::kUnavailable, "no link to {}", to.short_hex());
  if (payload.size() > env::kDatagramBytesMax) {
    return fail(Code::kInvalidArgument, "a datagram of {} bytes; {} are possible", payload.size(),
                env::kDatagramBytesMax);
  }
  if (payload.empty()) {
    c->ask_for_life();
  } else {
    counters.queued_datagrams_dropped += c->push_datagram(std::move(payload));
  }
  want_write(*c);
  return {};
}

void Endpoint::Core::hangup(NodeId peer, env::LinkDown reason, Instant now) {
  for_each([&](Connection& c) {
    if (c.ended() || c.peer() != peer || !c.proof()) return;
    c.close(static_cast<std::uint64_t>(reason), {}, now);
    settle(c, now);
  });
}

void Endpoint::Core::close_all(Instant now) {
  if (draining_) return;
  draining_ = true;
  drain_deadline_ = now + options.limits.drain_timeout;
  drain(now);
}

void Endpoint::Core::drain(Instant now) {
  const bool late = now >= drain_deadline_;
  if (late) drain_deadline_ = kNever;
  for_each([&](Connection& c) {
    if (c.ended()) return;
    if (late) c.close(static_cast<std::uint64_t>(env::LinkDown::kClosed), "leaving", now);
    settle(c, now);
  });
}

bool Endpoint::Core::closed() const {
  return draining_ && raw_.empty() && spill_.end == 0 &&
         std::all_of(connections_.begin(), connections_.end(), [](const auto& entry) { return entry.second->ended(); });
}

std::optional<Event> Endpoint::Core::poll() {
  if (events_.empty()) return std::nullopt;
  Queued queued = std::move(events_.front());
  events_.pop_front();
  if (queued.credit > 0) {
    const auto entry = connections_.find(queued.connection);
    if (entry != connections_.end() && !entry->second->ended()) {
      entry->second->give_credit(queued.priority, queued.credit);
      want_write(*entry->second);
    }
  }
  return std::move(queued.event);
}

// --- the public face ---

Endpoint::Endpoint(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Endpoint::~Endpoint() = default;

Result<std::unique_ptr<Endpoint>> Endpoint::create(Options options) {
  auto core = std::make_unique<Core>(std::move(options));
  SEDGE_CHECK(core->open());
  return std::unique_ptr<Endpoint>(new Endpoint(std::move(core)));
}

NodeId Endpoint::self() const { return core_->self; }
Status Endpoint::dial(const env::Dial& dial, Instant now) {
  return core_->dial({dial.address, dial.expected, Protocol::kLink, std::nullopt, {}, std::nullopt}, now);
}
Status Endpoint::dial_join(const env::Endpoint& address, const trust::Invitation& invitation, std::string_view name,
                           Instant now, std::optional<trust::Rotation> rotation) {
  return core_->dial({address, {}, Protocol::kJoin, invitation, std::string(name), rotation}, now);
}
Status Endpoint::answer_join(JoinHandle handle, const std::variant<trust::JoinGrant, trust::JoinRefusal>& answer,
                             Instant now) {
  return core_->answer_join(handle, answer, now);
}
void Endpoint::on_datagram(const env::IncomingDatagram& datagram, Instant now) { core_->on_datagram(datagram, now); }
void Endpoint::on_unreachable(const env::Endpoint& remote, Instant now) { core_->on_unreachable(remote, now); }
void Endpoint::on_timer(Instant now) { core_->on_timer(now); }
Instant Endpoint::next_deadline() const { return core_->next_deadline(); }
bool Endpoint::next_datagrams(env::OutgoingDatagrams& out, Instant now) { return core_->next_datagrams(out, now); }
Status Endpoint::send(NodeId to, env::Priority priority, Buffer frame, Instant now) {
  return core_->send(to, priority, std::move(frame), now);
}
Status Endpoint::send_datagram(NodeId to, Buffer payload, Instant now) {
  return core_->send_datagram(to, std::move(payload), now);
}
void Endpoint::hangup(NodeId peer, env::LinkDown reason, Instant now) { core_->hangup(peer, reason, now); }
void Endpoint::close_all(Instant now) { core_->close_all(now); }
bool Endpoint::closed() const { return core_->closed(); }
std::optional<Event> Endpoint::poll() { return core_->poll(); }
bool Endpoint::linked(NodeId peer) const { return core_->link(peer) != nullptr; }
env::LinkStats Endpoint::stats(NodeId peer) const {
  const Connection* const c = core_->link(peer);
  return c == nullptr ? env::LinkStats{} : c->stats();
}
void Endpoint::backlog(std::vector<env::LinkBacklog>& out) const {
  out.clear();
  for (const auto& [peer, connection] : core_->links()) {
    if (connection->queued_bytes() > 0) out.push_back({peer, connection->queued_bytes(), connection->unsent_bytes()});
  }
}
void Endpoint::link_bytes(std::vector<env::LinkBytes>& out) const {
  out.clear();
  for (const auto& [peer, connection] : core_->links()) {
    out.push_back({peer, connection->bytes_acked(), connection->bytes_received(), connection->heard()});
  }
}
env::AnswersWaiting Endpoint::answers_waiting(NodeId peer) const {
  const Connection* const c = core_->link(peer);
  if (c == nullptr) return {};
  return {c->unsent_bytes(env::Priority::kControl), c->unsent_bytes(env::Priority::kState)};
}
const Counters& Endpoint::counters() const { return core_->counters; }
std::size_t Endpoint::connections() const { return core_->connections(); }
std::size_t Endpoint::half_open() const { return core_->half_open(); }

}  // namespace sedge::quic
