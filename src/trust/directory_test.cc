#include "trust/directory.h"

#include <algorithm>
#include <array>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "trust/testing.h"

namespace sedge::trust {
namespace {

using testing::Fleet;
using testing::Member;

Cut cut(std::uint64_t epoch, std::uint64_t sequence) { return {{epoch}, {sequence}}; }

// Each of five things once at least, some again, in any order.
std::vector<int> five_steps() {
  std::vector<int> steps = {0, 1, 2, 3, 4};
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) steps.push_back(*rc::gen::inRange(0, 5));
  Prng(*rc::gen::arbitrary<std::uint64_t>()).shuffle(steps);
  return steps;
}

TEST(Directory, it_knows_whom_it_was_shown_and_what_they_may) {
  Fleet fleet(1);
  Directory directory(fleet.root.public_key);
  const Member scout = fleet.enrol("scout", {{Verb::kPub, "telemetry/#"}});
  EXPECT_EQ(directory.verify(scout.id, "d", {}, {}).error().code, Code::kNotFound);
  EXPECT_EQ(directory.accepts_write(scout.id, {1}, {1}).error().code, Code::kNotFound);
  EXPECT_EQ(directory.add(scout.encoded).value(), scout.id);
  EXPECT_EQ(directory.find(scout.id)->name, "scout");
  EXPECT_TRUE(directory.allows(scout.id, Verb::kPub, "telemetry/battery"));
  EXPECT_FALSE(directory.allows(scout.id, Verb::kWrite, "telemetry/battery"));
  const Signature signature = sign(scout.keys.secret, "d", as_bytes("m"));
  EXPECT_TRUE(directory.verify(scout.id, "d", as_bytes("m"), signature));
  EXPECT_EQ(directory.verify(scout.id, "d", as_bytes("n"), signature).error().code, Code::kUnauthenticated);
  EXPECT_FALSE(directory.add(Fleet(2).enrol("stranger").encoded));
  EXPECT_EQ(directory.size(), 1u);
}

// Its signature was looked at when its first member came, and never again: what else is wrong with it still counts.
TEST(Directory, an_issuer_that_is_known_is_believed_as_it_was_shown_and_while_it_lasts) {
  Fleet fleet(1);
  fleet.issuer_certificate.not_after = 1000;
  sign_certificate(fleet.issuer_certificate, fleet.root.secret);
  Directory directory(fleet.root.public_key);
  directory.set_wall_time(WallTime{900});
  ASSERT_TRUE(directory.add(fleet.enrol("one").encoded));
  ASSERT_TRUE(directory.admit(fleet.enrol("two").encoded));

  Member greedy = fleet.enrol("three", Grants::of_an_issuer());
  greedy.chain.issuer.grants = Grants{{Verb::kEnrol, "#"}, {Verb::kRevoke, "#"}};
  for (const bool later : {false, true}) {
    greedy.chain.issuer.not_after = later ? 9000 : 1000;
    EXPECT_EQ(directory.add(encode_chain(greedy.chain)).error().code, Code::kUnauthenticated);
    EXPECT_EQ(directory.admit(encode_chain(greedy.chain)).error().code, Code::kUnauthenticated);
  }
  Member forged = fleet.enrol("four");
  forged.chain.node.name = "five";
  EXPECT_EQ(directory.add(encode_chain(forged.chain)).error().code, Code::kUnauthenticated);

  directory.set_wall_time(WallTime{1001});
  EXPECT_EQ(directory.add(fleet.enrol("six").encoded).error().code, Code::kUnauthenticated);
  EXPECT_EQ(directory.admit(fleet.enrol("two").encoded).error().code, Code::kUnauthenticated);
}

TEST(Directory, of_those_that_share_each_chain_is_kept_once_but_not_one_that_expires) {
  Fleet fleet(1);
  const auto shared = Directory::make_shared();
  Directory one(fleet.root.public_key), other(fleet.root.public_key), stranger(Fleet(2).root.public_key);
  for (Directory* each : {&one, &other, &stranger}) each->share(shared);
  const Member scout = fleet.enrol("scout");
  ASSERT_TRUE(one.add(scout.encoded) && other.add(scout.encoded));
  EXPECT_EQ(one.chain_of(scout.id).data(), other.chain_of(scout.id).data());
  EXPECT_FALSE(stranger.add(scout.encoded));

  Member guest = fleet.enrol("guest");
  guest.chain.node.not_after = 1000;
  sign_certificate(guest.chain.node, fleet.issuer.secret);
  guest.encoded = encode_chain(guest.chain);
  ASSERT_TRUE(one.add(guest.encoded));  // its clock is not set
  other.set_wall_time(WallTime{2000});
  EXPECT_EQ(other.add(guest.encoded).error().code, Code::kUnauthenticated);
}

TEST(Directory, a_revoked_node_keeps_its_writes_up_to_the_cut_and_nothing_else) {
  Fleet fleet(1);
  Directory directory(fleet.root.public_key);
  const Member scout = fleet.enrol("scout");
  ASSERT_TRUE(directory.add(scout.encoded));
  const std::uint64_t before = directory.generation();
  ASSERT_TRUE(directory.revoke(fleet.revoke(scout, cut(3, 10))));
  EXPECT_GT(directory.generation(), before);
  EXPECT_TRUE(directory.revoked(scout.id));
  EXPECT_FALSE(directory.allows(scout.id, Verb::kPub, "a"));
  EXPECT_TRUE(directory.grants(scout.id, Verb::kWrite, "a"));
  EXPECT_TRUE(directory.accepts_write(scout.id, {2}, {99}));
  EXPECT_TRUE(directory.accepts_write(scout.id, {3}, {10}));
  EXPECT_FALSE(directory.accepts_write(scout.id, {3}, {11}));
  EXPECT_FALSE(directory.accepts_write(scout.id, {4}, {1}));
  EXPECT_EQ(directory.admit(scout.encoded).error().code, Code::kPermissionDenied);
}

TEST(Directory, only_those_may_revoke_who_are_granted_it) {
  Fleet fleet(1);
  Directory directory(fleet.root.public_key);
  const Member scout = fleet.enrol("scout");
  const Member tank = fleet.enrol("tank");

  Revocation forged = fleet.revoke(scout);
  forged.subject = tank.id;  // the issuer never said that
  EXPECT_FALSE(directory.revoke(forged));
  sign_revocation(forged, fleet.issuer.secret);  // nor may it show another's certificate
  EXPECT_FALSE(directory.revoke(forged));
  forged = fleet.revoke(scout);
  sign_revocation(forged, tank.keys.secret);
  EXPECT_FALSE(directory.revoke(forged));
  EXPECT_FALSE(directory.revoke(Fleet(2).revoke(scout)));

  Revocation of_the_issuer{node_id_of(fleet.issuer.public_key), {}, std::nullopt, {}};
  sign_revocation(of_the_issuer, fleet.issuer.secret);
  EXPECT_FALSE(directory.revoke(of_the_issuer)) << "only the root may";
  EXPECT_EQ(directory.generation(), 0u);

  fleet.issuer_certificate.grants = Grants{{Verb::kRevoke, "tank/#"}, {Verb::kEnrol, "#"}};
  sign_certificate(fleet.issuer_certificate, fleet.root.secret);
  EXPECT_EQ(directory.revoke(fleet.revoke(scout)).error().code, Code::kPermissionDenied);
  EXPECT_TRUE(directory.revoke(fleet.revoke(fleet.enrol("tank/1", {}))));
}

TEST(Directory, with_an_issuer_all_its_nodes_fall) {
  Fleet fleet(1);
  Directory directory(fleet.root.public_key);
  const Member scout = fleet.enrol("scout");
  ASSERT_TRUE(directory.add(scout.encoded));
  Revocation revocation{node_id_of(fleet.issuer.public_key), cut(2, 0), std::nullopt, {}};
  sign_revocation(revocation, fleet.root.secret);
  ASSERT_TRUE(directory.revoke(revocation));
  EXPECT_TRUE(directory.revoked(scout.id));
  EXPECT_FALSE(directory.admit(scout.encoded));
  EXPECT_TRUE(directory.accepts_write(scout.id, {1}, {5}));
  EXPECT_FALSE(directory.accepts_write(scout.id, {2}, {1}));
}

// An issuer that the root made beside the first.
struct SecondIssuer {
  explicit SecondIssuer(Fleet& fleet) : keys(KeyPair::generate(fleet.source)), certificate(fleet.issuer_certificate) {
    certificate.subject = keys.public_key;
    certificate.name = "second";
    sign_certificate(certificate, fleet.root.secret);
  }
  Buffer sign(const Member& member, std::uint64_t serial) const {
    CertificateChain chain{certificate, member.chain.node};
    chain.node.serial = serial;
    sign_certificate(chain.node, keys.secret);
    return encode_chain(chain);
  }
  KeyPair keys;
  Certificate certificate;
};

TEST(Directory, who_was_signed_anew_stays_when_its_first_issuer_falls_whatever_that_one_signs_then) {
  Fleet fleet(1);
  const Member scout = fleet.enrol("scout"), tank = fleet.enrol("tank");
  const SecondIssuer second(fleet);
  const Buffer renewed = second.sign(scout, 50);
  fleet.serial = 999;  // with the first issuer's key, by who took it
  const Member stolen = fleet.enrol("scout", KeyPair{scout.keys.public_key, scout.keys.secret.clone()}, {});
  Revocation of_first{node_id_of(fleet.issuer.public_key), {{~0ull}, {~0ull}}, std::nullopt, {}};
  sign_revocation(of_first, fleet.root.secret);
  const std::vector<Buffer> chains = {scout.encoded, renewed, stolen.encoded, tank.encoded};
  EXPECT_TRUE(rc::check([&] {
    Directory directory(fleet.root.public_key);
    for (const int step : five_steps()) {
      const auto at = static_cast<std::size_t>(step);
      const bool taken = step < 4 ? directory.add(chains[at]).has_value() : directory.revoke(of_first).has_value();
      RC_ASSERT(taken);
    }
    RC_ASSERT(!directory.revoked(scout.id));
    RC_ASSERT(to_buffer(directory.chain_of(scout.id)) == renewed);
    RC_ASSERT(directory.allows(scout.id, Verb::kWrite, "x"));
    RC_ASSERT(directory.admit(renewed).has_value());
    RC_ASSERT(directory.admit(scout.encoded).has_value());  // it has not heard of its new one
    RC_ASSERT(directory.revoked(tank.id));
    RC_ASSERT(directory.admit(tank.encoded).error().code == Code::kPermissionDenied);
    RC_ASSERT(directory.accepts_write(tank.id, {7}, {7}).has_value());  // all that was written stays
  }));
}

TEST(Directory, a_retired_issuer_revokes_nobody_that_another_has_signed_and_no_issuer_ever_revokes_another) {
  Fleet fleet(1);
  const Member scout = fleet.enrol("scout"), tank = fleet.enrol("tank");
  const SecondIssuer second(fleet);
  const Buffer renewed = second.sign(scout, 50);
  Revocation of_first{node_id_of(fleet.issuer.public_key), {{~0ull}, {~0ull}}, std::nullopt, {}};
  sign_revocation(of_first, fleet.root.secret);
  // The first issuer calls the second one's key a node, and revokes that.
  const Member posing = fleet.enrol("posing", KeyPair{second.keys.public_key, second.keys.secret.clone()}, {});
  EXPECT_TRUE(rc::check([&] {
    Directory directory(fleet.root.public_key);
    std::vector<int> steps = {0, 1, 2, 3, 4, 5, 6};
    Prng(*rc::gen::arbitrary<std::uint64_t>()).shuffle(steps);
    for (const int step : steps) {
      const std::array<Status, 7> taken = {
          step == 0 ? directory.revoke(fleet.revoke(scout, cut(1, 1))) : Status(),
          step == 1 ? directory.revoke(fleet.revoke(tank, cut(2, 2))) : Status(),
          step == 2 ? directory.revoke(fleet.revoke(posing)) : Status(),
          step == 3 ? directory.revoke(of_first) : Status(),
          step == 4 && !directory.add(renewed) ? fail(Code::kInternal, "renewed") : Status(),
          step == 5 && !directory.add(tank.encoded) ? fail(Code::kInternal, "tank") : Status(),
          step == 6 && !directory.add(scout.encoded) ? fail(Code::kInternal, "scout") : Status()};
      RC_ASSERT(std::ranges::all_of(taken, [](const Status& status) { return status.has_value(); }));
    }
    RC_ASSERT(!directory.revoked(scout.id));
    RC_ASSERT(directory.admit(renewed).has_value());
    RC_ASSERT(directory.accepts_write(scout.id, {9}, {9}).has_value());
    RC_ASSERT(directory.revoked(tank.id));  // what it withdrew of its own stays withdrawn
    RC_ASSERT(!directory.accepts_write(tank.id, {2}, {3}).has_value());
  }));
}

// The law behind "all nodes converge": any order and any repetition of the same set give the same answers.
TEST(Directory, its_answers_do_not_depend_on_the_order_of_arrival) {
  Fleet fleet(1);
  const Member scout = fleet.enrol("scout");
  const KeyPair& keys = scout.keys;
  const Member renewed =
      fleet.enrol("scout/renewed", KeyPair{keys.public_key, keys.secret.clone()}, {{Verb::kPub, "a"}});
  Revocation of_issuer{node_id_of(fleet.issuer.public_key), cut(4, 4), std::nullopt, {}};
  sign_revocation(of_issuer, fleet.root.secret);
  const std::vector<Buffer> chains = {scout.encoded, renewed.encoded};
  const std::vector<Revocation> revocations = {fleet.revoke(scout, cut(5, 1)), fleet.revoke(renewed, cut(3, 7)),
                                               of_issuer};
  EXPECT_TRUE(rc::check([&] {
    Directory directory(fleet.root.public_key);
    for (const int step : five_steps()) {
      if (step < 2) {
        RC_ASSERT(directory.add(chains[static_cast<std::size_t>(step)]).has_value());
      } else {
        RC_ASSERT(directory.revoke(revocations[static_cast<std::size_t>(step - 2)]).has_value());
      }
    }
    RC_ASSERT(directory.find(scout.id)->name == "scout/renewed");
    RC_ASSERT(directory.accepts_write(scout.id, {3}, {7}).has_value());
    RC_ASSERT(!directory.accepts_write(scout.id, {3}, {8}).has_value());
    RC_ASSERT(to_buffer(directory.chain_of(scout.id)) == renewed.encoded);
  }));
}

}  // namespace
}  // namespace sedge::trust
