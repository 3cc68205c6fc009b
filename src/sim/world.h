// The simulated world: whole nodes (node::Node, the very object that runs on a robot) on virtual time.
//
// One queue of events, ordered by (time, number): nothing else decides what happens next, and every chance is drawn
// from the seed, so that a run repeats bit for bit and a failure is its seed. What is modelled:
//   links     latency, jitter, bandwidth; loss is real for datagrams and a retransmission's delay for frames; frames
//             keep their order within a priority; a link whose peer is silent for 3 s times out; a process that has
//             gone while its machine lives refuses (as ICMP does)
//   cuts      asymmetric: what A sends to B may be lost while B is heard; frames wait, as QUIC would send them again
//   mobility  sim/mobility.h: who is out of range is cut off; or a recorded trace of who hears whom, sim/contacts.h
//   places    of nodes in a plane: who is farther away is heard later
//   disks     sim/disk.h under the real store: what was not synced is lost in a power cut, or when the disk fails
//   time      every node's monotonic clock starts elsewhere, some hours off, and drifts; there is no other clock
//   compute   sim/compute.h
//   quic      where asked, every link is a real connection: handshakes, retransmissions, congestion control, over
//             datagrams with the same latency, jitter, loss and bandwidth, and a queue of 100 ms before each. For
//             small fleets: all of them hold real connections. Else QUIC's bytes and congestion are not modelled
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "env/entropy.h"
#include "env/outbox.h"
#include "node/boot.h"
#include "node/node.h"
#include "sim/compute.h"
#include "sim/contacts.h"
#include "sim/disk.h"
#include "sim/mobility.h"
#include "sim/trace.h"

namespace sedge::sim {

struct LinkModel {
  Duration latency = 2ms;       // one way
  Duration jitter = 1ms;        // added, uniform
  double loss = 0;              // of packets
  Duration plane{};             // added to it: 0 to this, by the distance of two places drawn in a square
  double bytes_per_s = 12.5e6;  // each way
  double duplicate = 0;         // of datagrams
  double reorder = 0;           // of datagrams, delayed by up to:
  Duration reorder_by = 20ms;
  double burst_loss = 0;  // of packets while a direction of a link is bad: for about `burst`, about every `burst_every`
  Duration burst = 200ms;
  Duration burst_every = 10s;
  friend bool operator==(const LinkModel&, const LinkModel&) = default;
};

struct WorldOptions {
  std::size_t nodes = 5;
  std::uint64_t seed = 1;
  LinkModel link;
  Duration disk_sync = 3ms;        // a group commit takes between half of it and it
  MobilityModel mobility;          // from roam() to gather()
  std::vector<Contact> contacts;   // the same; none: everybody hears everybody
  Duration collect_every = 10min;  // of node::NodeOptions
  Duration collect_after = 24h;
  bool quic = false;  // links are real QUIC connections over simulated datagrams (world_quic.cc)
  bool pack = false;  // of node::NodeOptions; what packed bytes are depends on the zstd at hand, and so the trace hash
  node::PeerMeter::Options meter;  // of node::NodeOptions
  mesh::OverlayPolicy overlay;     // of node::NodeOptions
  std::size_t zones = 0;           // node i is configured to be of zone i modulo this; 0: of none
  bool consensus = false;          // node 0 founds the fleet's consensus group
  double clock_drift_ppm = 0;      // clocks run wrong by up to this much, each its own way
  Duration clock_skew{};           // some clocks are wrong by this, in one direction or the other:
  double clock_skew_share = 0;     // that part of them
  bool multicast = false;          // beacons reach everybody; else node 0 is everybody's seed
  std::vector<SimModel> models;    // what nodes offer,
  std::size_t models_from = 0;     // those from this one on
  friend bool operator==(const WorldOptions&, const WorldOptions&) = default;
};

struct SeenEvent {
  Instant at{};          // of the world
  std::size_t node = 0;  // who saw it
  mesh::MemberEvent event;
};

// A process that ended by itself: its disk failed.
struct Stop {
  Instant at{};
  std::size_t node = 0;
  Error why;
};

struct Counts {
  std::uint64_t events = 0;
  std::uint64_t frames = 0;
  std::uint64_t datagrams = 0;
  std::uint64_t bytes = 0;  // payloads, and 60 for each packet's headers
  std::uint64_t dials = 0;
  std::uint64_t too_slow = 0;  // links cut because their queue was full
};

class World {
 public:
  // What each node sees of the others and of its links, as it happens, for people. Not set: nothing is told.
  using Tell = std::function<void(Instant at, const std::string& node, const std::string& what)>;
  explicit World(WorldOptions options, Tell tell = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Instant now() const { return now_; }
  std::size_t size() const { return hosts_.size(); }
  NodeId id(std::size_t i) const;
  std::optional<std::size_t> index_of(NodeId id) const;
  bool up(std::size_t i) const;
  const node::Node& node(std::size_t i) const;

  // Starts or restarts a node from what its disk holds. Errors: those of the store.
  Status boot(std::size_t i);
  Status boot_all();
  // SIGKILL: the process is gone, the machine is not. Written files stay as they are.
  void kill(std::size_t i);
  // The power goes: nothing answers, and the disk loses what was not synced.
  void cut_power(std::size_t i);
  // The power goes within one of the next writes to the disk: after `changes` more of them.
  void cut_power_within_commit(std::size_t i, std::uint64_t changes);
  // The disk fails by itself: after `changes` more writes or syncs, each is an error. The node stops with it.
  void break_disk(std::size_t i, std::uint64_t changes);
  const std::vector<Stop>& stops() const { return stops_; }
  // The process does not run for a while (a stopped machine, a busy CPU); what comes in waits.
  void stall(std::size_t i, Duration time);
  // Its links carry no more than this, each way, from now on.
  void slow(std::size_t i, double bytes_per_s);
  // What `from` sends does not reach `to`. One direction.
  void cut(std::size_t from, std::size_t to);
  void partition(const std::set<std::size_t>& side);  // both directions between the side and the rest
  void heal();                                        // undoes all cuts
  bool any_cut() const { return !cuts_.empty(); }
  // Whether `to` hears `from`: nothing is cut, and its radio reaches so far.
  bool reaches(std::size_t from, std::size_t to) const {
    return !cuts_.contains({from, to}) && (!mobility_ || mobility_->in_range(from, to)) &&
           (!contacts_ || contacts_->hears(from, to));
  }
  // Both ends hear nothing for too long: what is under way on their link is lost, and both live. Requires: no quic.
  void break_link(std::size_t i, std::size_t j);
  // A member that lies: what it sends beside what its node sends, over a link that it has; and what becomes of what its
  // node sends (false: it is never sent). With its key it signs what it likes.
  void inject(std::size_t from, std::size_t to, Buffer frame);
  void tamper(std::size_t i, std::function<bool(std::size_t to, const env::Send& send)> passes);
  const trust::KeyPair& key(std::size_t i) const;
  const Buffer& chain(std::size_t i) const;
  // As the fleet's root signs it; to be inserted under trust::kRevocationPath.
  Buffer revocation(std::size_t i, trust::Cut cut) const;
  // The root's order that only these nodes vote from now on; for node::Node::force_quorum.
  Buffer quorum_order(const wire::ForcedQuorum& quorum) const;
  // Its state is gone, its key is not: a disk that was replaced.
  void lose_disk(std::size_t i);
  // Everybody drives off, as the model of mobility or the recorded contacts have it; and stands together again. Nothing
  // without either.
  void roam();
  void gather();

  // Calls a node as a client would, on its thread, and carries out what it wants.
  void act(std::size_t i, const std::function<void(node::Node&, Instant now)>& call);

  void run(Duration time);
  // Until `reached` holds (looked at every 10 ms); false when the limit came first.
  bool run_until(const std::function<bool()>& reached, Duration limit);

  // Every running node believes exactly the running ones alive, at the same incarnations.
  bool one_view() const;
  // Every running node holds the same replicated entries, whether or not it has collected what is erased.
  bool one_state() const;

  std::uint64_t trace() const { return trace_.value(); }
  const Counts& counts() const { return counts_; }
  std::uint64_t bytes_sent(std::size_t i) const;
  // Bytes that wait on the fullest link of a running node.
  std::size_t backlog(std::size_t i);
  // Of a running node, in a bucket of its disk. Errors: those of the store.
  Result<std::size_t> records(std::size_t i, std::string_view bucket);
  // What it took a node to find its first neighbour: its beacons, and a QUIC Initial for each dial from it or to it.
  // None before that neighbour is found.
  std::optional<std::uint64_t> discovery_bytes(std::size_t i) const;
  // The mean round trip of a datagram, in truth.
  Duration round_trip(std::size_t a, std::size_t b) const;
  // What its fleet clock shows now; none while it is not settled.
  std::optional<std::uint64_t> fleet_us(std::size_t i) const;
  std::vector<std::pair<std::size_t, std::size_t>> links() const;     // up at both ends, the smaller number first
  const std::vector<SeenEvent>& deaths() const { return deaths_; }    // verdicts, true or not
  const std::vector<SeenEvent>& returns() const { return returns_; }  // of those that the node had called dead

 private:
  struct Host;
  struct Pipe;  // one direction of a link
  struct Link;
  using Event = std::move_only_function<void()>;

  void at(Instant when, Event event);
  Instant local(const Host& host) const;
  Instant world_time(const Host& host, Instant local) const;  // the first at which its clock shows `local`
  void note_verdict(std::size_t i, const mesh::MemberEvent& event);
  void pump(std::size_t i);
  const std::vector<env::LinkBacklog>& backlogs(std::size_t i);
  void say_link_bytes(std::size_t i);
  bool carry_out(std::size_t i);
  env::AnswersWaiting answers_waiting(std::size_t i, NodeId peer);
  void take_frame(std::size_t i, NodeId from, Bytes frame, Instant shown);
  void arm(std::size_t i);
  void tick(std::size_t i, std::uint64_t life, Instant due);
  void commit(std::size_t i, std::uint64_t life);
  void finish_slice(std::size_t i, std::uint64_t life, std::uint64_t job, const env::SliceReport& report);
  void stop(std::size_t i, bool power);
  Duration way(std::size_t from, std::size_t to) const;  // the shortest flight
  Duration flight(std::size_t from, std::size_t to);
  double rate(std::size_t from, std::size_t to) const;  // bytes a second
  bool lost(Pipe& pipe, Duration later = {});

  // Over QUIC.
  Status open_endpoint(std::size_t i, BootEpoch epoch);
  bool hear(std::size_t i);
  void send_by_quic(std::size_t i, env::Send send);
  void dial_by_quic(std::size_t i, const env::Dial& dial);
  void send_packets(std::size_t i);
  void fly(std::size_t from, const env::Endpoint& remote, Bytes packet);
  void land(std::size_t from, std::size_t to, Bytes packet);

  // As a table.
  void transmit(std::size_t from, env::Send send);
  void carry(std::uint64_t link, std::size_t from, std::size_t to, env::Send send, Duration extra);
  void arrive(std::uint64_t link, std::size_t from, std::size_t to, const Buffer& frame);
  void acknowledge(std::uint64_t link, std::size_t from, std::size_t to);
  void see_life(std::uint64_t link, std::size_t from, std::size_t to);
  void connect(std::size_t from, const env::Dial& dial);
  void meet(std::size_t from, std::uint64_t life, std::size_t to, const env::Endpoint& address);
  void fail_dial(std::size_t from, const env::Endpoint& address, Duration after, const std::string& reason);
  void link_down(std::uint64_t link, std::size_t end, env::LinkDown reason);
  void sweep();
  void beacon(std::size_t from, const Buffer& bytes);
  void draw_clocks();
  void release();
  void move();
  void meet_as_recorded();
  void count_discovery(std::size_t i, std::uint64_t bytes);

  WorldOptions options_;
  Tell tell_;
  Prng prng_;
  Instant now_{};
  std::uint64_t number_ = 0;
  struct Queued {  // a heap of these, the next one first; what happens lies in events_, which does not move with them
    Instant when{};
    std::uint64_t number = 0;
    std::uint32_t event = 0;
    friend bool operator<(const Queued& a, const Queued& b) {
      return std::tie(b.when, b.number) < std::tie(a.when, a.number);
    }
  };
  std::vector<Queued> queue_;
  std::vector<Event> events_;
  std::vector<std::uint32_t> events_free_;
  trust::KeyPair root_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::unordered_map<NodeId, std::size_t> index_;
  std::deque<Link> links_;             // all that ever were, by number: an event may come after its link has gone
  std::vector<std::uint64_t> in_use_;  // those of them with an end that is up
  std::set<std::pair<std::size_t, std::size_t>> cuts_;
  std::shared_ptr<trust::Directory::Shared> shared_ = trust::Directory::make_shared();
  Trace trace_;
  Counts counts_;
  std::vector<SeenEvent> deaths_, returns_;
  std::set<std::pair<std::size_t, NodeId>> called_dead_;
  std::vector<Stop> stops_;
  std::vector<env::LinkBacklog> backlogs_;  // of the host that is looked at,
  std::vector<env::LinkBytes> link_bytes_;  // and what its links have carried
  std::optional<Mobility> mobility_;        // while they drive about
  std::optional<Contacts> contacts_;        // the same
};

}  // namespace sedge::sim
