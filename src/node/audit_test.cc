#include <algorithm>

#include <gtest/gtest.h>

#include "node/audit_collector.h"
#include "node/audit_log.h"
#include "node/auditor.h"
#include "node/enroller.h"
#include "node/peer_meter.h"
#include "node/test_disk.h"
#include "trust/audit_view.h"
#include "trust/testing.h"
#include "wire/message_type.h"

namespace sedge::node {
namespace {

using Kind = trust::AuditFinding::Kind;
using testing::Disk;
using testing::put_down;

constexpr Instant kStart{};

struct Fleet : trust::testing::Fleet {
  Fleet() : trust::testing::Fleet(5) {
    for (const auto* member : {&rover, &drone, &gateway}) EXPECT_TRUE(directory.add(member->encoded));
  }
  trust::testing::Member rover = enrol("rover"), drone = enrol("drone"), gateway = enrol("gateway");
  trust::Directory directory{root.public_key};
};

// One life of a node's log; the disk outlives it.
struct Life {
  Life(const Fleet& fleet, Disk& where, std::uint64_t epoch, std::uint64_t kept = 64)
      : disk(where), log({.self = fleet.rover.id, .epoch = {epoch}, .kept = kept}, fleet.rover.keys.secret) {
    for (const auto& [key, value] : disk) EXPECT_TRUE(log.load(key.second, value));
    log.start();
  }
  void append(const std::string& name) { log.append(trust::AuditKind::kStart, trust::AuditStart{name}, 1, now); }
  // What is due goes to the disk; `durable`: and is there.
  void commit(bool durable = true) {
    now += 1s;
    env::Outbox out;
    log.drain(out, now);
    if (out.records.empty()) return;
    log.on_persisting(++lsn);
    if (!durable) return;
    put_down(disk, out);
    log.on_durable(lsn);
  }
  Disk& disk;
  AuditLog log;
  env::Lsn lsn;
  Instant now = kStart;
};

trust::AuditView view_of(const wire::AuditChunk& chunk, std::uint64_t kept = 64) {
  trust::AuditView view(kept);
  for (const Buffer& head : chunk.heads) EXPECT_TRUE(view.add(trust::decode_head(head).value()));
  for (const Buffer& entry : chunk.entries) EXPECT_TRUE(view.add(trust::decode_entry(entry).value()));
  return view;
}

TEST(AuditLog, shows_nothing_that_a_power_cut_could_take_back) {
  const Fleet fleet;
  Disk disk;
  trust::AuditView all;
  for (std::uint64_t epoch = 1; epoch <= 6; ++epoch) {
    Life life(fleet, disk, epoch);
    for (int i = 0; i < 3; ++i) life.append(fmt::format("{}.{}", epoch, i));
    life.commit(epoch % 2 == 0);
    life.append("never on disk");
    const wire::AuditChunk shown = life.log.chunk(0);
    EXPECT_EQ(shown.entries.size(), epoch / 2 * 3);
    for (const Buffer& head : shown.heads) EXPECT_TRUE(all.add(trust::decode_head(head).value()));
    for (const Buffer& entry : shown.entries) EXPECT_TRUE(all.add(trust::decode_entry(entry).value()));
  }
  EXPECT_TRUE(all.findings().empty()) << "three lives that ended in a power cut, and nothing contradicts anything";
  EXPECT_EQ(all.last(), 9u);
}

TEST(AuditLog, entries_wait_for_company_on_the_way_to_the_disk_and_no_longer_than_half_a_second) {
  const Fleet fleet;
  Disk disk;
  Life life(fleet, disk, 1);
  life.append("a");
  env::Outbox out;
  life.log.drain(out, life.now);
  EXPECT_TRUE(out.records.empty());
  EXPECT_EQ(life.log.next_deadline(), kStart + 500ms);
  out.records.push_back({"other", {1}, {1}, false});
  life.log.drain(out, life.now);
  EXPECT_EQ(out.records.size(), 2u);
  EXPECT_EQ(life.log.next_deadline(), kNever);
}

TEST(AuditLog, old_entries_roll_into_a_checkpoint_and_the_disk_stays_bounded) {
  const Fleet fleet;
  Disk disk;
  std::uint64_t appended = 0;
  for (std::uint64_t epoch = 1; epoch <= 4; ++epoch) {
    Life life(fleet, disk, epoch);
    for (int i = 0; i < 100; ++i, ++appended) {
      life.append("x");
      life.commit();
      ASSERT_LE(disk.size(), 64u + 8u + 2u);
    }
    const trust::AuditView view = view_of(life.log.chunk(0));
    EXPECT_TRUE(view.findings().empty());
    EXPECT_EQ(view.last(), appended);
    EXPECT_GE(view.size(), 64u);
    EXPECT_GT(view.checkpoint(), 0u);
  }
}

TEST(AuditLog, a_disk_that_does_not_answer_costs_entries_and_not_memory) {
  const Fleet fleet;
  Disk disk;
  Life life(fleet, disk, 1);
  for (std::size_t i = 0; i < AuditLog::kStagedMax + 10; ++i) life.append("x");
  EXPECT_EQ(life.log.dropped(), 10u);
}

TEST(AuditLog, a_long_chain_comes_in_bounded_chunks_and_any_number_may_be_asked_for) {
  const Fleet fleet;
  Disk disk;
  Life life(fleet, disk, 1, 4000);
  for (int i = 0; i < 3000; ++i) life.append(std::string(100, 'x'));
  life.commit();
  std::uint64_t after = 0;
  std::size_t chunks = 0;
  for (bool more = true; more; ++chunks) {
    const wire::AuditChunk chunk = life.log.chunk(after);
    EXPECT_LE(wire::encode(chunk).size(), AuditLog::kChunkBytesMax + 8192);
    after = trust::decode_entry(chunk.entries.back())->index;
    more = chunk.more;
  }
  EXPECT_EQ(after, 3000u);
  EXPECT_GT(chunks, 2u);
  for (const std::uint64_t odd : {std::uint64_t{3000}, std::uint64_t{3001}, ~std::uint64_t{0}}) {
    EXPECT_TRUE(life.log.chunk(odd).entries.empty());
  }
}

// A collector, and the chains that it asks for as they are.
struct Auditing {
  explicit Auditing(const Fleet& of) : fleet(of), collector({.kept = 64}, of.directory) {
    collector.report = [this](const std::string& text) { reports.push_back(text); };
  }
  // Answers each request with `answer`; the status of the pull.
  Status pull(const std::function<wire::AuditChunk(const wire::AuditRequest&)>& answer) {
    Status result = fail(Code::kUnknown, "it never ended");
    collector.pull(fleet.rover.id, [&](const Status& status) { result = status; }, now);
    for (int round = 0; round < 100; ++round) {
      for (const env::Send& send : collector.take_sends()) {
        const auto request = wire::decode<wire::AuditRequest>(wire::open_frame(send.frame)->body).value();
        static_cast<void>(collector.on_chunk(fleet.rover.id, answer(request), now));
      }
    }
    env::Outbox out;
    collector.drain(out);
    put_down(disk, out);
    return result;
  }
  std::vector<trust::AuditFinding> findings() const { return collector.views().at(fleet.rover.id).findings(); }

  const Fleet& fleet;
  Disk disk;
  AuditCollector collector;
  std::vector<std::string> reports;
  Instant now = kStart;
};

TEST(AuditCollector, a_chain_that_grew_is_fetched_from_where_it_ended) {
  const Fleet fleet;
  Disk disk;
  Life life(fleet, disk, 1);
  Auditing auditing(fleet);
  for (std::size_t round = 1; round <= 3; ++round) {
    for (int i = 0; i < 10; ++i) life.append("x");
    life.commit();
    std::size_t shown = 0;
    ASSERT_TRUE(auditing.pull([&](const wire::AuditRequest& request) {
      const wire::AuditChunk chunk = life.log.chunk(request.after);
      shown += chunk.entries.size();
      return chunk;
    }));
    EXPECT_EQ(shown, 10u);
    EXPECT_TRUE(auditing.findings().empty());
    EXPECT_EQ(auditing.collector.views().at(fleet.rover.id).size(), round * 10);
  }
}

TEST(AuditCollector, a_home_that_was_restored_from_an_old_copy_is_found_and_the_proof_outlives_us) {
  const Fleet fleet;
  Disk disk;
  Auditing auditing(fleet);
  Life before(fleet, disk, 1);
  for (int i = 0; i < 5; ++i) before.append("x");
  before.commit();
  const Disk copy = disk;
  for (int i = 0; i < 5; ++i) before.append("x");
  before.commit();
  ASSERT_TRUE(auditing.pull([&](const auto& request) { return before.log.chunk(request.after); }));
  Disk restored = copy;
  Life after(fleet, restored, 3);
  for (int i = 0; i < 20; ++i) after.append("y");
  after.commit();
  ASSERT_TRUE(auditing.pull([&](const auto& request) { return after.log.chunk(request.after); }));
  ASSERT_FALSE(auditing.findings().empty());
  EXPECT_EQ(auditing.findings()[0].kind, Kind::kEquivocation);
  EXPECT_EQ(auditing.reports.size(), 1u);
  AuditCollector later({.kept = 64}, fleet.directory);
  for (const auto& [key, value] : auditing.disk) ASSERT_TRUE(later.load(key.first, key.second, value));
  ASSERT_EQ(later.proofs().size(), 1u);
  const auto proved = trust::verify_proof(fleet.directory, later.proofs().begin()->second);
  ASSERT_TRUE(proved);
  EXPECT_EQ(proved->node, fleet.rover.id);
}

TEST(AuditCollector, a_chain_cut_off_at_its_end_is_behind_the_head_that_was_seen) {
  const Fleet fleet;
  Disk disk;
  Life life(fleet, disk, 1);
  for (int i = 0; i < 5; ++i) life.append("x");
  life.commit();
  wire::AuditChunk old = life.log.chunk(0);
  life.append("what it would rather not have done");
  life.commit();
  Auditing auditing(fleet);
  ASSERT_TRUE(auditing.collector.see(life.log.head()));
  ASSERT_TRUE(auditing.pull([&](const auto&) { return old; }));
  ASSERT_EQ(auditing.findings().size(), 1u);
  EXPECT_EQ(auditing.findings()[0].kind, Kind::kBehind);
}

TEST(AuditCollector, one_chain_here_and_another_there_is_found_by_whoever_asks_both) {
  const Fleet fleet;
  Disk here, there;
  Life one(fleet, here, 1), other(fleet, there, 1);
  for (int i = 0; i < 5; ++i) {
    one.append("x");
    other.append("y");
  }
  one.commit();
  other.commit();
  Auditing auditing(fleet);
  ASSERT_TRUE(auditing.pull([&](const auto& request) {
    wire::AuditChunk chunk = one.log.chunk(request.after);
    chunk.heads.push_back(trust::encode_head(other.log.head()));  // as a neighbour remembers it
    return chunk;
  }));
  EXPECT_EQ(auditing.findings().size(), 1u);
  EXPECT_GE(auditing.collector.proofs().size(), 1u);  // two heads, and a head against an entry
}

TEST(AuditCollector, what_is_not_signed_or_not_asked_for_is_not_taken) {
  const Fleet fleet;
  Disk disk;
  Life life(fleet, disk, 1);
  for (int i = 0; i < 5; ++i) life.append("x");
  life.commit();
  Auditing auditing(fleet);
  EXPECT_FALSE(auditing.collector.on_chunk(fleet.rover.id, life.log.chunk(0), kStart)) << "nobody asked";
  const auto altered = [&](const auto& request) {
    wire::AuditChunk chunk = life.log.chunk(request.after);
    trust::AuditEntry entry = trust::decode_entry(chunk.entries[2]).value();
    entry.fleet_ms = 77;
    chunk.entries[2] = trust::encode_entry(entry);
    return chunk;
  };
  EXPECT_EQ(auditing.pull(altered).error().code, Code::kUnauthenticated);
  const auto endless = [&](const auto& request) {
    wire::AuditChunk chunk{fleet.rover.id, request.after, {}, {}, true};
    return chunk;
  };
  EXPECT_EQ(auditing.pull(endless).error().code, Code::kDataLoss);
  Status silent = fail(Code::kUnknown, "it never ended");
  auditing.collector.pull(fleet.drone.id, [&](const Status& status) { silent = status; }, kStart);
  for (int i = 1; i <= 3; ++i) auditing.collector.on_timer(kStart + i * 10s);
  EXPECT_EQ(silent.error().code, Code::kUnavailable);
}

TEST(AuditCollector, remembered_heads_are_few_and_span_the_history) {
  const Fleet fleet;
  AuditCollector collector({.kept = 64}, fleet.directory);
  for (std::uint64_t i = 1; i <= 200; ++i) {
    trust::AuditHead head{fleet.rover.id, i, trust::Digest{static_cast<std::uint8_t>(i)}, false, {}};
    trust::sign_head(head, fleet.rover.keys.secret);
    ASSERT_TRUE(collector.see(head));
  }
  const auto seen = collector.seen(10'000);
  ASSERT_EQ(seen.size(), AuditCollector::kSeenHeadsMax);
  EXPECT_EQ(trust::decode_head(seen.front())->index, 1u);
  EXPECT_EQ(trust::decode_head(seen.back())->index, 200u);
}

TEST(Auditor, refusals_of_a_peer_are_counted_and_written_down_once_a_minute) {
  const Fleet fleet;
  Auditor::Options options;
  options.self = fleet.rover.id;
  Auditor auditor(std::move(options), fleet.rover.keys.secret, fleet.directory);
  auditor.start(kStart);
  for (int i = 0; i < 1000; ++i) auditor.refused(fleet.drone.id, "no grant task:heron", kStart + 1s);
  auditor.on_timer(kStart + 2s);
  auditor.on_timer(kStart + 62s);
  env::Outbox out;
  auditor.drain(out, kStart + 62s);
  auditor.on_persisting({1});
  auditor.on_durable({1}, kStart + 62s);
  const auto entries = auditor.entries_of(fleet.rover.id);
  ASSERT_EQ(entries.size(), 2u);
  const auto refusals = wire::decode<trust::AuditRefusals>(entries[1].body).value();
  EXPECT_EQ(refusals.peer, fleet.drone.id);
  EXPECT_EQ(refusals.count, 1000u);
}

TEST(Auditor, a_head_waits_as_long_as_the_fleet_is_large_when_it_is_due) {
  const Fleet fleet;
  std::size_t members = 1;
  Auditor::Options options;
  options.self = fleet.rover.id;
  options.members = [&] { return members; };
  Auditor auditor(std::move(options), fleet.rover.keys.secret, fleet.directory);
  auditor.start(kStart);
  auditor.on_timer(kStart + 2s);
  env::Outbox out;
  auditor.drain(out, kStart + 2s);
  auditor.on_persisting({1});
  auditor.on_durable({1}, kStart + 2s);  // who starts knows nobody yet
  members = 1000;                        // 2 s each, +-50 %
  EXPECT_FALSE(auditor.take_head(kStart + 92s));
  EXPECT_GE(auditor.next_deadline(), kStart + 1002s);
  EXPECT_TRUE(auditor.take_head(kStart + 3002s));
  EXPECT_FALSE(auditor.take_head(kStart + 6000s));  // nothing new
}

struct TestEntropy final : env::Entropy {
  void fill(MutableBytes out) override { source.fill(out); }
  trust::testing::SeededSource source{9};
};

// An invitation lives in one issuer's book. Where that home was copied, two machines may come in on one invitation, in
// two partitions; both have certificates that are good. It shows in the audit: the copies signed different entries.
TEST(Enroller, an_invitation_is_good_for_one_machine_and_a_copied_issuer_that_uses_it_twice_is_found) {
  Fleet fleet;
  TestEntropy entropy;
  const auto issuer = [&] {
    IssuerOptions options;
    std::copy_n(fleet.issuer.secret.seed().begin(), options.key.size(), options.key.begin());
    options.certificate = fleet.issuer_certificate;
    options.root = fleet.root.public_key;
    return options;
  }();
  Disk book;
  std::string text;
  const auto persist = [](Enroller& enroller, Disk& disk) {
    env::Outbox out;
    enroller.drain(out);
    put_down(disk, out);
    enroller.on_persisting({1});
    enroller.on_durable({1});
  };
  {
    Enroller first(issuer, fleet.secret, {}, entropy);
    first.invite(std::nullopt, std::nullopt, [&](const Result<std::string>& shown) { text = shown.value(); });
    persist(first, book);
  }
  const trust::Invitation invitation = trust::parse_invitation(text).value();
  const trust::Exporter exporter{1};
  const auto joins = [&](Enroller& enroller, Disk& disk, const std::string& name) {
    const auto key = trust::KeyPair::generate(fleet.source);
    enroller.on_request(1, trust::make_request(invitation, key.public_key, name, exporter), exporter);
    persist(enroller, disk);
    const auto answers = enroller.take_answers();
    return answers.size() == 1 && std::holds_alternative<trust::JoinGrant>(answers[0].message);
  };
  const Disk copied = book;
  std::vector<trust::AuditEntry> entries;
  for (const bool copy : {false, true}) {  // the two sides of the partition
    Disk disk = copied;
    Enroller enroller(issuer, fleet.secret, {}, entropy);
    for (const auto& [key, value] : disk) ASSERT_TRUE(enroller.load(key.first, key.second, value));
    Disk chain;
    Life life(fleet, chain, 1);
    enroller.on_enrolled([&](const trust::AuditEnrolled& enrolled) {
      life.log.append(trust::AuditKind::kEnrolled, enrolled, 1, life.now);
    });
    EXPECT_TRUE(joins(enroller, disk, copy ? "two" : "one"));
    EXPECT_FALSE(joins(enroller, disk, "three")) << "spent on this side";
    Enroller restarted(issuer, fleet.secret, {}, entropy);
    for (const auto& [key, value] : disk) ASSERT_TRUE(restarted.load(key.first, key.second, value));
    EXPECT_FALSE(joins(restarted, disk, "four")) << "and stays spent";
    life.commit();
    std::ranges::copy(life.log.entries(), std::back_inserter(entries));
  }
  ASSERT_EQ(entries.size(), 2u) << "one enrolment on each side";
  trust::AuditView view;
  for (const trust::AuditEntry& entry : entries) ASSERT_TRUE(view.add(entry));
  ASSERT_EQ(view.findings().size(), 1u);
  EXPECT_EQ(view.findings()[0].kind, Kind::kEquivocation);
}

TEST(PeerMeter, bursts_pass_floods_do_not_and_a_liar_is_let_back_after_its_time) {
  PeerMeter meter;
  const NodeId peer{{1}};
  Instant now = kStart + 10s;
  int taken = 0;
  for (int i = 0; i < 1000; ++i) taken += meter.takes(peer, wire::MessageType::kStateVector, {}, now) ? 1 : 0;
  EXPECT_EQ(taken, 32);
  EXPECT_EQ(meter.dropped(), 968u);
  EXPECT_TRUE(meter.takes(peer, wire::MessageType::kTaskTokens, {}, now)) << "what costs little is not counted";
  now += 125ms;
  taken = 0;
  for (int i = 0; i < 1000; ++i) taken += meter.takes(peer, wire::MessageType::kProbe, {}, now) ? 1 : 0;
  EXPECT_EQ(taken, 32);
  int lies = 1;
  while (!meter.lied(peer, now)) ++lies;
  EXPECT_EQ(lies, 65);
  EXPECT_TRUE(meter.shunned(peer, now + 59s));
  EXPECT_FALSE(meter.shunned(peer, now + 60s));
  EXPECT_FALSE(meter.shunned(NodeId{{2}}, now));
}

TEST(PeerMeter, who_does_not_read_its_answers_is_told_no_more) {
  PeerMeter meter;
  const NodeId peer{{1}};
  const Instant now = kStart + 10s;
  const std::size_t much = PeerMeter::Options().answer_waits + 1;
  const auto takes = [&](wire::MessageType type) {
    return meter.takes(peer, type, {.control = 0, .state = much}, now);
  };
  EXPECT_FALSE(takes(wire::MessageType::kStateVector));
  EXPECT_TRUE(takes(wire::MessageType::kMemberDigests)) << "a newcomer asks for the table and the state at once";
  EXPECT_TRUE(takes(wire::MessageType::kProbe)) << "or it would call us dead";
  EXPECT_TRUE(takes(wire::MessageType::kStateOps)) << "no question";
  EXPECT_FALSE(meter.takes(peer, wire::MessageType::kMemberSync, {.control = much, .state = 0}, now));
  EXPECT_TRUE(meter.takes(peer, wire::MessageType::kStateVector, {.control = much, .state = much - 1}, now));
  EXPECT_EQ(meter.dropped(), 2u);
}

TEST(PeerMeter, what_is_not_checked_costs_an_eighth_and_half_of_the_budget_is_low) {
  PeerMeter meter;
  const Instant now = kStart + 10s;
  const auto takes_until_full = [&](NodeId peer, bool straight) {
    const int half = straight ? 32'000 : 4000;
    int taken = 0;
    for (auto left = meter.batch(peer, straight, now); left != mesh::BatchBudget::kSpent;) {
      ++taken;
      EXPECT_EQ(left == mesh::BatchBudget::kLow, taken > half) << taken;
      if (::testing::Test::HasFailure()) break;
      left = meter.batch(peer, straight, now);
    }
    return taken;
  };
  EXPECT_EQ(takes_until_full(NodeId{{1}}, false), 8000);
  EXPECT_EQ(takes_until_full(NodeId{{2}}, true), 64'000);
  EXPECT_EQ(meter.dropped(), 2u);
}

}  // namespace
}  // namespace sedge::node
