#include "quic/tls.h"

#include <gtest/gtest.h>

#include "trust/testing.h"
#include "wire/codec.h"

namespace sedge::quic {
namespace {

using trust::testing::Fleet;
using trust::testing::Member;

TEST(Tls, a_certificate_carries_the_key_and_the_identity) {
  Fleet fleet(1);
  const Member member = fleet.enrol("n");
  const auto credentials = TlsCredentials::create(member.keys.secret, {member.encoded, {3}, 77}, false).value();
  const PeerProof proof = read_certificate(credentials->certificate()).value();
  EXPECT_EQ(proof.key, member.keys.public_key);
  EXPECT_EQ(proof.identity.chain, member.encoded);
  EXPECT_EQ(proof.identity.boot_epoch.value, 3u);
  EXPECT_EQ(proof.identity.instance, 77u);
}

TEST(Tls, the_largest_chain_that_trust_allows_fits) {
  Fleet fleet(1);
  const Member member = fleet.enrol("n");
  const auto credentials =
      TlsCredentials::create(member.keys.secret, {Buffer(trust::kChainBytesMax), {3}, 77}, false).value();
  EXPECT_EQ(read_certificate(credentials->certificate())->identity.chain.size(), trust::kChainBytesMax);
}

TEST(Tls, a_certificate_without_our_extension_or_with_another_content_is_refused) {
  Fleet fleet(1);
  const Member member = fleet.enrol("n");
  const auto bare = TlsCredentials::create_raw(member.keys.secret, {}, false).value();
  EXPECT_NE(read_certificate(bare->certificate()).error().message.find("no node of a fleet"), std::string::npos);
  const auto wrong = TlsCredentials::create_raw(member.keys.secret, Buffer(9, 0xff), false).value();
  EXPECT_EQ(read_certificate(wrong->certificate()).error().code, Code::kUnauthenticated);
  EXPECT_FALSE(read_certificate({}));
  const Bytes whole = bare->certificate();
  for (std::size_t cut = 0; cut < whole.size(); ++cut) EXPECT_FALSE(read_certificate(whole.first(cut)));
}

}  // namespace
}  // namespace sedge::quic
