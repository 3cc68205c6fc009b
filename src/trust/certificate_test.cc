#include "trust/certificate.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "trust/testing.h"
#include "wire/codec.h"

namespace sedge::trust {
namespace {

using testing::Fleet;
using testing::Member;
using testing::SeededSource;

TEST(Keys, a_signature_serves_one_key_one_domain_one_message) {
  SeededSource source(1);
  const KeyPair pair = KeyPair::generate(source);
  const KeyPair other = KeyPair::generate(source);
  const Signature signature = sign(pair.secret, "sedge.op.1", as_bytes("hello"));
  EXPECT_TRUE(verify(pair.public_key, "sedge.op.1", as_bytes("hello"), signature));
  EXPECT_FALSE(verify(pair.public_key, "sedge.op.2", as_bytes("hello"), signature));
  EXPECT_FALSE(verify(pair.public_key, "sedge.op.1h", as_bytes("ello"), signature));
  EXPECT_FALSE(verify(pair.public_key, "sedge.op.1", as_bytes("hellO"), signature));
  EXPECT_FALSE(verify(other.public_key, "sedge.op.1", as_bytes("hello"), signature));
  EXPECT_FALSE(verify(PublicKey{}, "sedge.op.1", as_bytes("hello"), Signature{})) << "a key of small order";
}

TEST(Keys, known_answers) {
  // RFC 8032 §7.1, test 1: the key. RFC 4231, test case 2: HMAC.
  Seed seed;
  const Buffer raw = from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").value();
  std::copy(raw.begin(), raw.end(), seed.begin());
  EXPECT_EQ(to_hex(KeyPair::from_seed(seed).public_key.bytes),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  EXPECT_EQ(to_hex(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Keys, a_moved_or_dead_secret_leaves_nothing) {
  SeededSource source(1);
  KeyPair pair = KeyPair::generate(source);
  const SecretKey taken = std::move(pair.secret);
  EXPECT_TRUE(std::all_of(pair.secret.seed().begin(), pair.secret.seed().end(), [](auto b) { return b == 0; }));
  EXPECT_EQ(taken.public_key(), pair.public_key);
}

TEST(Grants, patterns_match_levels) {
  struct Row {
    const char* pattern;
    const char* path;
    bool matches;
  };
  for (const Row& row :
       {Row{"#", "a/b", true}, Row{"a/#", "a", true}, Row{"a/#", "a/b/c", true}, Row{"a/#", "ab", false},
        Row{"+", "a", true}, Row{"+", "a/b", false}, Row{"a/+/c", "a/b/c", true}, Row{"a/+/c", "a/c", false},
        Row{"a/+", "a/", true}, Row{"a", "a", true}, Row{"a", "b", false}, Row{"a/b", "a", false},
        Row{"a", "a/b", false}, Row{"+/#", "a", true}, Row{"/a", "a", false}}) {
    EXPECT_EQ(matches(row.pattern, row.path), row.matches) << row.pattern << " " << row.path;
  }
  for (const char* wrong : {"", "a/#/b", "a#", "a+/b", "a/\n"}) EXPECT_FALSE(valid_pattern(wrong)) << wrong;
  EXPECT_FALSE(valid_path("a/+"));
}

std::string any_pattern(bool signs) {
  std::string out;
  const int levels = *rc::gen::inRange(1, 5);
  for (int i = 0; i < levels; ++i) {
    if (i > 0) out += '/';
    const int kind = *rc::gen::inRange(0, signs ? 4 : 2);
    out += kind == 0 ? "a" : kind == 1 ? "b" : kind == 2 ? "+" : i + 1 == levels ? "#" : "+";
  }
  return out;
}

TEST(Grants, what_a_covered_pattern_matches_its_cover_matches) {
  EXPECT_TRUE(rc::check([] {
    const std::string outer = any_pattern(true);
    const std::string inner = any_pattern(true);
    const std::string path = any_pattern(false);
    RC_ASSERT(valid_pattern(outer) && valid_path(path));
    RC_ASSERT(covers(outer, outer));
    if (covers(outer, inner) && matches(inner, path)) RC_ASSERT(matches(outer, path));
  }));
}

TEST(Grants, text_comes_back_and_a_wrong_one_says_how) {
  EXPECT_EQ(grant_text(parse_grant("write:board/+/open").value()), "write:board/+/open");
  for (const char* wrong : {"", "pub", "pub:", "fly:#", "pub:a/#/b"}) {
    EXPECT_NE(parse_grant(wrong).error().message.find("pub:telemetry/#"), std::string::npos) << wrong;
  }
}

TEST(Certificate, a_chain_of_the_fleet_is_believed) {
  Fleet fleet(1);
  const Member member = fleet.enrol("scout/1");
  EXPECT_TRUE(verify_chain(fleet.root.public_key, decode_chain(member.encoded).value()));
}

// Each row breaks one thing; the error must say which.
TEST(Certificate, every_broken_link_of_a_chain_is_named) {
  Fleet fleet(1);
  Fleet other(2);
  const Member member = fleet.enrol("scout/1");
  const auto refused = [&](const PublicKey& root, CertificateChain chain, const char* why, WallTime now = {}) {
    const Status status = verify_chain(root, chain, now);
    ASSERT_FALSE(status) << why;
    EXPECT_NE(status.error().message.find(why), std::string::npos) << status.error().message;
  };
  const PublicKey root = fleet.root.public_key;
  refused(other.root.public_key, member.chain, "of another fleet");

  CertificateChain chain = member.chain;
  chain.node.grants = Grants{};
  refused(root, chain, "signature is not its issuer's");

  chain = member.chain;
  std::swap(chain.issuer, chain.node);
  refused(root, chain, "not a node");

  chain = {member.chain.issuer, other.enrol("x").chain.node};
  refused(root, chain, "from another issuer");

  chain = member.chain;
  chain.node.name = "a\nb";
  sign_certificate(chain.node, fleet.issuer.secret);
  refused(root, chain, "proper name");

  chain = member.chain;
  chain.node.not_after = 1000;
  sign_certificate(chain.node, fleet.issuer.secret);
  refused(root, chain, "expired", 1001);
  EXPECT_TRUE(verify_chain(root, chain, 1000));
  EXPECT_TRUE(verify_chain(root, chain)) << "a board without a clock";

  chain = member.chain;
  chain.node.version = 2;
  sign_certificate(chain.node, fleet.issuer.secret);
  refused(root, chain, "version 2");
}

TEST(Certificate, an_issuer_hands_out_no_more_than_it_has) {
  Fleet fleet(1);
  fleet.issuer_certificate.grants = Grants{{Verb::kEnrol, "scout/#"}, {Verb::kPub, "telemetry/#"}};
  sign_certificate(fleet.issuer_certificate, fleet.root.secret);
  const PublicKey root = fleet.root.public_key;
  EXPECT_TRUE(verify_chain(root, fleet.enrol("scout/1", {{Verb::kPub, "telemetry/+/battery"}}).chain));
  EXPECT_FALSE(verify_chain(root, fleet.enrol("scout/1", {{Verb::kPub, "#"}}).chain));
  EXPECT_FALSE(verify_chain(root, fleet.enrol("scout/1", {{Verb::kWrite, "telemetry/a"}}).chain));
  EXPECT_FALSE(verify_chain(root, fleet.enrol("tank/1", {}).chain));
}

TEST(Certificate, a_node_cannot_act_as_an_issuer) {
  Fleet fleet(1);
  const Member member = fleet.enrol("scout/1", Grants::of_an_issuer());
  CertificateChain chain{member.chain.node, member.chain.node};
  chain.node.subject = fleet.enrol("x").keys.public_key;
  sign_certificate(chain.node, member.keys.secret);
  EXPECT_FALSE(verify_chain(fleet.root.public_key, chain));
}

TEST(Certificate, any_flipped_bit_breaks_a_chain) {
  Fleet fleet(1);
  const Member member = fleet.enrol("scout/1");
  for (std::size_t at = 0; at < member.encoded.size(); ++at) {
    Buffer bytes = member.encoded;
    bytes[at] ^= static_cast<std::uint8_t>(1u << (at % 8));
    const auto chain = decode_chain(bytes);
    EXPECT_FALSE(chain && verify_chain(fleet.root.public_key, *chain)) << at;
  }
  EXPECT_EQ(decode_chain(Buffer(kChainBytesMax + 1)).error().code, Code::kResourceExhausted);
}

}  // namespace
}  // namespace sedge::trust
