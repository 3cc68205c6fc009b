// Peers that should get nothing: no event, no byte of application data, and no more of our memory than the bounds say.
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
using trust::testing::Fleet;
using trust::testing::Member;

Buffer extension(const Buffer& chain) { return wire::encode(TlsIdentity{chain, {7}, 99}); }

// A raw peer dials `b` and pushes what it can; `b` must have refused it, and said nothing to its node.
void expect_refused(World& w, const trust::SecretKey& key, Bytes shown) {
  RawPeer peer(w.net, at(66), key, shown);
  peer.dial(w.b->address);
  for (int i = 0; i < 20; ++i) {
    w.net.run(50ms);
    peer.pump();
  }
  EXPECT_FALSE(peer.connection->confirmed());
  EXPECT_TRUE(peer.connection->ended());
  EXPECT_TRUE(w.b->events.empty());
  EXPECT_EQ(w.b->endpoint->counters().handshakes_refused, 1u);
  EXPECT_EQ(w.b->endpoint->half_open(), 0u);
  w.net.run(3s);
  EXPECT_EQ(w.b->endpoint->connections(), 0u);
}

TEST(Hostile, a_stranger_without_a_chain_is_refused_in_the_handshake) {
  World w;
  expect_refused(w, w.fleet.enrol("x").keys.secret, {});
}

TEST(Hostile, a_stranger_with_an_empty_or_nonsensical_chain_is_refused) {
  World w;
  expect_refused(w, w.fleet.enrol("x").keys.secret, extension({}));
  World v;
  expect_refused(v, v.fleet.enrol("x").keys.secret, pattern(300, 7));
}

TEST(Hostile, a_node_of_another_fleet_is_refused) {
  World w;
  Fleet other(77);
  const Member stranger = other.enrol("stranger");
  expect_refused(w, stranger.keys.secret, extension(stranger.encoded));
}

TEST(Hostile, a_chain_that_belongs_to_another_key_is_refused) {
  World w;
  const auto own = trust::KeyPair::generate(w.fleet.source);
  expect_refused(w, own.secret, extension(w.first.encoded));
}

TEST(Hostile, a_node_that_signed_its_own_certificate_is_refused) {
  World w;
  Member forged = w.fleet.enrol("forged");
  forged.chain.node.grants = trust::Grants::of_an_issuer();
  trust::sign_certificate(forged.chain.node, forged.keys.secret);
  forged.chain.node.issuer = w.fleet.issuer.public_key;
  expect_refused(w, forged.keys.secret, extension(trust::encode_chain(forged.chain)));
}

TEST(Hostile, a_revoked_node_is_refused_and_told_so) {
  World w;
  ASSERT_TRUE(w.directory.revoke(w.fleet.revoke(w.second)));
  expect_refused(w, w.second.keys.secret, extension(w.second.encoded));
  ASSERT_TRUE(w.b->endpoint->dial({w.a->address, {}}, w.net.now));
  ASSERT_TRUE(w.a->endpoint->dial({w.b->address, {}}, w.net.now));
  w.net.run(2s);
  EXPECT_FALSE(w.a->endpoint->linked(w.second.id));
  ASSERT_NE(w.a->last<DialFailed>(), nullptr);
  EXPECT_NE(w.a->last<DialFailed>()->failure.reason.find("was revoked"), std::string::npos);
}

TEST(Hostile, a_node_revoked_while_connected_is_cut_off_at_once) {
  World w;
  ASSERT_TRUE(w.link());
  ASSERT_TRUE(w.directory.revoke(w.fleet.revoke(w.second)));
  const Instant revoked = w.net.now;
  ASSERT_TRUE(w.net.run(2s, [&] { return w.a->last<LinkDown>() != nullptr; }));
  EXPECT_EQ(w.a->last<LinkDown>()->reason, env::LinkDown::kRevoked);
  EXPECT_LE(w.net.now - revoked, 1s);
  EXPECT_FALSE(w.a->endpoint->linked(w.second.id));
}

TEST(Hostile, a_dialler_that_expects_another_node_does_not_talk_to_this_one) {
  World w;
  ASSERT_TRUE(w.a->endpoint->dial({w.b->address, w.fleet.enrol("other").id}, w.net.now));
  w.net.run(2s);
  EXPECT_NE(w.a->last<DialFailed>()->failure.reason.find("another node"), std::string::npos);
  EXPECT_TRUE(w.a->all<LinkUp>().empty());
  EXPECT_TRUE(w.b->all<FrameIn>().empty());
  EXPECT_FALSE(w.b->endpoint->linked(w.first.id));
}

TEST(Hostile, garbage_changes_nothing) {
  World w;
  ASSERT_TRUE(w.link());
  Prng prng(5);
  std::vector<Buffer> real;
  w.net.tap = [&](const env::Endpoint&, const env::Endpoint& to, Bytes payload) {
    if (to == w.b->address && real.size() < 200) real.push_back(to_buffer(payload));
  };
  ASSERT_TRUE(w.send(*w.a, w.second, Priority::kNormal, pattern(100000, 1)));
  w.net.run(1s);
  const std::size_t known = w.b->events.size();
  for (int i = 0; i < 5000; ++i) {
    Buffer noise;
    if (i % 2 == 0) {
      noise.resize(prng.below(1500));
      for (auto& byte : noise) byte = static_cast<std::uint8_t>(prng.next());
      if (i % 4 == 0 && noise.size() > 5) noise[0] |= 0xc0, noise[1] = noise[2] = noise[3] = 0, noise[4] = 1;
    } else {
      noise = real[prng.below(real.size())];
      noise[prng.below(noise.size())] ^= static_cast<std::uint8_t>(1 + prng.below(255));
    }
    w.net.inject(i % 3 == 0 ? w.a->address : at(50), w.b->address, std::move(noise));
    if (i % 100 == 0) w.net.run(1ms);
  }
  w.net.run(5s);
  EXPECT_EQ(w.b->events.size(), known);
  EXPECT_TRUE(w.a->endpoint->linked(w.second.id) && w.b->endpoint->linked(w.first.id));
  EXPECT_EQ(w.b->endpoint->connections(), 1u);
  EXPECT_GT(w.b->endpoint->counters().malformed, 100u);
}

TEST(Hostile, a_flood_of_handshakes_is_bounded_and_a_node_still_gets_in) {
  World w;
  // Real first packets, each from an address of its own, whose answers go nowhere.
  const auto key = trust::KeyPair::generate(w.fleet.source);
  for (std::uint16_t i = 0; i < 2000; ++i) {
    RawPeer peer(w.net, env::Endpoint::v4(10, 1, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i), 9),
                 key.secret, {});
    peer.dial(w.b->address);
    w.net.listen(env::Endpoint::v4(10, 1, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i), 9),
                 [](const auto&, Bytes) {});
    if (i % 50 == 0) w.net.run(2ms);
    ASSERT_LE(w.b->endpoint->half_open(), 128u);
  }
  w.net.run(2ms);
  EXPECT_EQ(w.b->endpoint->half_open(), 64u);
  EXPECT_GT(w.b->endpoint->counters().retries_sent, 1000u);
  EXPECT_TRUE(w.link()) << "a node that answers its Retry gets in";
  w.net.run(10s);
  EXPECT_EQ(w.b->endpoint->connections(), 1u);
  EXPECT_EQ(w.b->endpoint->half_open(), 0u);
}

TEST(Hostile, one_address_cannot_take_all_the_half_open_places) {
  World w;
  const auto key = trust::KeyPair::generate(w.fleet.source);
  for (std::uint16_t port = 1; port <= 100; ++port) {
    RawPeer peer(w.net, at(66, port), key.secret, {});
    peer.dial(w.b->address);
    w.net.listen(at(66, port), [](const auto&, Bytes) {});
  }
  w.net.run(2ms);
  EXPECT_EQ(w.b->endpoint->half_open(), 16u);
  EXPECT_EQ(w.b->endpoint->counters().handshakes_dropped, 84u);
}

TEST(Hostile, an_enrolled_node_that_breaks_the_framing_loses_its_link) {
  for (const Buffer& wrong : {Buffer{0}, Buffer{0x80, 0}, Buffer{0xff, 0xff, 0xff, 0x7f, 1, 2, 3}}) {
    World w;
    const Member third = w.fleet.enrol("third");
    RawPeer peer(w.net, at(66), third.keys.secret, extension(third.encoded));
    peer.dial(w.b->address);
    w.net.run(100ms);
    ASSERT_TRUE(peer.connection->confirmed());
    peer.connection->push_raw(Priority::kNormal, wrong);
    peer.pump();
    w.net.run(100ms);
    ASSERT_NE(w.b->last<LinkDown>(), nullptr);
    EXPECT_EQ(w.b->last<LinkDown>()->reason, env::LinkDown::kProtocol);
    EXPECT_TRUE(w.b->all<FrameIn>().empty());
  }
}

TEST(Hostile, a_peer_that_floods_is_held_by_flow_control_until_its_frames_are_taken) {
  World w;
  ASSERT_TRUE(w.link());
  // Nobody polls b: deliver by hand, so that only the endpoint's own bounds hold.
  std::size_t taken = 0;
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(w.send(*w.a, w.second, Priority::kBulk, pattern(1 << 20, 1)));
  w.net.polls = false;
  w.net.run(3s);
  while (auto event = w.b->endpoint->poll()) {
    if (const auto* in = std::get_if<FrameIn>(&*event)) taken += in->frame.size();
  }
  EXPECT_LE(taken, std::size_t{6} << 20);
  w.net.polls = true;
  w.net.run(10s);
  EXPECT_EQ(taken + (w.b->all<FrameIn>().size() << 20), std::size_t{7} << 20);
}

}  // namespace
}  // namespace sedge::quic
