#include "trust/audit.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "trust/audit_view.h"
#include "trust/testing.h"
#include "wire/codec.h"

namespace sedge::trust {
namespace {

using Kind = AuditFinding::Kind;

struct Chains : testing::Fleet {
  Chains() : testing::Fleet(3) { EXPECT_TRUE(directory.add(member.encoded)); }

  // As an honest node would go on from `before`; `body` tells one branch from another.
  AuditEntry after(const AuditEntry* before, std::uint8_t body = 0) const {
    AuditEntry entry;
    entry.node = member.id;
    entry.index = before == nullptr ? 1 : before->index + 1;
    if (before != nullptr) entry.previous = hash_of(*before);
    entry.epoch = {1};
    entry.kind = 4;
    entry.body = {body};
    sign_entry(entry, member.keys.secret);
    return entry;
  }
  std::vector<AuditEntry> chain(std::size_t length, std::uint8_t body = 0) const {
    std::vector<AuditEntry> entries;
    for (std::size_t i = 0; i < length; ++i) entries.push_back(after(i == 0 ? nullptr : &entries.back(), body));
    return entries;
  }
  AuditHead head(std::uint64_t index, const Digest& hash, bool checkpoint = false) const {
    AuditHead head{member.id, index, hash, checkpoint, {}};
    sign_head(head, member.keys.secret);
    return head;
  }

  testing::Member member = enrol("rover");
  Directory directory{root.public_key};
};

AuditView view_of(const std::vector<AuditEntry>& entries, std::uint64_t kept = kAuditKept) {
  AuditView view(kept);
  for (const AuditEntry& entry : entries) EXPECT_TRUE(view.add(entry));
  return view;
}

TEST(Audit, an_honest_chain_has_nothing_wrong) {
  const Chains chains;
  const auto entries = chains.chain(10);
  AuditView view = view_of(entries);
  ASSERT_TRUE(view.add(chains.head(10, hash_of(entries.back()))));
  EXPECT_TRUE(view.findings().empty());
  for (const AuditEntry& entry : entries) EXPECT_TRUE(verify_entry(chains.directory, entry));
}

TEST(Audit, an_entry_that_was_altered_is_not_signed) {
  const Chains chains;
  AuditEntry entry = chains.after(nullptr);
  entry.body = {9};
  EXPECT_FALSE(verify_entry(chains.directory, entry));
  AuditHead head = chains.head(3, Digest{1});
  head.index = 4;
  EXPECT_FALSE(verify_head(chains.directory, head));
}

TEST(Audit, two_entries_with_one_number_are_an_equivocation_that_anybody_can_check) {
  const Chains chains;
  auto entries = chains.chain(5);
  entries.push_back(chains.after(&entries[2], 7));  // another fourth one
  const auto findings = view_of(entries).findings();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].kind, Kind::kEquivocation);
  EXPECT_EQ(findings[0].first, 4u);
  const auto proved = verify_proof(chains.directory, *findings[0].proof);
  ASSERT_TRUE(proved) << proved.error().message;
  EXPECT_EQ(proved->node, chains.member.id);
  EXPECT_EQ(proved->index, 4u);
  Chains strangers;
  AuditProof altered = *findings[0].proof;
  altered.second[60] ^= 1;
  EXPECT_FALSE(verify_proof(chains.directory, altered));
}

TEST(Audit, two_statements_that_agree_prove_nothing) {
  const Chains chains;
  const auto entries = chains.chain(3);
  EXPECT_FALSE(verify_proof(chains.directory, make_proof(entries[1], entries[2])));
  EXPECT_FALSE(verify_proof(chains.directory, make_proof(entries[0], chains.head(1, hash_of(entries[0])))));
}

TEST(Audit, a_history_that_was_rewritten_contradicts_the_head_that_others_remember) {
  const Chains chains;
  const auto before = chains.chain(8);
  AuditView view = view_of(chains.chain(12, 5));
  ASSERT_TRUE(view.add(chains.head(6, hash_of(before[5]))));
  const auto findings = view.findings();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].kind, Kind::kEquivocation);
  EXPECT_EQ(findings[0].first, 6u);
  EXPECT_TRUE(verify_proof(chains.directory, *findings[0].proof));
}

TEST(Audit, an_entry_left_out_is_a_gap_and_an_end_cut_off_is_behind_its_head) {
  const Chains chains;
  auto entries = chains.chain(8);
  const Digest newest = hash_of(entries.back());
  entries.pop_back();
  entries.erase(entries.begin() + 2, entries.begin() + 4);
  AuditView view = view_of(entries);
  ASSERT_TRUE(view.add(chains.head(8, newest)));
  const auto findings = view.findings();
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].kind, Kind::kGap);
  EXPECT_EQ(std::pair(findings[0].first, findings[0].last), std::pair(std::uint64_t{3}, std::uint64_t{4}));
  EXPECT_EQ(findings[1].kind, Kind::kBehind);
  EXPECT_EQ(std::pair(findings[1].first, findings[1].last), std::pair(std::uint64_t{8}, std::uint64_t{8}));
}

TEST(Audit, what_is_behind_a_checkpoint_may_be_missing_but_not_the_newest_entries) {
  const Chains chains;
  const auto entries = chains.chain(20);
  const AuditHead checkpoint = chains.head(12, hash_of(entries[11]), true);
  AuditView honest = view_of({entries.begin() + 12, entries.end()}, 8);
  ASSERT_TRUE(honest.add(checkpoint));
  EXPECT_TRUE(honest.findings().empty());
  AuditView hiding = view_of({entries.begin() + 15, entries.end()}, 8);
  ASSERT_TRUE(hiding.add(chains.head(15, hash_of(entries[14]), true)));
  const auto findings = hiding.findings();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(std::pair(findings[0].first, findings[0].last), std::pair(std::uint64_t{13}, std::uint64_t{15}));
  AuditView forked = view_of({entries.begin() + 12, entries.end()}, 8);
  ASSERT_TRUE(forked.add(chains.head(12, Digest{7}, true)));
  EXPECT_EQ(forked.findings().at(0).kind, Kind::kEquivocation);
}

TEST(Audit, what_is_found_depends_on_what_was_said_and_not_on_the_order) {
  const Chains chains;
  auto all = chains.chain(6);
  const auto fork = chains.after(&all[1], 9);
  all.push_back(fork);
  all.push_back(chains.after(&fork, 9));
  std::vector<AuditHead> heads = {chains.head(6, hash_of(all[5])), chains.head(2, Digest{4}),
                                  chains.head(1, hash_of(all[0]), true), chains.head(9, Digest{5})};
  EXPECT_TRUE(rc::check([&] {
    std::vector<AuditStatement> said(all.begin(), all.end());
    said.insert(said.end(), heads.begin(), heads.end());
    const auto chosen = *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, said.size()));
    auto shuffled = chosen;
    const auto swaps = *rc::gen::container<std::vector<std::size_t>>(
        chosen.size(), rc::gen::inRange<std::size_t>(0, std::max<std::size_t>(chosen.size(), 1)));
    for (std::size_t i = 0; i < shuffled.size(); ++i) std::swap(shuffled[i], shuffled[swaps[i]]);
    const auto found = [&](const std::vector<std::size_t>& order) {
      AuditView view(4);
      for (const std::size_t i : order) std::visit([&](const auto& one) { RC_ASSERT(view.add(one)); }, said[i]);
      return view.findings();
    };
    RC_ASSERT(found(chosen) == found(shuffled));
    for (const AuditFinding& finding : found(chosen)) {
      if (finding.proof) RC_ASSERT(verify_proof(chains.directory, *finding.proof));
    }
  }));
}

TEST(Audit, what_decodes_has_one_encoding) {
  const Chains chains;
  const AuditEntry entry = chains.after(nullptr, 3);
  EXPECT_EQ(decode_entry(encode_entry(entry)).value(), entry);
  const AuditHead head = chains.head(4, Digest{2}, true);
  EXPECT_EQ(decode_head(encode_head(head)).value(), head);
  AuditEntry wrong = entry;
  wrong.previous = Digest{1};
  EXPECT_FALSE(decode_entry(encode_entry(wrong)));
  wrong = entry;
  wrong.index = 0;
  EXPECT_FALSE(decode_entry(encode_entry(wrong)));
  wrong = entry;
  wrong.body.resize(kAuditBodyBytesMax + 1);
  EXPECT_FALSE(decode_entry(encode_entry(wrong)));
  EXPECT_FALSE(decode_head(encode_head(chains.head(0, Digest{1}))));
}

}  // namespace
}  // namespace sedge::trust
