// A machine without a certificate joins a fleet through an issuer's endpoint, and everything that must not join so.
#include <set>

#include <gtest/gtest.h>

#include "quic/endpoint.h"
#include "quic/testing.h"
#include "wire/codec.h"

namespace sedge::quic {
namespace {

using env::Priority;
using testing::at;
using testing::pattern;
using testing::Process;
using testing::RawPeer;
using testing::World;

// `b` of the world is the issuer's node: it holds the book and answers as the node core would.
struct JoinWorld : World {
  JoinWorld() {
    Options issuing = options(second);
    issuing.accept_joins = true;
    issuer = &net.start(std::move(issuing), at(5));
  }

  trust::Invitation invite() {
    trust::InvitationBook::Issue issue;
    issue.issuer = fleet.issuer.public_key;
    issue.root = trust::fingerprint(fleet.root.public_key);
    issue.seeds = {"10.0.0.5:7334"};
    return book.invite(issue, fleet.source).value().invitation;
  }

  // Answers what came in, as often as the issuer was asked.
  void answer() {
    for (const JoinRequestIn* in : issuer->all<JoinRequestIn>()) {
      if (!answered.insert(in->handle).second) continue;
      const auto invited = book.check(in->request, in->exporter);
      if (!invited) {
        EXPECT_TRUE(issuer->endpoint->answer_join(in->handle, trust::JoinRefusal{invited.error().message}, net.now));
        continue;
      }
      book.spend(in->request);
      const auto grant = trust::make_grant({fleet.issuer.secret, fleet.issuer_certificate}, fleet.root.public_key,
                                           *invited, in->request, 100, fleet.secret, {"10.0.0.5:7334"}, in->exporter);
      EXPECT_TRUE(issuer->endpoint->answer_join(in->handle, grant.value(), net.now));
    }
  }

  Process& join(const trust::Invitation& invitation, const trust::KeyPair& keys, std::uint8_t host) {
    Options bare;
    bare.key = keys.secret.clone();
    Process& joiner = net.start(std::move(bare), at(host));
    EXPECT_TRUE(joiner.endpoint->dial_join(issuer->address, invitation, "newcomer", net.now));
    net.run(5s, [&] {
      answer();
      return joiner.last<JoinGranted>() != nullptr || joiner.last<DialFailed>() != nullptr;
    });
    return joiner;
  }

  trust::InvitationBook book;
  std::set<JoinHandle> answered;
  Process* issuer = nullptr;
};

TEST(Join, the_right_secret_gives_a_certificate_that_links) {
  JoinWorld w;
  const auto keys = trust::KeyPair::generate(w.fleet.source);
  Process& joiner = w.join(w.invite(), keys, 30);
  ASSERT_NE(joiner.last<JoinGranted>(), nullptr);
  const trust::JoinGrant& grant = joiner.last<JoinGranted>()->grant;
  EXPECT_EQ(grant.fleet_secret, w.fleet.secret);
  w.net.run(2s);
  EXPECT_TRUE(joiner.all<DialFailed>().empty());
  EXPECT_EQ(w.issuer->endpoint->connections(), 0u);
  EXPECT_TRUE(w.issuer->all<LinkUp>().empty());

  Options enrolled;
  enrolled.key = keys.secret.clone();
  enrolled.chain = grant.chain;
  enrolled.directory = &w.directory;
  Process& node = w.net.start(std::move(enrolled), at(31));
  ASSERT_TRUE(node.endpoint->dial({w.a->address, w.first.id}, w.net.now));
  EXPECT_TRUE(w.net.run(2s, [&] { return w.a->last<LinkUp>() != nullptr; }));
}

TEST(Join, a_wrong_secret_is_refused_with_a_reason_for_people) {
  JoinWorld w;
  trust::Invitation invitation = w.invite();
  invitation.secret[3] ^= 1;
  Process& joiner = w.join(invitation, trust::KeyPair::generate(w.fleet.source), 30);
  EXPECT_EQ(joiner.last<JoinGranted>(), nullptr);
  EXPECT_NE(joiner.last<DialFailed>()->failure.reason.find("ask for a new one"), std::string::npos);
}

TEST(Join, a_member_that_wants_a_new_key_says_whom_it_was) {
  JoinWorld w;
  const auto next = trust::KeyPair::generate(w.fleet.source);
  const trust::Rotation rotation = trust::sign_rotation(w.first.keys.secret, next.public_key, {{3}, {14}});
  Options bare;
  bare.key = next.secret.clone();
  Process& joiner = w.net.start(std::move(bare), at(30));
  ASSERT_TRUE(joiner.endpoint->dial_join(w.issuer->address, w.invite(), "it", w.net.now, rotation));
  ASSERT_TRUE(w.net.run(5s, [&] {
    w.answer();
    return joiner.last<JoinGranted>() != nullptr;
  }));
  ASSERT_EQ(w.issuer->all<JoinRequestIn>().size(), 1u);
  EXPECT_EQ(w.issuer->last<JoinRequestIn>()->rotation, rotation);
  EXPECT_EQ(w.issuer->last<JoinRequestIn>()->request.key, next.public_key);
}

TEST(Join, a_spent_secret_serves_only_the_machine_that_spent_it) {
  JoinWorld w;
  const trust::Invitation invitation = w.invite();
  const auto keys = trust::KeyPair::generate(w.fleet.source);
  ASSERT_NE(w.join(invitation, keys, 30).last<JoinGranted>(), nullptr);
  EXPECT_EQ(w.join(invitation, trust::KeyPair::generate(w.fleet.source), 31).last<JoinGranted>(), nullptr);
  EXPECT_NE(w.join(invitation, keys, 32).last<JoinGranted>(), nullptr) << "its answer may have been lost on the way";
}

TEST(Join, a_node_that_is_no_issuer_takes_no_joins) {
  JoinWorld w;
  Options bare;
  bare.key = trust::KeyPair::generate(w.fleet.source).secret.clone();
  Process& joiner = w.net.start(std::move(bare), at(30));
  ASSERT_TRUE(joiner.endpoint->dial_join(w.a->address, w.invite(), "newcomer", w.net.now));
  ASSERT_TRUE(w.net.run(2s, [&] { return joiner.last<DialFailed>() != nullptr; }));
  EXPECT_NE(joiner.last<DialFailed>()->failure.reason.find("only issuers"), std::string::npos);
  EXPECT_EQ(joiner.endpoint->dial({w.a->address, {}}, w.net.now).error().code, Code::kFailedPrecondition);
}

TEST(Join, a_joiner_says_nothing_to_another_fleet) {
  JoinWorld w;
  trust::testing::Fleet other(99);
  trust::Invitation foreign = w.invite();
  foreign.root = trust::fingerprint(other.root.public_key);
  Process& joiner = w.join(foreign, trust::KeyPair::generate(w.fleet.source), 30);
  EXPECT_NE(joiner.last<DialFailed>()->failure.reason.find("another fleet"), std::string::npos);
  EXPECT_TRUE(w.issuer->events.empty());
}

// A joiner that reached the issuer and now sends `frame` on `priority`.
void push_after_joining(JoinWorld& w, Priority priority, const Buffer& frame) {
  const auto keys = trust::KeyPair::generate(w.fleet.source);
  RawPeer peer(w.net, at(66), keys.secret, wire::encode(TlsIdentity{}));
  peer.dial(w.issuer->address, Protocol::kJoin);
  w.net.run(200ms);
  ASSERT_TRUE(peer.connection->confirmed());
  peer.connection->push(priority, frame);
  peer.pump();
  w.net.run(200ms);
  EXPECT_TRUE(peer.connection->ended());
  EXPECT_TRUE(w.issuer->events.empty());
  w.net.run(2s);
  EXPECT_EQ(w.issuer->endpoint->connections(), 0u);
}

TEST(Join, a_joiner_that_asks_for_anything_else_is_cut_off) {
  JoinWorld w;
  push_after_joining(w, Priority::kNormal, pattern(100, 1));  // a frame of sedge/1
  push_after_joining(w, Priority::kControl, {16, 1, 2, 3});   // an unknown message
  push_after_joining(w, Priority::kControl, pattern(env::kFrameBytesMax, 1));
  push_after_joining(w, Priority::kControl, {2, 0});  // the issuer's own answer
  trust::JoinRequest foreign;                         // a request for a key that TLS did not prove
  foreign.key = w.first.keys.public_key;
  Buffer frame = wire::encode(foreign);
  frame.insert(frame.begin(), 1);
  push_after_joining(w, Priority::kControl, frame);
}

TEST(Join, a_bare_certificate_gets_no_link) {
  JoinWorld w;
  const auto keys = trust::KeyPair::generate(w.fleet.source);
  RawPeer peer(w.net, at(66), keys.secret, wire::encode(TlsIdentity{}));
  peer.dial(w.issuer->address, Protocol::kLink);
  w.net.run(500ms);
  EXPECT_FALSE(peer.connection->confirmed());
  EXPECT_TRUE(w.issuer->events.empty());
}

TEST(Join, a_recorded_proof_is_worthless_on_another_connection) {
  JoinWorld w;
  const trust::Invitation invitation = w.invite();
  const auto keys = trust::KeyPair::generate(w.fleet.source);
  // The issuer dies before it answers; somebody has the request and even the joiner's key.
  Options bare;
  bare.key = keys.secret.clone();
  Process& joiner = w.net.start(std::move(bare), at(30));
  ASSERT_TRUE(joiner.endpoint->dial_join(w.issuer->address, invitation, "newcomer", w.net.now));
  ASSERT_TRUE(w.net.run(2s, [&] { return w.issuer->last<JoinRequestIn>() != nullptr; }));
  const trust::JoinRequest recorded = w.issuer->last<JoinRequestIn>()->request;

  RawPeer thief(w.net, at(66), keys.secret, wire::encode(TlsIdentity{}));
  thief.dial(w.issuer->address, Protocol::kJoin);
  w.net.run(200ms);
  Buffer frame = wire::encode(recorded);
  frame.insert(frame.begin(), 1);
  thief.connection->push(Priority::kControl, frame);
  thief.pump();
  ASSERT_TRUE(w.net.run(1s, [&] { return w.issuer->all<JoinRequestIn>().size() == 2; }));
  const JoinRequestIn& replayed = *w.issuer->last<JoinRequestIn>();
  EXPECT_EQ(replayed.request, recorded);
  EXPECT_EQ(w.book.check(replayed.request, replayed.exporter).error().code, Code::kUnauthenticated);
}

TEST(Join, joins_that_hang_are_bounded_in_number_and_time) {
  JoinWorld w;
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (std::uint16_t port = 1; port <= 12; ++port) {
    const auto keys = trust::KeyPair::generate(w.fleet.source);
    peers.push_back(std::make_unique<RawPeer>(w.net, at(66, port), keys.secret, wire::encode(TlsIdentity{})));
    peers.back()->dial(w.issuer->address, Protocol::kJoin);
    w.net.run(100ms);
  }
  const auto open = std::count_if(peers.begin(), peers.end(), [](const auto& p) { return p->connection->confirmed(); });
  EXPECT_EQ(open, 8);
  w.net.run(15s);
  EXPECT_EQ(w.issuer->endpoint->connections(), 0u);
}

}  // namespace
}  // namespace sedge::quic
