#include "platform/runtime.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/overloaded.h"
#include "mesh/overlay.h"
#include "mesh/pubsub.h"
#include "node/boot.h"
#include "platform/beacon_socket.h"
#include "platform/engine_compute.h"
#include "platform/file_storage.h"
#include "platform/home.h"
#include "platform/memory.h"
#include "platform/prefix_store.h"
#include "platform/publish_queue.h"
#include "platform/rotation.h"
#include "platform/storage_worker.h"
#include "platform/system.h"
#include "platform/udp_socket.h"
#include "quic/endpoint.h"
#include "store/store.h"

namespace sedge::platform {
namespace asio = boost::asio;
namespace {

// What a turn does at most before the next looks around again: what is urgent and came or was published meanwhile waits
// for one turn. A system call receives up to 64 KiB, and sends as much.
constexpr int kReceiveBatches = 1;
constexpr int kSendRuns = 1;
constexpr std::size_t kPublishBytes = 16u << 10;
constexpr int kLooks = 8;                     // at the socket, before timers and other handlers are looked at
constexpr Duration kHeldBackInterval = 2ms;   // after which the node is offered again what it had no room for
constexpr Duration kInterfacesInterval = 2s;  // how often interfaces that came or went are looked for
constexpr Duration kLinkBytesInterval = 100ms;
constexpr Duration kLeaveTime = 2s;  // for a graceful end; a peer that does not answer does not hold us longer

// Where others can dial us: the address we listen on, or those of the interfaces when that is "any".
std::vector<env::Endpoint> advertised(const env::Endpoint& local) {
  if (!local.is_unspecified()) return {local};
  return interface_endpoints(local.port);
}

}  // namespace

class Runtime::Loop {
 public:
  explicit Loop(RuntimeOptions options)
      : options_(std::move(options)),
        spin_(std::thread::hardware_concurrency() > 1 ? options_.spin : Duration::zero()),
        timer_(io_),
        readable_(io_),
        beacon_readable_(io_) {}

  ~Loop() {
    compute_.reset();  // no more slices
    storage_.reset();  // commits what is queued
    readable_.release();
    if (beacon_readable_.is_open()) beacon_readable_.release();
  }

  Status open() {
    SEDGE_TRY(lock_, HomeLock::take(options_.home));
    SEDGE_TRY(const auto rotated, finish_rotation(options_.home));
    if (rotated) say("a rotation that broke off is finished: this node has its new key");
    SEDGE_TRY(const auto issuer, finish_issuer_rotation(options_.home));
    if (issuer) say("a rotation that broke off is finished: this node has its new issuer's key");
    SEDGE_TRY(Identity identity, read_identity(options_.home));
    files_ = std::make_unique<FileStorage>(options_.home);
    SEDGE_TRY(auto store, store::Store::open(*files_, "state.db"));
    SEDGE_TRY(const BootEpoch epoch, node::begin_epoch(*store));
    SEDGE_TRY(const auto addresses, resolve(options_.listen));
    SEDGE_TRY(udp_, UdpSocket::open(addresses.front()));
    SEDGE_CHECK(open_compute());

    directory_.emplace(identity.root);
    const Buffer chain = trust::encode_chain(identity.chain);
    SEDGE_CHECK(directory_->add(chain));
    // What it wrote under its former id and nobody else has yet must be handed on with the certificate.
    if (identity.former) SEDGE_CHECK(directory_->add(trust::encode_chain(*identity.former)));
    directory_->set_wall_time(wall_seconds());
    quic::Options quic;
    quic.key = identity.key.clone();
    quic.chain = chain;
    quic.boot_epoch = epoch;
    quic.directory = &*directory_;
    quic.entropy = &entropy_;
    quic.accept_joins = identity.issuer_key.has_value();
    SEDGE_TRY(endpoint_, quic::Endpoint::create(std::move(quic)));

    grants_ = identity.chain.node.grants;
    SEDGE_TRY(node::NodeOptions options, node_options(identity, epoch));
    node_ = std::make_unique<node::Node>(std::move(options), std::move(identity.key), *directory_, entropy_, *compute_);
    for (const std::string& bucket : node::Node::buckets()) {
      SEDGE_CHECK(store->load(bucket, [&](Bytes key, Bytes value) { return node_->load(bucket, key, value); }));
    }
    node_->on_member_event([this](const mesh::MemberEvent& event) { log_event(event); });
    node_->on_report([this](const std::string& text) { say(text); });
    storage_ = std::make_unique<StorageWorker>(
        std::move(store),
        StorageWorker::Callbacks{
            .durable =
                [this](env::Lsn lsn) { call([lsn](node::Node& node, Instant at) { node.on_durable(lsn, at); }); },
            .failed = [this](const Error& error) { asio::post(io_, [this, error] { fail_with(error); }); }});
    return {};
  }

  Status run() {
    node_->start(now());
    readable_.assign(udp_.fd());
    wait_readable();
    if (options_.beacons) open_beacons();
    turn();
    while (!io_.stopped()) {
      if (io_.poll() > 0) continue;
      if (!look_for_packets()) io_.run_one();
    }
    if (failure_) return std::unexpected(*failure_);
    return {};
  }

  void call(Call call) {
    asio::post(io_, [this, call = std::move(call)] {
      take_published(now());
      call(*node_, now());
      turn();
    });
  }

  Status publish(const QueuedMessage& message) {
    SEDGE_CHECK(mesh::check_message(message.topic, message.payload));
    if (!grants_.allows(trust::Verb::kPub, message.topic)) {
      return fail(Code::kPermissionDenied, "this node's certificate does not grant pub:{}", message.topic);
    }
    SEDGE_TRY(const bool tell, published_.push(message));
    if (tell) {
      asio::post(io_, [this] {
        stay_awake(now());
        turn();
      });
    }
    return {};
  }

  void stop() {
    asio::post(io_, [this] {
      if (leaving_since_) return io_.stop();
      leaving_since_ = now();
      say("leaving the fleet");
      take_published(now());
      node_->leave(now());
      turn();
      endpoint_->close_all(now());
      turn();
    });
  }

  void turn() {
    const Instant at = now();
    say_backlog();
    say_link_bytes(at);
    take_published(at);
    if (node_->next_deadline() <= at) node_->on_timer(at);
    if (endpoint_->next_deadline() <= at) endpoint_->on_timer(at);
    if (next_interfaces_ <= at) look_at_interfaces(at);
    for (int round = 0; round < 16; ++round) {
      const bool heard = take_events(at);
      const bool moved = move_outbox(at);
      if (!heard && !moved) break;
    }
    send_packets(at);
    say_backlog();
    arm_timer();
    if (leaving_since_ && (endpoint_->closed() || at - *leaving_since_ > kLeaveTime)) io_.stop();
  }

  asio::io_context& io() { return io_; }
  node::Node& node() { return *node_; }
  const quic::Endpoint& endpoint() const { return *endpoint_; }
  Energy energy() { return energy_.look(now()); }
  env::Endpoint listening() const { return udp_.local(); }
  const std::filesystem::path& home() const { return options_.home; }

 private:
  Status open_compute() {
    EngineComputeOptions engines;
    SEDGE_TRY(engines.model.cache, engine::cache_format_of(options_.kv));
    engines.model.long_context = options_.long_context;
    engines.workers = std::max(1u, options_.engine_workers);
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    engines.threads_per_worker =
        options_.engine_threads != 0 ? options_.engine_threads : std::max(1u, cores / engines.workers);
    engines.prefix_cache_bytes = options_.prefix_memory_bytes != 0
                                     ? options_.prefix_memory_bytes
                                     : std::min(memory_bytes() / 8, std::size_t{512} << 20);
    if (options_.prefix_disk_bytes > 0 && !options_.models.empty()) {
      prefix_store_ = std::make_unique<PrefixStore>(
          PrefixStoreOptions{.folder = options_.home / "prefixes", .bytes_max = options_.prefix_disk_bytes});
      engines.prefix_store = prefix_store_.get();
    }
    if (options_.packed_disk_bytes > 0 && !options_.models.empty()) {
      packed_store_ = std::make_unique<PackedStore>(
          PackedStoreOptions{.folder = packed_folder(options_.home), .bytes_max = options_.packed_disk_bytes});
      engines.packed_store = packed_store_.get();
    }
    engines.memory = std::make_shared<engine::MemoryBudget>(0);  // until models are known
    compute_ = std::make_unique<EngineCompute>(
        engines, [this](std::function<void()> work) { asio::post(io_, std::move(work)); },
        [this](const env::SliceReport& report) {
          node_->on_slice(report, now());
          turn();
        });
    for (const auto& model : options_.models) SEDGE_CHECK(compute_->add_model(model));
    for (const AdapterOptions& adapter : options_.adapters) SEDGE_CHECK(compute_->add_adapter(adapter));
    for (const auto& draft : options_.drafts) SEDGE_CHECK(compute_->add_draft(draft));
    compute_->keep_packed();
    engines.memory->set_bytes_max(text_memory_bytes(memory_bytes(), compute_->loaded_bytes()));
    return {};
  }

  // What this machine can carry as a gateway: two steps for each doubling of its cores.
  static std::uint16_t machine_rank() {
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    return static_cast<std::uint16_t>(
        std::min(2 * static_cast<int>(std::bit_width(cores)), int{mesh::kGatewayRankMax}));
  }

  Result<node::NodeOptions> node_options(const Identity& identity, BootEpoch epoch) {
    node::NodeOptions options;
    options.name = identity.chain.node.name;
    options.tensor_bytes_max = options_.tensor_bytes_max;
    options.epoch = epoch;
    options.endpoints = advertised(udp_.local());
    for (const std::string& seed : options_.seeds) {
      SEDGE_TRY(const auto endpoints, resolve(seed));
      options.seeds.insert(options.seeds.end(), endpoints.begin(), endpoints.end());
    }
    options.fleet_secret = identity.fleet_secret;
    if (identity.former) options.former = trust::node_id_of(identity.former->node.subject);
    options.beacons = options_.beacons;
    SEDGE_CHECK(node::check_budget(options_.privacy_budget));
    options.privacy.budget = options_.privacy_budget;
    options.overlay = options_.overlay;
    SEDGE_CHECK(mesh::check_zone(options_.zone));
    options.zone = options_.zone;
    options.gateway_rank = options_.gateway_rank.value_or(machine_rank());
    options.worker.scheduler.workers = compute_->workers();
    options.worker.scheduler.batch_max = compute_->batch_max();
    if (identity.issuer_key && identity.issuer) {
      node::IssuerOptions issuer;
      std::copy_n(identity.issuer_key->seed().begin(), issuer.key.size(), issuer.key.begin());
      issuer.certificate = *identity.issuer;
      issuer.root = identity.root;
      options.issuer = std::move(issuer);
      options.may_found = true;  // the fleet was created here
    }
    return options;
  }

  // Only where things come thick and fast: what comes by itself costs no waiting for another.
  void stay_awake(Instant at) {
    if (at - std::exchange(last_came_, at) <= 2 * spin_) awake_until_ = at + spin_;
  }

  // Asks the socket itself, for as long as the loop is awake or a few times: then others' handlers have their say.
  // False: the loop may sleep.
  bool look_for_packets() {
    for (int i = 0; i < kLooks; ++i) {
      const Instant at = now();
      if (at >= awake_until_) return false;
      if (published_.told() || receive(at)) return true;
      std::this_thread::yield();  // whoever is to be answered may need this core
    }
    return true;
  }

  // What lies in the socket, up to a bound, and the turn that it makes. False: there was nothing.
  bool receive(Instant at) {
    const bool any = udp_.receive(kReceiveBatches,
                                  [&](const env::IncomingDatagram& datagram) { endpoint_->on_datagram(datagram, at); });
    if (udp_.has_errors()) {
      udp_.read_errors([&](const env::Endpoint& remote) { endpoint_->on_unreachable(remote, at); });
    } else if (!any) {
      return false;
    }
    if (any) stay_awake(at);
    turn();
    return true;
  }

  void say_backlog() {
    endpoint_->backlog(backlog_);
    node_->on_backlog(backlog_);
  }

  void say_link_bytes(Instant at) {
    if (at - link_bytes_said_ < kLinkBytesInterval) return;
    link_bytes_said_ = at;
    endpoint_->link_bytes(link_bytes_);
    node_->on_link_bytes(link_bytes_, at);
  }

  // What the program's threads published, up to a bound. What the node refuses for now waits, and fills the queue
  // behind it.
  void take_published(Instant at) {
    std::size_t bytes = 0;
    held_back_ = false;
    published_.drain([&](const QueuedMessage& message) {
      if (bytes > kPublishBytes) return false;
      bytes += message.payload.size();
      if (message.until <= at) return true;  // it waited for too long
      mesh::PublishOptions options{
          .reliable = message.reliable, .priority = message.priority, .for_all = message.for_all};
      if (message.until != kNever) options.lifespan = message.until - at;
      bool later = false;
      node_->publish(
          message.topic, message.payload, options, 0,
          [&](const Status& status) {
            later = !status && status.error().code == Code::kResourceExhausted;
            if (!status && !later) say(status.error().message);
          },
          at);
      held_back_ |= later;
      return !later;
    });
    if (bytes > kPublishBytes) turn_again();
  }

  // More to do, but others first.
  void turn_again() {
    if (std::exchange(turn_posted_, true)) return;
    asio::post(io_, [this] {
      turn_posted_ = false;
      turn();
    });
  }

  // A radio that comes back, a cable that is pulled, a new lease: others must learn where to dial us.
  void look_at_interfaces(Instant at) {
    if (!udp_.local().is_unspecified()) {
      next_interfaces_ = kNever;
      return;
    }
    next_interfaces_ = at + kInterfacesInterval;
    (void)energy_.look(at);
    std::vector<env::Endpoint> endpoints = advertised(udp_.local());
    if (endpoints == node_->options().endpoints) {
      if (options_.beacons && beacons_.fd() < 0) open_beacons();  // no interface had joined the group
      return;
    }
    std::string list;
    for (const env::Endpoint& endpoint : endpoints) list += " " + endpoint.text();
    say(fmt::format("this node's addresses are now{}", list.empty() ? " none" : list));
    node_->set_endpoints(std::move(endpoints), at);
    if (options_.beacons) open_beacons();
  }

  void open_beacons() {
    ++beacons_opened_;
    if (beacon_readable_.is_open()) beacon_readable_.release();  // before its descriptor is closed
    auto opened = BeaconSocket::open(node_->options().endpoints);
    beacons_ = opened ? std::move(*opened) : BeaconSocket();
    if (!opened) {
      if (std::exchange(beacons_refused_, true)) return;
      return say(opened.error().message);
    }
    beacons_refused_ = false;
    beacon_readable_.assign(beacons_.fd());
    wait_beacon();
  }

  void wait_readable() {
    readable_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
      if (error) return;
      (void)receive(now());  // nothing: it came while the loop was looking by itself
      wait_readable();
    });
  }

  void wait_writable() {
    if (std::exchange(waiting_writable_, true)) return;
    readable_.async_wait(asio::posix::stream_descriptor::wait_write, [this](const boost::system::error_code& error) {
      waiting_writable_ = false;
      if (!error) turn();
    });
  }

  void wait_beacon() {
    beacon_readable_.async_wait(asio::posix::stream_descriptor::wait_read, [this, opened = beacons_opened_](
                                                                               const boost::system::error_code& error) {
      if (error || opened != beacons_opened_) return;
      const Instant at = now();
      beacons_.receive([&](const env::Endpoint& from, Bytes beacon) { node_->on_beacon(from, beacon, at); });
      turn();  // may open the socket anew
      if (opened == beacons_opened_) wait_beacon();
    });
  }

  bool take_events(Instant at) {
    bool any = false;
    while (auto event = endpoint_->poll()) {
      any = true;
      std::visit(
          Overloaded{
              [&](const quic::LinkUp& up) { node_->on_link_up(up.peer, at); },
              [&](const quic::LinkDown& down) { node_->on_link_down(down.peer, down.reason, at); },
              [&](const quic::FrameIn& in) { take_frame(in.from, in.frame, at); },
              [&](const quic::DatagramIn& in) { take_frame(in.from, in.payload, at); },
              [&](const quic::DialFailed& failed) { node_->on_dial_failed(failed.failure, at); },
              [&](const quic::Clone& clone) {
                say(fmt::format("node {} runs twice with one key: {} stays, {} was refused; give each its own home",
                                clone.peer.short_hex(), clone.kept.text(), clone.refused.text()));
              },
              [&](const quic::JoinRequestIn& join) {
                if (node_->enroller() != nullptr)
                  node_->enroller()->on_request(join.handle, join.request, join.exporter, join.rotation);
              },
              [&](const quic::JoinGranted&) {},  // only a joiner's endpoint says this (platform/join_client.h)
          },
          *event);
    }
    return any;
  }

  void take_frame(NodeId from, Bytes frame, Instant at) {
    node_->on_frame(from, frame, endpoint_->answers_waiting(from), at);
  }

  bool move_outbox(Instant at) {
    env::Outbox out;
    node_->drain(out, at);
    if (node_->enroller() != nullptr) {
      for (auto& answer : node_->enroller()->take_answers())
        (void)endpoint_->answer_join(answer.handle, answer.message, at);
    }
    for (env::Send& send : out.sends) {
      const NodeId to = send.to;
      const Status sent = send.datagram ? endpoint_->send_datagram(to, std::move(send.frame), at)
                                        : endpoint_->send(to, send.priority, std::move(send.frame), at);
      if (!sent && sent.error().code == Code::kResourceExhausted) {
        say(fmt::format("node {} does not keep up: its queue is full, the link is cut and begun again",
                        to.short_hex()));
        endpoint_->hangup(to, env::LinkDown::kTooSlow, at);
      }
    }
    for (const env::Dial& dial : out.dials) {
      const Status dialled = endpoint_->dial(dial, at);
      if (!dialled && dialled.error().code != Code::kAlreadyExists) {
        node_->on_dial_failed({dial.address, dialled.error().message}, at);
      }
    }
    for (const env::Hangup& hangup : out.hangups) endpoint_->hangup(hangup.peer, hangup.reason, at);
    for (const Buffer& beacon : out.beacons) {
      if (beacons_.fd() >= 0) beacons_.send(beacon);
    }
    const bool moved = !out.empty();
    if (!out.records.empty()) {
      if (const Status queued = storage_->enqueue(out.lsn, std::move(out.records)); !queued) fail_with(queued.error());
    }
    return moved;
  }

  void send_packets(Instant at) {
    if (waiting_writable_) return;
    for (int i = 0; i < kSendRuns; ++i) {
      if (!blocked_) {
        env::OutgoingDatagrams out;
        if (!endpoint_->next_datagrams(out, at)) return;
        if (udp_.send(out) == UdpSocket::Sent::kAll) continue;
        held_.assign(out.payload.begin(), out.payload.end());  // the view dies with the next call
        blocked_ = out;
        blocked_->payload = held_;
      } else if (udp_.send(*blocked_) == UdpSocket::Sent::kAll) {
        blocked_.reset();
        continue;
      }
      return wait_writable();
    }
    turn_again();
  }

  void arm_timer() {
    const Instant next = std::min({node_->next_deadline(), endpoint_->next_deadline(), next_interfaces_,
                                   leaving_since_ ? *leaving_since_ + kLeaveTime : kNever,
                                   held_back_ ? now() + kHeldBackInterval : kNever});
    if (armed_ && armed_for_ <= next) return;  // it fires too early, looks again, and spares a system call a packet
    armed_ = next != kNever;
    armed_for_ = next;
    if (!armed_) {
      timer_.cancel();
      return;
    }
    timer_.expires_after(std::max(next - now(), Duration::zero()));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      armed_ = false;
      turn();
    });
  }

  void log_event(const mesh::MemberEvent& event) {
    const std::string line = fmt::format("{} {} ({}){}{}", event_name(event.kind), event.name, event.id.short_hex(),
                                         event.detail.empty() ? "" : ": ", event.detail);
    say(line);
    if (event.kind != mesh::MemberEvent::Kind::kClone || !event.self) return;
    fail_with({Code::kAborted, "this node's key runs a second time elsewhere, and that process goes on: " +
                                   event.detail + "; give each process its own home (`sedge fleet join`)"});
  }

  void fail_with(Error error) {
    if (!failure_) failure_ = std::move(error);
    io_.stop();
  }

  void say(const std::string& line) {
    if (options_.log) options_.log(line);
  }

  RuntimeOptions options_;
  const Duration spin_;
  Instant awake_until_{};
  Instant last_came_{};
  PublishQueue published_;
  trust::Grants grants_;  // this node's, for the checks of publish()
  asio::io_context io_{1};
  asio::steady_timer timer_;
  asio::posix::stream_descriptor readable_;
  asio::posix::stream_descriptor beacon_readable_;
  std::optional<HomeLock> lock_;
  SystemEntropy entropy_;
  std::unique_ptr<FileStorage> files_;
  UdpSocket udp_;
  BeaconSocket beacons_;
  std::optional<trust::Directory> directory_;
  std::unique_ptr<PrefixStore> prefix_store_;
  std::unique_ptr<PackedStore> packed_store_;
  std::unique_ptr<EngineCompute> compute_;
  std::unique_ptr<quic::Endpoint> endpoint_;
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<StorageWorker> storage_;
  std::optional<Error> failure_;
  std::optional<Instant> leaving_since_;
  std::optional<env::OutgoingDatagrams> blocked_;
  Buffer held_;
  Instant next_interfaces_{};
  EnergyMeter energy_{"/sys", now()};
  std::uint64_t beacons_opened_ = 0;
  bool beacons_refused_ = false;  // and said so
  bool waiting_writable_ = false;
  bool turn_posted_ = false;
  std::vector<env::LinkBacklog> backlog_;   // of say_backlog(), whose room is used again
  std::vector<env::LinkBytes> link_bytes_;  // the same of say_link_bytes()
  Instant link_bytes_said_{};
  bool held_back_ = false;  // published, and refused for now
  bool armed_ = false;
  Instant armed_for_ = kNever;
};

Runtime::Runtime(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Runtime::~Runtime() = default;

Result<std::unique_ptr<Runtime>> Runtime::open(RuntimeOptions options) {
  auto loop = std::make_unique<Loop>(std::move(options));
  SEDGE_CHECK(loop->open());
  return std::unique_ptr<Runtime>(new Runtime(std::move(loop)));
}

Status Runtime::run() { return loop_->run(); }
void Runtime::post(Call call) { loop_->call(std::move(call)); }
Status Runtime::publish(std::string_view topic, Bytes payload, const mesh::PublishOptions& options) {
  return loop_->publish({topic, payload, options.reliable, options.priority,
                         options.lifespan ? now() + *options.lifespan : kNever, options.for_all});
}
void Runtime::stop() { loop_->stop(); }
void Runtime::turn() { loop_->turn(); }
asio::io_context& Runtime::io() { return loop_->io(); }
node::Node& Runtime::node() { return loop_->node(); }
env::Endpoint Runtime::listening() const { return loop_->listening(); }
const std::filesystem::path& Runtime::home() const { return loop_->home(); }
env::LinkStats Runtime::link_stats(NodeId peer) const { return loop_->endpoint().stats(peer); }

Energy Runtime::energy() { return loop_->energy(); }

TransportStats Runtime::transport() const {
  const quic::Counters& counters = loop_->endpoint().counters();
  TransportStats stats{.bytes_in = counters.bytes_in,
                       .bytes_out = counters.bytes_out,
                       .datagrams_in = counters.datagrams_in,
                       .datagrams_out = counters.datagrams_out,
                       .handshakes_refused = counters.handshakes_refused,
                       .frames_dropped = counters.queued_datagrams_dropped,
                       .links = 0};
  for (const mesh::Member& member : loop_->node().membership().members()) stats.links += member.linked ? 1 : 0;
  return stats;
}

}  // namespace sedge::platform
