#include "trust/join.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "trust/beacon.h"
#include "trust/home.h"
#include "trust/testing.h"
#include "wire/codec.h"

namespace sedge::trust {
namespace {

using testing::Fleet;
using testing::SeededSource;

struct Enrolment {
  Fleet fleet{1};
  InvitationBook book;
  KeyPair joiner = KeyPair::generate(fleet.source);
  Exporter exporter{1, 2, 3};

  InvitationBook::Issued invite(std::optional<std::string> name = {}) {
    return book
        .invite({fleet.issuer.public_key,
                 fingerprint(fleet.root.public_key),
                 {"10.0.0.1:7334"},
                 std::move(name),
                 Grants{{Verb::kPub, "#"}}},
                fleet.source)
        .value();
  }
  Result<JoinGrant> grant(const Invited& invited, const JoinRequest& request) {
    return make_grant({fleet.issuer.secret, fleet.issuer_certificate}, fleet.root.public_key, invited, request, 9,
                      fleet.secret, {"10.0.0.1:7334"}, exporter);
  }
};

TEST(Invitation, its_text_comes_back_and_a_typing_error_is_noticed) {
  Enrolment e;
  const Invitation invitation = e.invite("scout/1").invitation;
  const std::string text = invitation_text(invitation);
  EXPECT_EQ(text.substr(0, 7), "sedge1:");
  EXPECT_EQ(parse_invitation(text).value(), invitation);
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string mistyped = text;
    mistyped[at] = mistyped[at] == 'x' ? 'y' : 'x';
    EXPECT_EQ(parse_invitation(mistyped).error().code, Code::kInvalidArgument) << at;
    EXPECT_FALSE(parse_invitation(text.substr(0, at)));
  }
}

TEST(Invitation, the_book_survives_a_restart_and_never_holds_the_secret) {
  Enrolment e;
  const auto issued = e.invite();
  const std::string stored(as_text(issued.record.value));
  EXPECT_EQ(stored.find(as_text(issued.invitation.secret)), std::string::npos);
  const JoinRequest request = make_request(issued.invitation, e.joiner.public_key, "n", e.exporter);
  InvitationBook again;
  ASSERT_TRUE(again.load(issued.record.key, issued.record.value));
  EXPECT_TRUE(again.check(request, e.exporter));
  const auto spent = again.spend(request);
  InvitationBook third;
  ASSERT_TRUE(third.load(spent.key, spent.value));
  EXPECT_TRUE(third.check(request, e.exporter)) << "the same key may ask again";
  const KeyPair thief = KeyPair::generate(e.fleet.source);
  EXPECT_FALSE(third.check(make_request(issued.invitation, thief.public_key, "n", e.exporter), e.exporter));
  EXPECT_GT(third.invite({e.fleet.issuer.public_key, {}, {}, {}, {}}, e.fleet.source)->invitation.serial,
            issued.invitation.serial);
}

TEST(Invitation, a_proof_serves_one_connection_and_one_key) {
  Enrolment e;
  const auto issued = e.invite();
  const JoinRequest request = make_request(issued.invitation, e.joiner.public_key, "n", e.exporter);
  EXPECT_TRUE(e.book.check(request, e.exporter));
  EXPECT_FALSE(e.book.check(request, Exporter{9}));
  JoinRequest other = request;
  other.key.bytes[0] ^= 1;
  EXPECT_FALSE(e.book.check(other, e.exporter));
  other = request;
  ++other.serial;
  EXPECT_FALSE(e.book.check(other, e.exporter));
  EXPECT_TRUE(e.book.withdraw(request.serial));
  EXPECT_FALSE(e.book.check(request, e.exporter));
}

TEST(Invitation, the_book_is_bounded_and_forgets_spent_ones_first) {
  Enrolment e;
  const auto first = e.invite();
  for (std::size_t i = 1; i < kInvitationsMax; ++i) e.invite();
  EXPECT_EQ(e.book.invite({e.fleet.issuer.public_key, {}, {}, {}, {}}, e.fleet.source).error().code,
            Code::kResourceExhausted);
  e.book.spend(make_request(first.invitation, e.joiner.public_key, "n", e.exporter));
  const auto next = e.invite();
  ASSERT_TRUE(next.forgotten);
  EXPECT_EQ(next.forgotten->key, first.record.key);
  EXPECT_EQ(e.book.entries().size(), kInvitationsMax);
}

TEST(Join, the_grant_gives_what_the_invitation_says_and_the_joiner_can_check_it) {
  Enrolment e;
  const auto issued = e.invite("scout/7");
  const JoinRequest request = make_request(issued.invitation, e.joiner.public_key, "a name of its own", e.exporter);
  const Invited invited = e.book.check(request, e.exporter).value();
  const JoinGrant grant = e.grant(invited, request).value();
  EXPECT_TRUE(check_grant(issued.invitation, e.joiner.public_key, e.exporter, grant));
  const auto chain = decode_chain(grant.chain).value();
  EXPECT_EQ(chain.node.name, "scout/7");
  EXPECT_EQ(chain.node.grants, (Grants{{Verb::kPub, "#"}}));
  EXPECT_EQ(wire::decode<JoinGrant>(wire::encode(grant)).value(), grant);

  EXPECT_FALSE(check_grant(issued.invitation, e.joiner.public_key, Exporter{5}, grant));
  EXPECT_FALSE(check_grant(issued.invitation, e.fleet.root.public_key, e.exporter, grant));
  JoinGrant changed = grant;
  changed.fleet_secret[0] ^= 1;
  EXPECT_FALSE(check_grant(issued.invitation, e.joiner.public_key, e.exporter, changed));
  Fleet other(2);
  Invitation foreign = issued.invitation;
  foreign.root = fingerprint(other.root.public_key);
  EXPECT_FALSE(check_grant(foreign, e.joiner.public_key, e.exporter, grant));
}

TEST(Join, a_name_that_is_none_is_refused_before_anything_is_signed_away) {
  Enrolment e;
  const auto issued = e.invite();
  const JoinRequest request = make_request(issued.invitation, e.joiner.public_key, "no\nname", e.exporter);
  EXPECT_EQ(e.grant(e.book.check(request, e.exporter).value(), request).error().code, Code::kInvalidArgument);
}

TEST(Beacon, members_open_it_and_nobody_else) {
  const FleetSecret fleet{1, 2, 3};
  const Beacon beacon{{{7, 7}}, 7334, {3}};
  const Buffer bytes = seal_beacon(fleet, beacon, 5);
  EXPECT_EQ(open_beacon(fleet, bytes).value(), beacon);
  EXPECT_EQ(open_beacon(FleetSecret{1, 2, 4}, bytes).error().code, Code::kUnauthenticated);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    Buffer changed = bytes;
    changed[at] ^= 0x10;
    EXPECT_FALSE(open_beacon(fleet, changed)) << at;
    EXPECT_FALSE(open_beacon(fleet, Bytes(bytes).first(at))) << at;
  }
}

TEST(Beacon, its_bytes_say_nothing_about_the_node_and_change_with_the_rotation) {
  const FleetSecret fleet{1, 2, 3};
  const Beacon beacon{{{7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}}, 7334, {3}};
  const Buffer now = seal_beacon(fleet, beacon, 5);
  const Buffer later = seal_beacon(fleet, beacon, 6);
  EXPECT_EQ(now, seal_beacon(fleet, beacon, 5));
  EXPECT_EQ(std::string(as_text(now)).find(as_text(beacon.node.view())), std::string::npos);
  std::size_t same = 0;
  for (std::size_t i = 4; i < now.size(); ++i) same += now[i] == later[i] ? 1 : 0;
  EXPECT_LT(same, 12u);
}

TEST(Home, every_file_comes_back) {
  Enrolment e;
  const auto member = e.fleet.enrol("n");
  EXPECT_EQ(decode_key(HomeFile::kNodeKey, encode_key(HomeFile::kNodeKey, member.keys.secret))->public_key(),
            member.keys.public_key);
  EXPECT_EQ(decode_node_certificate(encode_node_certificate(member.chain)).value(), member.chain);
  EXPECT_EQ(decode_issuer_certificate(encode_issuer_certificate(e.fleet.issuer_certificate)).value(),
            e.fleet.issuer_certificate);
  EXPECT_EQ(decode_root(encode_root(e.fleet.root.public_key)).value(), e.fleet.root.public_key);
  EXPECT_EQ(decode_fleet_secret(encode_fleet_secret(e.fleet.secret)).value(), e.fleet.secret);
}

TEST(Home, a_damaged_or_mixed_up_file_is_named) {
  Enrolment e;
  std::string text = encode_key(HomeFile::kIssuerKey, e.fleet.issuer.secret);
  EXPECT_EQ(decode_key(HomeFile::kNodeKey, text).error().message,
            "node.key: it should begin with 'sedge node key 1' but is sedge issuer key 1");
  text[30] = text[30] == 'A' ? 'B' : 'A';
  EXPECT_EQ(decode_key(HomeFile::kIssuerKey, text).error().message, "issuer.key: damaged, its checksum does not fit");
  EXPECT_FALSE(decode_root(""));
  EXPECT_FALSE(decode_root(seal_home_file(HomeFile::kFleetRoot, Buffer(31))));
}

}  // namespace
}  // namespace sedge::trust
