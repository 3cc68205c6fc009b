// Who is in the fleet, and who has just died.
//
// Problem: a node killed with SIGKILL must be known to every survivor within 3 s, while a node that stalls for 1.5 s,
// or a radio that loses every twentieth packet, must kill nobody. And nobody is dialled merely to see whether a
// neighbour lives; who has no links to all dials one more member a minute, and after many deaths at once every 3 s, for
// a death that no neighbour of it survived to tell.
//
// Idea: SWIM (Das, Gupta, Motivala 2002) over the links that are open anyway. Each node asks every neighbour that it
// has not heard for 450 ms for a sign of life, an empty datagram that the other end's link acknowledges, and probes it
// every 2 s for its clock and its digest. Silence is tried again over the reliable stream and through three others;
// then the subject is *suspected*, in public, and has until kDead to refute with a higher incarnation. News floods over
// the links in batches of 10 ms, so it is everywhere in a few round trips. A member's own statements are signed;
// suspicions are not, since the subject answers them. Our own lateness is discounted: a node that was stalled itself
// gives the others the time back before it judges (Lifeguard: Dadgar, Phillips, Currey 2018).
//
// The same core keeps the overlay by one of the rules of mesh/overlay.h. Without another it is a partial view as in
// HyParView (Leitao, Pereira, Rodrigues 2007), whose passive view is the whole table here: min(N-1, 5) links are
// dialled, by the smaller id first, and above 6 those to the best linked neighbours are closed. Lost members and seeds
// are dialled for ever with back-off (2 s to 15 s, jittered), so that a split fleet merges again by itself; one link is
// renewed now and then at random, so that two halves that lost sight of each other without a broken link meet.
//
// What gossip did not bring is found by digests: each probe carries one of the whole table; where two differ, 64 of its
// parts are compared, and only the rows of parts that differ are sent.
//
// A member that died or left a quarter of an hour ago shrinks to (id, boot epoch, incarnation): enough to know an old
// claim from a return, which brings the rest again. Only the addresses of some such members stay, to be dialled now and
// then: a fleet that was split for a day must find itself again, and may have no seeds.
//
// Rejected: probing a random member (dials to probe); one probe a period whatever the number of neighbours (SWIM's own;
// with 8 of them it takes seconds to come round); a coordinator (it dies first).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "crdt/hlc.h"
#include "env/endpoint.h"
#include "env/link.h"
#include "env/outbox.h"
#include "mesh/coordinates.h"
#include "mesh/overlay.h"
#include "trust/directory.h"
#include "trust/keys.h"
#include "wire/membership_messages.h"
#include "wire/message_type.h"

namespace sedge::mesh {

using wire::MemberState;

// One row of the table that everybody keeps.
struct Member {
  NodeId id;
  std::string name;
  BootEpoch epoch;
  Incarnation incarnation;
  std::uint64_t instance = 0;
  MemberState state = MemberState::kAlive;
  std::vector<env::Endpoint> endpoints;  // as it says itself; then the address that we saw it at
  Instant since{};                       // of the present state
  bool linked = false;
  std::uint64_t revision = 0;                  // of the record, within its incarnation
  std::optional<wire::Coordinate> coordinate;  // where it is in the plane of round trips, as it says itself
  std::optional<wire::OverlayRole> overlay;    // its rule, its zone, and how fit it is to be a gateway
  bool shrunk = false;  // long dead or gone: name, instance, endpoints and coordinate are forgotten
};

struct MemberEvent {
  enum class Kind : std::uint8_t {
    kUp,         // heard of for the first time, or back from the dead or from a leave
    kRestarted,  // alive with a higher boot epoch: what the old process held is gone
    kUpdated,    // new endpoints or name
    kSuspect,
    kDown,   // it did not refute: dead
    kLeft,   // it said goodbye
    kClone,  // its key runs twice, from a copied home. When it is our own key and we are the older or smaller
             // instance, `self` is true: stop this process, the other one goes on
  };
  Kind kind = Kind::kUp;
  NodeId id;
  std::string name;
  BootEpoch epoch;
  bool self = false;
  std::string detail;  // for people: why, where
};
std::string_view event_name(MemberEvent::Kind kind);

class Membership {
 public:
  struct Options {
    NodeId self;
    std::string name;
    BootEpoch epoch;                       // persisted before it is used here
    std::uint64_t seed = 0;                // from env::Entropy: instance number, and the order of probes and dials
    std::vector<env::Endpoint> endpoints;  // where we can be dialled
    std::vector<env::Endpoint> seeds;      // whom to dial with nobody known

    OverlayPolicy overlay;            // which links are wanted; of what is too much a quarter is closed each second
    std::string zone;                 // ours, where it is configured; at most kZoneBytesMax
    std::uint16_t gateway_rank = 0;   // what this machine can carry, up to kGatewayRankMax
    std::size_t members_max = 4096;   // above: the longest dead are forgotten, then newcomers refused
    Duration silence_max = 450ms;     // a neighbour not heard for so long is asked for a sign of life
    Duration turn_wait = 50ms;        // later, by the end whose turn it is not
    Duration probe_together = 100ms;  // those who would be due so soon are probed with it: one wake-up for all
    Duration probe_interval_first = 200ms;  // the first neighbours of a node that starts
    Duration probe_interval_max = 2s;       // all neighbours, for clocks and digests
    Duration probe_timeout_min = 50ms;      // the first probe waits 4 round trips within these
    Duration probe_timeout_max = 250ms;
    Duration second_chance = 250ms;      // for the reliable and the indirect probes
    Duration suspicion = 1600ms;         // to refute; a stall of 1.5 s ends before it
    Duration suspicion_refused = 300ms;  // when its own machine says that nobody listens at its port
    Duration gossip_delay = 10ms;        // news waits this long for more news
    Duration settling = 500ms;           // digests may differ for so long after news: it is on its way to others
    Duration persist_delay = 2s;         // addresses wait this long for more of them on the way to disk
    Duration refresh_interval = 60s;     // one link more, at random, where not all are linked
    Duration retry_min = 2s;             // back-off for lost members and seeds
    Duration retry_max = 15s;
    Duration shrink_after = 15min;       // what is known of the dead and of those who left, beyond who they were
    std::size_t landmarks_max = 16;      // addresses of such members that stay: to be dialled, now and then
    Duration coordinate_interval = 10s;  // at most so often a node tells everybody that its coordinate has moved,
    Duration coordinate_share = 500ms;   // and at most so often for each member: 2 a second in the whole fleet

    // Verifies a certificate chain and remembers it (trust::Directory::add of the node's directory). Not set:
    // certificates must be in the directory already.
    std::function<Status(Bytes chain)> learn_certificate;
    // A member has shrunk: its certificate is not needed for membership any more.
    std::function<void(NodeId)> forget_certificate;
    // Whether newcomers' records, which bring a certificate, go along the link to this neighbour; those who miss one
    // find it by the digests. Not set: along all links, as everything else.
    std::function<bool(NodeId)> of_tree;
    // Our fleet clock, told in answers to probes; 0 while it is not settled. Not set: never told.
    std::function<std::uint64_t(Instant now)> fleet_us;
    // What another node's clocks showed half a round trip ago, by a probe.
    std::function<void(NodeId, const crdt::FleetClock::Exact& reading, Instant now)> clock_sample;
  };

  // `key` and `directory` outlive this.
  Membership(Options options, const trust::SecretKey& key, const trust::Directory& directory);

  // A record that drain() handed out under kBucket in an earlier life: whom to dial after a restart. Before start().
  static constexpr const char* kBucket = "member";
  Status load(Bytes key, Bytes value);
  void start(Instant now);

  void on_link_up(const env::PeerInfo& peer, Instant now);
  void on_link_down(NodeId peer, env::LinkDown reason, Instant now);
  void on_dial_failed(const env::DialFailure& failure, Instant now);
  // A beacon named an address worth dialling. At most one dial an address in 5 s, five in any second, without a link
  // one in half a second; of many members that hear it two dial, on average.
  void on_hint(const env::Endpoint& address, Instant now);
  // Any frame or datagram from a neighbour came, for whichever core: it lives.
  void on_heard(NodeId peer, Instant now);
  // An empty datagram came: it asks for a sign of life, or tells that ours was acknowledged.
  void on_life(NodeId peer, Instant now);
  // When its link last carried anything: then it lived, whether or not a frame of it was whole.
  void on_carried(NodeId peer, Instant heard);
  // Types kMemberSync to kMemberLink. Errors: DataLoss: malformed or badly signed: count it against `from`.
  Status on_message(NodeId from, wire::MessageType type, Bytes body, Instant now);
  // Somebody has work to do with a living member: it is dialled unless linked, and for `time` the link is not pruned.
  void want_link(NodeId id, Duration time, Instant now);
  // The directory has revoked it: it is out, whatever it says.
  void on_revoked(NodeId id, Instant now);
  // Interfaces came or went.
  void set_endpoints(std::vector<env::Endpoint> endpoints, Instant now);
  // Tells everybody that we go. Links are closed by the node once the outbox is sent.
  void leave(Instant now);

  void on_timer(Instant now);
  Instant next_deadline() const;
  void drain(env::Outbox& out);
  std::optional<MemberEvent> poll();

  // Everybody ever heard of and not forgotten, ourselves included, by id.
  std::vector<Member> members() const;
  std::optional<Member> find(NodeId id) const;
  // Alive or suspect members, ourselves included.
  std::size_t alive() const;
  std::vector<NodeId> neighbours() const;                // linked now, by id
  std::optional<MemberState> state_of(NodeId id) const;  // find() without the copy
  bool linked(NodeId id) const { return links_.contains(id); }
  // Equal on two nodes that believe the same members alive at the same incarnations.
  std::uint64_t digest() const;
  // Smoothed round trip of probes; zero when not measured.
  Duration rtt(NodeId peer) const;
  // The least of them since the link came up; zero when not measured.
  Duration least_rtt(NodeId peer) const;
  // The same; of a member without a link, what the coordinates tell. Zero: neither is known.
  Duration round_trip(NodeId id) const;
  std::optional<wire::Coordinate> coordinate() const { return coordinates_.place(); }
  // Of a neighbour, the part of packets each way that probes found lost; 0 where nothing was measured.
  double loss(NodeId peer) const;
  const OverlayPolicy& overlay() const { return options_.overlay; }
  // Of the rules that have gateways: whether it is one.
  bool gateway(NodeId id) const { return gateways_.contains(id); }
  // Newcomers that found the table full of living members: they are not in it.
  std::uint64_t refused() const { return refused_; }

 private:
  struct Entry {
    Member member;
    wire::SignedMember proof;           // as the subject signed it; passed on unchanged
    std::optional<env::Endpoint> seen;  // where a link to it ended: dialled like those that it names
    Instant dial_after{};
    Duration dial_pause{};          // doubled by each failed dial
    std::size_t failed = 0;         // dials, since the last link
    std::size_t dialled = 0;        // endpoints are tried in turn
    std::uint64_t counted = 0;      // what it adds to its bucket's digest
    std::uint64_t clone_named = 0;  // the other instance that an event has told of
    Instant revised{};              // when the last revision came
  };
  struct Link {
    env::Endpoint address;
    Instant heard{};
    Instant probed{};
    bool put_off = false;  // what `probed` says since then, once
    Instant synced{};
    Duration rtt{};  // smoothed; zero: not measured
    Duration least_rtt{};
    std::size_t links = 0;           // that the peer has, as it says
    std::uint64_t probe_number = 0;  // of the latest probe, sent at `probed`
    bool answered = false;
    bool their_turn = false;     // to ask for the next sign of life
    bool asked_twice = false;    // the latest probe had a second chance: the first one was lost
    double lost = 0;             // of probes and their answers, smoothed
    std::uint32_t measured = 0;  // probes that this rests on, up to kLossProbes
    Instant up{};
    bool wanted_there = true;  // the peer's overlay wants it, as it says
    std::optional<bool> told;  // what we said of ours
    bool parting = false;      // it said that it leaves
  };
  struct Probing {
    std::uint64_t number = 0;
    Instant sent{};
    Instant second_at{};
    Instant suspect_at{};
    bool second_sent = false;
  };
  struct Favour {  // a probe on behalf of another
    NodeId asker;
    std::uint64_t number = 0;
    NodeId target;
    Instant until{};
  };
  struct News {
    NodeId source;  // it need not be told
    bool record = false;
    bool chain = false;
    bool aside = false;  // a revision: along the tree alone, and nobody looks for one that was lost
  };
  struct Dialling {
    NodeId expected;
    Instant until{};
  };

  // The table (membership_table.cc).
  void sign_self();
  void put_self(Instant now);
  Status apply_record(NodeId from, const wire::SignedMember& proof, Instant now);
  Status verify_record(const wire::MemberRecord& record, const wire::SignedMember& proof) const;
  void accept(NodeId from, const wire::MemberRecord& record, const wire::SignedMember& proof, Instant now);
  void on_own_record(const wire::MemberRecord& record, Instant now);
  void apply_rumour(NodeId from, const wire::Rumour& rumour, Instant now);
  void refute(Incarnation at_least, Instant now);
  void suspect(NodeId id, NodeId source, Duration to_refute, std::string why, Instant now);
  void declare_dead(NodeId id, NodeId source, std::string why, Instant now);
  void name_clone(Entry& entry, const wire::MemberRecord& record);
  void revise(NodeId from, Entry& entry, const wire::MemberRecord& record, const wire::SignedMember& proof,
              Instant now);
  void tell_coordinate(Instant now);
  bool make_room(Instant now);
  void shrink_round(Instant now);
  void shrink(Entry& entry, Instant now);
  void trim_remembered(Instant now);
  void forget(NodeId id, Instant now);
  void event(MemberEvent::Kind kind, const Entry& entry, std::string detail);
  void spread(NodeId id, News news, Instant now);
  void flush_news();
  void persist(NodeId id, Instant now);
  void flush_records();
  void recount(Entry& entry, Instant now);
  wire::MemberSync summary(std::uint64_t buckets, bool answer) const;
  void send_gossip(NodeId to, const wire::MemberGossip& gossip);
  static wire::Rumour rumour_of(const Entry& entry);

  // Messages (membership.cc).
  template <class T>
  void send(NodeId to, wire::MessageType type, const T& message, bool datagram = false);
  void on_digests(NodeId from, const wire::MemberDigests& digests);
  Status on_sync(NodeId from, const wire::MemberSync& sync, Instant now);
  Status on_gossip(NodeId from, const wire::MemberGossip& gossip, Instant now);
  Status on_probe(NodeId from, const wire::Probe& probe, Instant now);
  Status on_ack(NodeId from, const wire::ProbeAck& ack, Instant now);
  Status on_probe_request(NodeId from, const wire::ProbeRequest& request, Instant now);
  void compare_digest(NodeId from, std::uint64_t theirs, Instant now);

  // Probing (membership.cc).
  void discount_lateness(Instant now);
  bool is_young(Instant now) const;
  bool is_to_be_learnt(const Link& link) const;
  Instant probe_due(const Link& link) const;
  Instant life_due(const Link& link) const;
  bool hears(const Link& link, Instant now) const;
  wire::Probe probe(std::uint64_t number, bool again) const;
  void probe_round(Instant now);
  void follow_probes(Instant now);
  void judge_suspects(Instant now);
  Duration patience(const Link& link) const;
  static void measure_loss(Link& link, bool lost);

  // The overlay (membership_overlay.cc); of rules that name their links, and what others must know for it
  // (membership_policy.cc).
  bool names_links() const { return options_.overlay.names_links(); }
  std::size_t links_max() const;
  std::size_t links_wanted() const;
  void dial_strangers(std::size_t wanted, Instant now);
  void dial_called(Instant now);
  std::vector<OverlayPeer> living() const;
  void choose_links(Instant now);
  void dial_chosen(Instant now);
  void note_vain_dial(NodeId id, Instant now);
  void tell_wanted();
  void prune_chosen(Instant now);
  bool overlay_at_rest() const;
  wire::OverlayRole role(Instant now) const;
  void review_role(Instant now);
  void choose_anew(Instant now);
  void dial_round(Instant now);
  void dial_lost(Instant now);
  void refresh_overlay(Instant now);
  void mix_after_many_deaths(Instant now);
  Duration until_refresh(Instant now);
  void prune_overlay(Instant now);
  bool dial(const env::Endpoint& address, NodeId expected, Instant now);
  bool dial_member(Entry& entry, Instant now);
  static std::vector<env::Endpoint> ways_to(const Entry& entry);
  bool in_sight(const env::Endpoint& address);
  bool is_own(const env::Endpoint& address) const;
  Duration jittered(Duration about);

  Options options_;
  const trust::SecretKey& key_;
  const trust::Directory& directory_;
  Prng prng_;
  Coordinates coordinates_;
  std::uint64_t instance_ = 0;
  bool started_ = false;
  bool superseded_ = false;  // another process goes on with our key
  bool leaving_ = false;

  std::map<NodeId, Entry> entries_;
  std::map<NodeId, Link> links_;
  std::map<NodeId, Probing> probings_;
  std::map<std::uint64_t, Favour> favours_;
  std::map<NodeId, Instant> suspects_;  // until when each may refute
  std::set<NodeId> dead_;
  NodeId last_in_sight_;
  std::map<NodeId, News> news_;
  std::set<NodeId> unwritten_;  // changed or forgotten, and not on its way to disk
  // Of an earlier life and not heard of in this one, or shrunk: where somebody may be.
  std::map<NodeId, std::vector<env::Endpoint>> remembered_;
  std::map<env::Endpoint, Dialling> dialling_;
  Instant deaths_since_{};  // the first of those that came close together,
  std::size_t deaths_ = 0;  // and how many they are
  Instant mixing_until_{};
  NodeId called_;              // a member drawn to be called until it answers or is suspected; zero: none
  std::set<NodeId> chosen_;    // by a rule that names its links
  std::set<NodeId> gateways_;  // by a rule that has some
  bool choice_stale_ = true;
  Instant next_choice_{};
  Instant next_role_ = kNever;
  Instant role_changed_{};
  Instant started_at_{};
  std::map<NodeId, Instant> wanted_;         // links with work on them, until when they are kept
  std::map<env::Endpoint, Instant> hinted_;  // not to be dialled on a hint before
  std::size_t alive_ = 0;
  std::array<std::uint64_t, wire::kMemberBuckets> buckets_{};  // digests of the table's parts
  std::uint64_t digest_ = 0;                                   // all of them
  Instant changed_{};                                          // when they did
  std::uint64_t probe_number_ = 0;
  std::uint64_t refused_ = 0;

  Instant next_probe_ = kNever;
  Instant next_news_ = kNever;
  Instant next_write_ = kNever;
  Instant next_dial_ = kNever;
  Instant next_retry_ = kNever;
  Instant next_refresh_ = kNever;
  Instant next_shrink_ = kNever;
  Instant next_tell_ = kNever;
  bool turn_drawn_ = false;  // when we first tell of our coordinate
  int turns_untold_ = 0;     // since we last did
  Instant next_prune_{};
  Instant hint_second_{};
  std::size_t hints_this_second_ = 0;
  Instant next_lonely_hint_{};
  Duration retry_pause_{};

  env::Outbox out_;
  std::deque<MemberEvent> events_;
};

template <class T>
void Membership::send(NodeId to, wire::MessageType type, const T& message, bool datagram) {
  out_.sends.push_back({to, env::Priority::kControl, datagram, wire::frame(type, message)});
}

}  // namespace sedge::mesh
