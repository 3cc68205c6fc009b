#include "quic/connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "base/assert.h"

namespace sedge::quic {
namespace {

// What path MTU discovery tries, in this order: what tunnels and PPPoE leave of Ethernet, Ethernet, and its jumbo
// frames. Loopback would carry more; with 16 KiB bulk was no faster there, and an urgent message beside it later.
constexpr std::array<std::uint16_t, 6> kProbedBytes = {1406, 1342, 1232, 1444, 1452, kPacketBytesMax};
// A frame on every stream may be unfinished at once, so less than eight largest frames could come to a deadlock.
constexpr std::uint64_t kStreamWindow = 2 * env::kFrameBytesMax;
constexpr std::uint64_t kWindow = (env::kPriorities + 2) * env::kFrameBytesMax;
constexpr std::uint64_t kStreamWindowMax = 4 * env::kFrameBytesMax;  // ngtcp2 grows it while the path proves fast
constexpr std::uint64_t kJoinWindow = 2 * trust::kJoinBytesMax;
constexpr Duration kInitialRtt = 50ms;  // robots are near each other; 333 ms makes the first loss cost a second
constexpr Duration kLingerMax = 1s;
constexpr std::size_t kPiecesMax = 16;
constexpr Duration kLifeInterval = 10ms;    // signs of life that come closer are one: a flood of them costs no more
constexpr std::uint64_t kLifeDatagram = 1;  // the id of a sign of life among datagrams; all others are 0
constexpr std::size_t kPhraseMax = 200;
constexpr Duration kHurryTime = 1s;  // after an urgent frame
constexpr std::uint64_t kQuickPathBytes = 16u << 10;

}  // namespace

std::string printable(std::string_view text) {
  std::string out(text.substr(0, kPhraseMax));
  std::replace_if(out.begin(), out.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return out;
}

Cid to_cid(Bytes bytes) {
  Cid cid{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), cid.size()), cid.begin());
  return cid;
}

Path::Path(const env::Endpoint& endpoint) {
  local.in6 = {};  // the union's own {} reaches only as far as its first, smaller member
  remote.in6 = {};
  local.in6.sin6_family = AF_INET6;
  remote.in6.sin6_family = AF_INET6;
  remote.in6.sin6_port = static_cast<std::uint16_t>(endpoint.port << 8 | endpoint.port >> 8);
  remote.in6.sin6_scope_id = endpoint.scope;
  std::memcpy(&remote.in6.sin6_addr, endpoint.address.data(), endpoint.address.size());
}

ngtcp2_path Path::view() { return {{&local.sa, sizeof local.in6}, {&remote.sa, sizeof remote.in6}, nullptr}; }

env::Endpoint endpoint_of(const ngtcp2_addr& address) {
  ngtcp2_sockaddr_in6 raw;
  std::memcpy(&raw, address.addr, sizeof raw);
  env::Endpoint endpoint;
  std::memcpy(endpoint.address.data(), &raw.sin6_addr, endpoint.address.size());
  endpoint.port = static_cast<std::uint16_t>(raw.sin6_port << 8 | raw.sin6_port >> 8);
  endpoint.scope = raw.sin6_scope_id;
  return endpoint;
}

// ngtcp2 speaks C: each callback finds its Connection in user_data, notes what happened, and returns.
struct Connection::Callbacks {
  static Connection& self(void* user) { return *static_cast<Connection*>(user); }

  static void rand(std::uint8_t* out, std::size_t size, const ngtcp2_rand_ctx* context) {
    static_cast<Shared*>(context->native_handle)->entropy->fill({out, size});
  }
  static int new_cid(ngtcp2_conn*, ngtcp2_cid* cid, std::uint8_t* token, std::size_t, void* user) {
    return self(user).new_cid(*cid, token) ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
  }
  static int remove_cid(ngtcp2_conn*, const ngtcp2_cid* cid, void* user) {
    self(user).forget_cid({cid->data, cid->datalen});
    return 0;
  }
  static int path_challenge(ngtcp2_conn*, std::uint8_t* data, void* user) {
    self(user).shared_.entropy->fill({data, NGTCP2_PATH_CHALLENGE_DATALEN});
    return 0;
  }
  static int handshake_completed(ngtcp2_conn* conn, void* user) {
    if (ngtcp2_conn_is_server(conn)) self(user).on_confirmed();  // for a server, complete is confirmed
    return 0;
  }
  static int handshake_confirmed(ngtcp2_conn*, void* user) {
    self(user).on_confirmed();
    return 0;
  }
  static int stream_data(ngtcp2_conn*, std::uint32_t flags, std::int64_t stream, std::uint64_t,
                         const std::uint8_t* data, std::size_t size, void* user, void*) {
    const bool ends = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;  // our streams never do
    return !ends && self(user).on_stream_data(stream, {data, size}) ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
  }
  static int stream_reset(ngtcp2_conn*, std::int64_t, std::uint64_t, std::uint64_t, void*, void*) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  static int stop_sending(ngtcp2_conn*, std::int64_t, std::uint64_t, void*, void*) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  static int acked(ngtcp2_conn*, std::int64_t stream, std::uint64_t, std::uint64_t size, void* user, void*) {
    Connection& connection = self(user);
    connection.out_[static_cast<std::size_t>(stream >> 2)].acked(size);
    connection.queued_bytes_ -= size;
    connection.bytes_acked_ += size;
    return 0;
  }
  static int datagram(ngtcp2_conn*, std::uint32_t, const std::uint8_t* data, std::size_t size, void* user) {
    Connection& connection = self(user);
    connection.bytes_received_ += size;
    if (size == 0) connection.life_shown_ = true;
    if (size > 0) connection.arrivals_.push_back({true, {}, Buffer(data, data + size), 0});
    return 0;
  }
  static int datagram_acked(ngtcp2_conn*, std::uint64_t id, void* user) {
    if (id != kLifeDatagram) return 0;
    self(user).life_deadline_.reset();
    self(user).life_shown_ = true;
    return 0;
  }
  static int stateless_reset(ngtcp2_conn*, const ngtcp2_pkt_stateless_reset*, void* user) {
    self(user).reset_ = true;
    return 0;
  }

  static ngtcp2_callbacks table(bool server) {
    ngtcp2_callbacks t{};
    if (server) {
      t.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    } else {
      t.client_initial = ngtcp2_crypto_client_initial_cb;
      t.recv_retry = ngtcp2_crypto_recv_retry_cb;
      t.handshake_confirmed = handshake_confirmed;
    }
    t.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
    t.encrypt = ngtcp2_crypto_encrypt_cb;
    t.decrypt = ngtcp2_crypto_decrypt_cb;
    t.hp_mask = ngtcp2_crypto_hp_mask_cb;
    t.update_key = ngtcp2_crypto_update_key_cb;
    t.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    t.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    t.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
    t.rand = rand;
    t.get_new_connection_id = new_cid;
    t.remove_connection_id = remove_cid;
    t.get_path_challenge_data = path_challenge;
    t.handshake_completed = handshake_completed;
    t.recv_stream_data = stream_data;
    t.stream_reset = stream_reset;
    t.stream_stop_sending = stop_sending;
    t.acked_stream_data_offset = acked;
    t.recv_datagram = datagram;
    t.ack_datagram = datagram_acked;
    t.recv_stateless_reset = stateless_reset;
    return t;
  }
};

Connection::Connection(Shared& shared, std::uint64_t number, Admission admission, Instant now)
    : shared_(shared), number_(number), admission_(std::move(admission)), created_(now) {}

Connection::~Connection() {
  if (conn_ != nullptr) ngtcp2_conn_del(conn_);
  for (const Cid& cid : cids_) shared_.router.erase(cid);
}

ngtcp2_settings Connection::settings(Instant now) const {
  ngtcp2_settings s;
  ngtcp2_settings_default(&s);
  s.cc_algo = NGTCP2_CC_ALGO_BBR;  // at 1 % loss and 20 ms ten times what CUBIC moves
  s.initial_ts = timestamp(now);
  s.initial_rtt = static_cast<ngtcp2_duration>(kInitialRtt.count());
  s.handshake_timeout = static_cast<ngtcp2_duration>(shared_.limits.handshake_timeout.count());
  s.max_tx_udp_payload_size = kPacketBytesMax;
  s.ack_thresh = 1;  // at once: with the answer, where there is one, and else once for all that were read together
  s.pmtud_probes = kProbedBytes.data();
  s.pmtud_probeslen = kProbedBytes.size();
  s.max_window = kWindow;
  s.max_stream_window = kStreamWindowMax;
  s.rand_ctx.native_handle = &shared_;
  return s;
}

ngtcp2_transport_params Connection::parameters() const {
  const bool join = dial_ && dial_->protocol == Protocol::kJoin;
  ngtcp2_transport_params p;
  ngtcp2_transport_params_default(&p);
  p.initial_max_streams_uni = env::kPriorities;
  p.initial_max_stream_data_uni = join ? kJoinWindow : kStreamWindow;
  p.initial_max_data = join ? kJoinWindow : kWindow;
  p.max_idle_timeout = static_cast<ngtcp2_duration>(shared_.limits.idle_timeout.count());
  p.max_datagram_frame_size = join ? 0 : kPacketBytesMax;
  return p;
}

Status Connection::start(const ngtcp2_cid& dcid, const ngtcp2_cid& scid, const ngtcp2_transport_params& parameters,
                         const ngtcp2_settings& settings) {
  const ngtcp2_callbacks callbacks = Callbacks::table(!dial_.has_value());
  Path path(remote_);
  const ngtcp2_path view = path.view();
  const int code = dial_ ? ngtcp2_conn_client_new(&conn_, &dcid, &scid, &view, NGTCP2_PROTO_VER_V1, &callbacks,
                                                  &settings, &parameters, nullptr, this)
                         : ngtcp2_conn_server_new(&conn_, &dcid, &scid, &view, NGTCP2_PROTO_VER_V1, &callbacks,
                                                  &settings, &parameters, nullptr, this);
  if (code != 0) return fail(Code::kInternal, "QUIC: {}", ngtcp2_strerror(code));
  tls_->attach(conn_);
  return {};
}

Result<std::unique_ptr<Connection>> Connection::dial(Shared& shared, std::uint64_t number, DialOptions options,
                                                     Admission admission, Instant now) {
  std::unique_ptr<Connection> c(new Connection(shared, number, std::move(admission), now));
  c->remote_ = options.remote;
  c->dial_ = std::move(options);
  SEDGE_TRY(c->tls_, TlsSession::dial(*shared.credentials, c->dial_->protocol, *c));
  ngtcp2_cid dcid{};
  dcid.datalen = 16;  // seen once, in the first packet; its length is its unpredictability
  shared.entropy->fill({dcid.data, dcid.datalen});
  ngtcp2_cid scid{};
  std::array<std::uint8_t, NGTCP2_STATELESS_RESET_TOKENLEN> unused;
  if (!c->new_cid(scid, unused.data())) return fail(Code::kInternal, "no connection id");
  SEDGE_CHECK(c->start(dcid, scid, c->parameters(), c->settings(now)));
  return c;
}

Result<std::unique_ptr<Connection>> Connection::accept(Shared& shared, std::uint64_t number,
                                                       const AcceptOptions& options, Admission admission, Instant now) {
  std::unique_ptr<Connection> c(new Connection(shared, number, std::move(admission), now));
  c->remote_ = options.remote;
  c->local_ = options.local;
  SEDGE_TRY(c->tls_, TlsSession::accept(*shared.credentials, *c));
  ngtcp2_transport_params p = c->parameters();
  p.original_dcid = options.original_dcid.value_or(options.header.dcid);
  p.original_dcid_present = 1;
  if (options.original_dcid) {
    p.retry_scid = options.header.dcid;
    p.retry_scid_present = 1;
  }
  ngtcp2_cid scid{};
  if (!c->new_cid(scid, p.stateless_reset_token)) return fail(Code::kInternal, "no connection id");
  p.stateless_reset_token_present = 1;
  ngtcp2_settings s = c->settings(now);
  s.token = options.header.token;
  s.tokenlen = options.header.tokenlen;
  if (options.original_dcid) s.token_type = NGTCP2_TOKEN_TYPE_RETRY;
  SEDGE_CHECK(c->start(options.header.scid, scid, p, s));
  // Until the client has our id it addresses the one that it made up.
  const Cid first = to_cid({options.header.dcid.data, options.header.dcid.datalen});
  if (shared.router.emplace(first, c.get()).second) c->cids_.push_back(first);
  return c;
}

bool Connection::new_cid(ngtcp2_cid& cid, std::uint8_t* token) {
  cid.datalen = kCidBytes;
  shared_.entropy->fill({cid.data, cid.datalen});
  const Cid id = to_cid({cid.data, cid.datalen});
  if (!shared_.router.emplace(id, this).second) return false;
  cids_.push_back(id);
  return ngtcp2_crypto_generate_stateless_reset_token(token, shared_.reset_key.data(), shared_.reset_key.size(),
                                                      &cid) == 0;
}

void Connection::forget_cid(Bytes bytes) {
  const Cid id = to_cid(bytes);
  if (std::erase(cids_, id) > 0) shared_.router.erase(id);
}

Status Connection::check_peer(const PeerProof& proof) {
  proof_ = proof;
  peer_ = trust::node_id_of(proof.key);
  const Status admitted = admission_(*this, proof);
  if (!admitted) refusal_ = admitted.error().message;
  return admitted;
}

void Connection::on_confirmed() { confirmed_ = true; }

Status Connection::on_stream_data(std::int64_t stream, Bytes data) {
  // ngtcp2 lets only the streams through that we allowed: the peer's unidirectional ones, 2, 6, 10...
  const auto index = static_cast<std::size_t>(stream >> 2);
  SEDGE_ASSERT(index < env::kPriorities);
  bytes_received_ += data.size();
  Buffer frame;
  while (!data.empty()) {
    const std::size_t before = data.size();
    SEDGE_TRY(const bool whole, in_[index].next(data, frame));
    taken_[index] += before - data.size();
    if (!whole) break;
    arrivals_.push_back({false, static_cast<env::Priority>(index), std::move(frame), std::exchange(taken_[index], 0)});
  }
  return {};
}

void Connection::give_credit(env::Priority priority, std::size_t bytes) {
  credit_[static_cast<std::size_t>(priority)] += bytes;
  credit_waits_ = true;
}

void Connection::give_credit_back() {
  if (!credit_waits_) return;
  credit_waits_ = false;
  for (std::size_t i = 0; i < credit_.size(); ++i) {
    if (credit_[i] == 0) continue;
    const auto stream = static_cast<std::int64_t>(4 * i + (dial_ ? 3 : 2));  // the peer's
    ngtcp2_conn_extend_max_stream_offset(conn_, stream, credit_[i]);
    ngtcp2_conn_extend_max_offset(conn_, credit_[i]);
    credit_[i] = 0;
  }
}

void Connection::read(const env::IncomingDatagram& datagram, Instant now) {
  if (ended_) return;
  local_ = datagram.local;
  Path path(datagram.remote);
  const ngtcp2_path view = path.view();
  ngtcp2_pkt_info info{};
  info.ecn = datagram.ecn;
  const std::uint64_t carried = bytes_acked_ + bytes_received_;
  const int code =
      ngtcp2_conn_read_pkt(conn_, &view, &info, datagram.payload.data(), datagram.payload.size(), timestamp(now));
  if (code != 0) return fail_with(code, now);
  const bool life = std::exchange(life_shown_, false);
  if (life && now - life_told_ >= kLifeInterval) {
    life_told_ = now;
    arrivals_.push_back({true, {}, {}, 0});
  }
  if (life || bytes_acked_ + bytes_received_ > carried) heard_ = now;
  after_read(now);
}

void Connection::after_read(Instant now) {
  remote_ = endpoint_of(ngtcp2_conn_get_path(conn_)->remote);  // it may have moved, and proved it
  if (!confirmed_ || streams_open_) return;
  streams_open_ = true;
  for (std::size_t i = 0; i < env::kPriorities; ++i) {
    std::int64_t stream = -1;
    const int code = ngtcp2_conn_open_uni_stream(conn_, &stream, nullptr);
    if (code != 0) return fail_with(code, now);  // a peer of ours allows eight
  }
  if (protocol() == Protocol::kLink) {
    ngtcp2_conn_set_keep_alive_timeout(conn_, static_cast<ngtcp2_duration>(shared_.limits.keep_alive.count()));
  }
}

void Connection::expire(Instant now) {
  if (ended_) return;
  if (life_deadline_ && *life_deadline_ <= now) {
    down_reason_ = env::LinkDown::kRefused;
    return end(nullptr, now);
  }
  if (protocol() == Protocol::kJoin && now >= created_ + shared_.limits.join_timeout) {
    if (failure_.empty()) failure_ = "the issuer did not answer in time";
    return close(kCloseRefused, "too slow", now);
  }
  if (ngtcp2_conn_get_expiry(conn_) > timestamp(now)) return;
  if (const int code = ngtcp2_conn_handle_expiry(conn_, timestamp(now)); code != 0) fail_with(code, now);
}

Instant Connection::deadline() const {
  if (ended_) return end_deadline_;
  const ngtcp2_tstamp expiry = ngtcp2_conn_get_expiry(conn_);
  Instant out = expiry > static_cast<ngtcp2_tstamp>(kNever.time_since_epoch().count())
                    ? kNever
                    : Instant(Duration(static_cast<std::int64_t>(expiry)));
  if (life_deadline_) out = std::min(out, *life_deadline_);
  if (protocol() == Protocol::kJoin) out = std::min(out, created_ + shared_.limits.join_timeout);
  return out;
}

void Connection::demand_life(Instant now) {
  if (ended_ || life_deadline_) return;
  ask_for_life();
  life_deadline_ = now + std::clamp<Duration>(3 * stats().rtt + 50ms, 50ms, 300ms);
}

// --- the end ---

void Connection::close(std::uint64_t code, std::string_view phrase, Instant now) {
  if (ended_) return;
  down_reason_ = code <= static_cast<std::uint64_t>(env::LinkDown::kParted) ? static_cast<env::LinkDown>(code)
                                                                            : env::LinkDown::kClosed;
  ngtcp2_ccerr error;
  ngtcp2_ccerr_set_application_error(&error, code, as_bytes(phrase).data(), phrase.size());
  end(&error, now);
}

void Connection::fail_with(int code, Instant now) {
  ngtcp2_ccerr error;
  ngtcp2_ccerr_default(&error);
  switch (code) {
    case NGTCP2_ERR_DRAINING:
      peer_closed();
      return end(nullptr, now);
    case NGTCP2_ERR_IDLE_CLOSE:
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
      down_reason_ = env::LinkDown::kTimeout;
      failure_ = "no answer";
      return end(nullptr, now);
    case NGTCP2_ERR_RETRY:
    case NGTCP2_ERR_DROP_CONN:
      down_reason_ = env::LinkDown::kProtocol;
      return end(nullptr, now);
    case NGTCP2_ERR_CRYPTO:
      ngtcp2_ccerr_set_tls_alert(&error, ngtcp2_conn_get_tls_alert(conn_), nullptr, 0);
      break;
    case NGTCP2_ERR_CALLBACK_FAILURE:  // a frame that no honest peer sends
      ngtcp2_ccerr_set_application_error(&error, static_cast<std::uint64_t>(env::LinkDown::kProtocol), nullptr, 0);
      break;
    default:
      ngtcp2_ccerr_set_liberr(&error, code, nullptr, 0);
  }
  down_reason_ = env::LinkDown::kProtocol;
  failure_ = refusal_.empty() ? fmt::format("QUIC: {}", ngtcp2_strerror(code)) : refusal_;
  end(&error, now);
}

void Connection::peer_closed() {
  const ngtcp2_ccerr& error = *ngtcp2_conn_get_ccerr(conn_);
  const std::string phrase = printable(as_text({error.reason, error.reasonlen}));
  constexpr std::uint64_t kAlert = NGTCP2_CRYPTO_ERROR;
  constexpr std::uint64_t kNoApplicationProtocol = 120;  // RFC 7301
  if (reset_) {
    down_reason_ = env::LinkDown::kRefused;
    failure_ = "the process there does not know this connection";
  } else if (error.type == NGTCP2_CCERR_TYPE_APPLICATION) {
    down_reason_ = env::as_told(static_cast<env::LinkDown>(std::min<std::uint64_t>(error.error_code, 255)));
    failure_ = phrase.empty() ? "the peer closed the connection" : phrase;
  } else if ((error.error_code & ~std::uint64_t{0xff}) == kAlert) {
    down_reason_ = env::LinkDown::kProtocol;
    failure_ = (error.error_code & 0xff) == kNoApplicationProtocol
                   ? "the peer does not speak that protocol: only issuers let new nodes join"
                   : fmt::format("the peer refused our certificate (TLS alert {}): another fleet, or revoked",
                                 error.error_code & 0xff);
  } else {
    down_reason_ = env::LinkDown::kProtocol;
    failure_ = fmt::format("the peer closed the connection: QUIC error {:#x} {}", error.error_code, phrase);
  }
}

void Connection::end(const ngtcp2_ccerr* to_peer, Instant now) {
  if (ended_) return;
  ended_ = true;
  if (failure_.empty()) failure_ = "closed";
  // A peer that said goodbye, or must hear ours, may have packets on the way for a while; a silent one has none.
  const bool linger = to_peer != nullptr || ngtcp2_conn_in_draining_period(conn_);
  end_deadline_ = linger ? now + std::min<Duration>(Duration(3 * ngtcp2_conn_get_pto(conn_)), kLingerMax) : now;
  if (to_peer != nullptr) {
    close_packet_.resize(kPacketBytesMax);
    ngtcp2_path_storage path;
    ngtcp2_path_storage_zero(&path);
    ngtcp2_pkt_info info{};
    const ngtcp2_ssize size = ngtcp2_conn_write_connection_close(conn_, &path.path, &info, close_packet_.data(),
                                                                 close_packet_.size(), to_peer, timestamp(now));
    close_packet_.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    close_packet_.shrink_to_fit();
  }
  ngtcp2_conn_del(conn_);
  conn_ = nullptr;
  tls_.reset();
  for (SendQueue& queue : out_) queue = SendQueue();
  for (FrameReader& reader : in_) reader = FrameReader();
  datagrams_.clear();
  queued_bytes_ = datagram_bytes_ = 0;
}

// --- sending ---

std::size_t Connection::unsent_bytes() const {
  std::size_t sum = 0;
  for (const SendQueue& queue : out_) sum += queue.unsent();
  return sum;
}

void Connection::push(env::Priority priority, Buffer frame) {
  SendQueue& queue = out_[static_cast<std::size_t>(priority)];
  urgent_pushed_ |= priority == env::Priority::kTask || priority == env::Priority::kUrgent;
  const std::size_t before = queue.held();
  queue.push(std::move(frame));
  queued_bytes_ += queue.held() - before;
}

void Connection::push_raw(env::Priority priority, Buffer bytes) {
  queued_bytes_ += bytes.size();
  out_[static_cast<std::size_t>(priority)].push_raw(std::move(bytes));
}

std::uint64_t Connection::push_datagram(Buffer payload) {
  datagram_bytes_ += payload.size();
  datagrams_.push_back(std::move(payload));
  std::uint64_t dropped = 0;
  for (; datagram_bytes_ > shared_.limits.datagram_bytes_max; ++dropped) {
    datagram_bytes_ -= datagrams_.front().size();
    datagrams_.pop_front();
  }
  return dropped;
}

std::optional<std::size_t> Connection::next_stream() const {
  if (!streams_open_) return std::nullopt;
  for (std::size_t i = 0; i < out_.size(); ++i) {
    if (out_[i].unsent() == 0 || blocked_[i]) continue;
    if (hurry_ && i >= static_cast<std::size_t>(env::Priority::kLow) && enough_under_way()) return std::nullopt;
    return i;
  }
  return std::nullopt;
}

// What is on the wire or in the peer's socket cannot be overtaken. BBR lets twice of what the path holds be there, or
// three bursts of up to 64 KiB (and a few packets) where that is more: on a quick path all of it waits at the peer.
// While urgent frames are sent, bulk keeps to what the path holds.
bool Connection::enough_under_way() const {
  ngtcp2_conn_info info{};
  ngtcp2_conn_get_conn_info(conn_, &info);
  const bool bursts = info.cwnd <= 3 * ngtcp2_conn_get_send_quantum(conn_) + 4 * kPacketBytesMax;
  return info.bytes_in_flight >= (bursts ? kQuickPathBytes : info.cwnd / 2);
}

// Datagrams are telemetry: they go after orders and before everything that can wait.
bool Connection::wants_datagram(std::optional<std::size_t> stream) const {
  if (!streams_open_ || (datagrams_.empty() && !life_wanted_)) return false;
  return life_wanted_ || !stream || *stream > static_cast<std::size_t>(env::Priority::kUrgent);
}

ngtcp2_ssize Connection::add_datagram(MutableBytes out, ngtcp2_path_storage& path, ngtcp2_pkt_info& info, Instant now) {
  const bool life = life_wanted_;
  ngtcp2_vec piece{};
  if (!life) piece = {datagrams_.front().data(), datagrams_.front().size()};
  int accepted = 0;
  const ngtcp2_ssize written = ngtcp2_conn_writev_datagram(conn_, &path.path, &info, out.data(), out.size(), &accepted,
                                                           NGTCP2_WRITE_DATAGRAM_FLAG_MORE, life ? kLifeDatagram : 0,
                                                           &piece, life ? 0 : 1, timestamp(now));
  // A peer that cannot take it (none of ours): it falls out, as datagrams may.
  const bool impossible = written == NGTCP2_ERR_INVALID_STATE || written == NGTCP2_ERR_INVALID_ARGUMENT;
  if (accepted == 0 && !impossible) return written;
  if (life) {
    life_wanted_ = false;
  } else {
    bytes_sent_ += piece.len;
    datagram_bytes_ -= piece.len;
    datagrams_.pop_front();
  }
  return impossible ? NGTCP2_ERR_WRITE_MORE : written;
}

ngtcp2_ssize Connection::add_stream(std::size_t index, MutableBytes out, ngtcp2_path_storage& path,
                                    ngtcp2_pkt_info& info, Instant now) {
  std::array<Bytes, kPiecesMax> pieces;
  std::array<ngtcp2_vec, kPiecesMax> vectors;
  const std::size_t count = out_[index].gather(pieces);
  for (std::size_t i = 0; i < count; ++i) {
    vectors[i] = {const_cast<std::uint8_t*>(pieces[i].data()), pieces[i].size()};
  }
  ngtcp2_ssize taken = -1;
  const auto stream = static_cast<std::int64_t>(4 * index + (dial_ ? 2 : 3));  // ours
  const ngtcp2_ssize written =
      ngtcp2_conn_writev_stream(conn_, &path.path, &info, out.data(), out.size(), &taken, NGTCP2_WRITE_STREAM_FLAG_MORE,
                                stream, vectors.data(), count, timestamp(now));
  if (taken > 0) {
    out_[index].sent(static_cast<std::size_t>(taken));
    bytes_sent_ += static_cast<std::size_t>(taken);
  }
  if (written != NGTCP2_ERR_STREAM_DATA_BLOCKED) return written;
  blocked_[index] = true;
  return NGTCP2_ERR_WRITE_MORE;
}

// One packet: the most urgent bytes first, then whatever else still fits.
ngtcp2_ssize Connection::fill_packet(MutableBytes out, ngtcp2_path_storage& path, ngtcp2_pkt_info& info, Instant now) {
  for (;;) {
    const auto stream = next_stream();
    ngtcp2_ssize written = 0;
    if (wants_datagram(stream)) {
      written = add_datagram(out, path, info, now);
    } else if (stream) {
      written = add_stream(*stream, out, path, info, now);
    } else {
      return ngtcp2_conn_writev_stream(conn_, &path.path, &info, out.data(), out.size(), nullptr,
                                       NGTCP2_WRITE_STREAM_FLAG_NONE, -1, nullptr, 0, timestamp(now));
    }
    if (written != NGTCP2_ERR_WRITE_MORE) return written;
  }
}

bool Connection::write(MutableBytes buffer, Batch& batch, Batch& spill, Instant now) {
  if (ended_) return false;
  give_credit_back();
  blocked_.fill(false);
  if (std::exchange(urgent_pushed_, false)) hurry_until_ = now + kHurryTime;
  hurry_ = now < hurry_until_;
  batch = {remote_, local_, 0, 0, 0, 0};
  const std::size_t quantum = std::min(ngtcp2_conn_get_send_quantum(conn_), kBatchBytesMax);
  while (batch.end + kPacketBytesMax <= buffer.size()) {
    ngtcp2_path_storage path;
    ngtcp2_path_storage_zero(&path);
    ngtcp2_pkt_info info{};
    const ngtcp2_ssize size = fill_packet(buffer.subspan(batch.end, kPacketBytesMax), path, info, now);
    if (size < 0) {
      fail_with(static_cast<int>(size), now);
      break;
    }
    if (size == 0) break;
    const auto bytes = static_cast<std::size_t>(size);
    const env::Endpoint remote = endpoint_of(path.path.remote);
    if (batch.end == 0) {
      batch = {remote, local_, info.ecn, bytes, 0, 0};
    } else if (bytes > batch.segment_bytes || remote != batch.remote || info.ecn != batch.ecn) {
      spill = {remote, local_, info.ecn, bytes, batch.end, batch.end + bytes};
      break;
    }
    batch.end += bytes;
    if (bytes < batch.segment_bytes || batch.end + batch.segment_bytes > quantum) break;
  }
  if (!ended_) ngtcp2_conn_update_pkt_tx_time(conn_, timestamp(now));
  return batch.end > 0;
}

env::LinkStats Connection::stats() const {
  env::LinkStats out{Duration(0), bytes_sent_, bytes_received_, queued_bytes_};
  if (ended_) return out;
  ngtcp2_conn_info info{};
  ngtcp2_conn_get_conn_info(conn_, &info);
  out.rtt = Duration(static_cast<std::int64_t>(info.smoothed_rtt));
  return out;
}

}  // namespace sedge::quic
