// A node takes a new key: what its issuer keeps, what its disk says, and what becomes of its audit chain.
#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "crdt/op.h"
#include "mesh/state_rows.h"
#include "mesh/state_sync.h"
#include "node/auditor.h"
#include "node/boot.h"
#include "node/enroller.h"
#include "node/node.h"
#include "node/test_disk.h"
#include "trust/testing.h"

namespace sedge::node {
namespace {

using testing::Disk;
using testing::put_down;

constexpr Instant kStart{};
const trust::Exporter kExporter{1};

struct TestEntropy final : env::Entropy {
  void fill(MutableBytes out) override { source.fill(out); }
  trust::testing::SeededSource source{9};
};

// An issuer with its disk, and a member that may want a new key.
struct Issuer {
  Issuer() { restart(); }

  void restart() {
    IssuerOptions options;
    std::copy_n(fleet.issuer.secret.seed().begin(), options.key.size(), options.key.begin());
    options.certificate = fleet.issuer_certificate;
    options.root = fleet.root.public_key;
    enroller = std::make_unique<Enroller>(options, fleet.secret, std::vector<std::string>(), entropy);
    for (const auto& [key, value] : disk) ASSERT_TRUE(enroller->load(key.first, key.second, value));
  }
  void persist() {
    env::Outbox out;
    enroller->drain(out);
    put_down(disk, out);
    enroller->on_persisting({1});
    enroller->on_durable({1});
  }
  trust::Invitation invite(const trust::testing::Member* former) {
    std::string text;
    const auto shown = [&](const Result<std::string>& given) { text = given.value(); };
    if (former != nullptr)
      enroller->invite_successor(former->chain, shown);
    else
      enroller->invite(std::nullopt, std::nullopt, shown);
    EXPECT_EQ(text, "") << "before the disk has it";
    persist();
    return trust::parse_invitation(text).value();
  }
  // The certificate that this brings; or why not.
  Result<trust::CertificateChain> ask(const trust::Invitation& invitation, const trust::KeyPair& key,
                                      const std::optional<trust::Rotation>& rotation) {
    enroller->on_request(1, trust::make_request(invitation, key.public_key, "whoever", kExporter), kExporter, rotation);
    persist();
    const auto answers = enroller->take_answers();
    if (answers.size() != 1) return fail(Code::kInternal, "{} answers", answers.size());
    if (const auto* no = std::get_if<trust::JoinRefusal>(&answers[0].message)) {
      return fail(Code::kPermissionDenied, "{}", no->why);
    }
    return trust::decode_chain(std::get<trust::JoinGrant>(answers[0].message).chain);
  }

  trust::testing::Fleet fleet{6};
  trust::Grants few{{{trust::Verb::kWrite, "field/#"}}};
  trust::testing::Member rover = fleet.enrol("rover", few), drone = fleet.enrol("drone");
  trust::KeyPair next = trust::KeyPair::generate(fleet.source);
  TestEntropy entropy;
  Disk disk;
  std::unique_ptr<Enroller> enroller;
};

TEST(Enroller, a_member_s_next_key_gets_its_name_and_its_grants) {
  Issuer issuer;
  const trust::Invitation invitation = issuer.invite(&issuer.rover);
  const auto chain =
      issuer.ask(invitation, issuer.next, trust::sign_rotation(issuer.rover.keys.secret, issuer.next.public_key, {}));
  ASSERT_TRUE(chain) << chain.error().message;
  EXPECT_EQ(chain->node.subject, issuer.next.public_key);
  EXPECT_EQ(chain->node.name, "rover");
  EXPECT_EQ(chain->node.grants, issuer.rover.chain.node.grants);
}

TEST(Enroller, an_invitation_for_a_next_key_is_of_no_use_to_others_nor_an_ordinary_one_for_that) {
  Issuer issuer;
  const auto refused = [&](const trust::Invitation& invitation, const std::optional<trust::Rotation>& rotation,
                           std::string_view why) {
    const auto chain = issuer.ask(invitation, issuer.next, rotation);
    ASSERT_FALSE(chain);
    EXPECT_NE(chain.error().message.find(why), std::string::npos) << chain.error().message;
  };
  const trust::Invitation invitation = issuer.invite(&issuer.rover);
  refused(invitation, std::nullopt, "rotate-node");
  refused(invitation, trust::sign_rotation(issuer.drone.keys.secret, issuer.next.public_key, {}), "asks");
  refused(invitation, trust::sign_rotation(issuer.rover.keys.secret, issuer.drone.keys.public_key, {}), "signed");
  refused(issuer.invite(nullptr), trust::sign_rotation(issuer.rover.keys.secret, issuer.next.public_key, {}),
          "--replace");
  EXPECT_TRUE(
      issuer.ask(invitation, issuer.next, trust::sign_rotation(issuer.rover.keys.secret, issuer.next.public_key, {})))
      << "none of them spent it";
}

TEST(Enroller, a_rotation_is_owed_from_the_grant_until_the_former_id_is_revoked_whatever_restarts) {
  Issuer issuer;
  const trust::Invitation invitation = issuer.invite(&issuer.rover);
  issuer.restart();
  ASSERT_EQ(issuer.enroller->replacements().size(), 1u);
  EXPECT_FALSE(issuer.enroller->replacements().begin()->second.successor);
  for (const std::uint64_t written : {5u, 9u}) {  // the answer was lost, and it ran on with its old key
    ASSERT_TRUE(issuer.ask(invitation, issuer.next,
                           trust::sign_rotation(issuer.rover.keys.secret, issuer.next.public_key, {{2}, {written}})));
    issuer.restart();
    const trust::Replacement& owed = issuer.enroller->replacements().begin()->second;
    EXPECT_EQ(owed.former, issuer.rover.chain);
    EXPECT_EQ(owed.successor, issuer.next.public_key);
    EXPECT_EQ(owed.last, (trust::Cut{{2}, {written}})) << "what it wrote until its latest try counts";
  }
  issuer.enroller->forget_replacements(issuer.drone.id);
  EXPECT_EQ(issuer.enroller->replacements().size(), 1u);
  issuer.enroller->forget_replacements(issuer.rover.id);
  issuer.persist();
  issuer.restart();
  EXPECT_TRUE(issuer.enroller->replacements().empty());
  EXPECT_TRUE(issuer.ask(invitation, issuer.next,
                         trust::sign_rotation(issuer.rover.keys.secret, issuer.next.public_key, {{2}, {9}})))
      << "the same key gets the same answer";
}

TEST(Enroller, when_a_member_is_put_out_the_invitation_for_its_next_key_goes_with_it) {
  Issuer issuer;
  const trust::Invitation invitation = issuer.invite(&issuer.rover);
  issuer.enroller->forget_replacements(issuer.rover.id);
  issuer.persist();
  issuer.restart();
  EXPECT_FALSE(
      issuer.ask(invitation, issuer.next, trust::sign_rotation(issuer.rover.keys.secret, issuer.next.public_key, {})));
}

struct NoEngine final : env::Compute {
  std::vector<env::ModelOffer> offers() const override { return {}; }
  std::uint32_t workers() const override { return 1; }
  void start(TaskId, env::JobSpec) override {}
  void run(TaskId, std::uint32_t, env::Urgency) override {}
  void release(TaskId) override {}
};

// One node with its disk; whom it is linked to takes what it sends at once.
struct Machine {
  Machine(const trust::testing::Fleet& fleet, const trust::testing::Member& who, std::uint8_t host, Disk& kept,
          std::optional<IssuerOptions> issuer)
      : self(who), address(env::Endpoint::v4(10, 0, 0, host, 7334)), disk(kept), directory(fleet.root.public_key) {
    EXPECT_TRUE(directory.add(who.encoded));
    NodeOptions options;
    options.name = who.chain.node.name;
    options.epoch = {4};
    options.endpoints = {address};
    options.beacons = false;
    options.issuer = std::move(issuer);
    node.emplace(std::move(options), who.keys.secret.clone(), directory, entropy, engine);
    for (const auto& [key, value] : disk) EXPECT_TRUE(node->load(key.first, key.second, value));
  }
  env::PeerInfo shown(bool dialled) const { return {self.id, address, dialled, self.encoded}; }
  void step(Machine& other, Instant now) {
    for (int i = 0; i < 16 && node->next_deadline() <= now; ++i) node->on_timer(now);
    env::Outbox out;
    node->drain(out, now);
    put_down(disk, out);
    if (!out.records.empty()) node->on_durable(out.lsn, now);
    for (const env::Send& send : out.sends) {
      if (send.to == other.self.id) other.node->on_frame(self.id, send.frame, {}, now);
    }
  }

  const trust::testing::Member& self;
  env::Endpoint address;
  Disk& disk;
  trust::Directory directory;
  TestEntropy entropy;
  NoEngine engine;
  std::optional<node::Node> node;
};

void live(Machine& a, Machine& b, Instant& now, Duration time) {
  for (const Instant until = now + time; now < until; now += 10ms) {
    a.step(b, now);
    b.step(a, now);
  }
}

TEST(Node, a_former_id_is_revoked_when_its_successor_is_a_member_and_not_before) {
  Issuer issuer;
  const trust::testing::Member gateway = issuer.fleet.enrol("gateway");
  const trust::testing::Member next = issuer.fleet.enrol("rover", std::move(issuer.next), issuer.few);
  Disk book, nothing;
  const trust::Replacement owed{issuer.rover.chain, next.keys.public_key, {{2}, {9}}};
  book[{std::string(trust::Replacement::kBucket), trust::replacement_key(1)}] = wire::encode(owed);
  IssuerOptions options;
  std::copy_n(issuer.fleet.issuer.secret.seed().begin(), options.key.size(), options.key.begin());
  options.certificate = issuer.fleet.issuer_certificate;
  options.root = issuer.fleet.root.public_key;
  Machine at_issuer(issuer.fleet, gateway, 1, book, options), at_rover(issuer.fleet, next, 2, nothing, std::nullopt);
  Instant now = kStart + 100s;
  at_issuer.node->start(now);
  at_rover.node->start(now);
  live(at_issuer, at_rover, now, 5s);
  EXPECT_FALSE(at_issuer.directory.revoked(issuer.rover.id)) << "until then its home may run under its former key";

  at_issuer.node->on_link_up(at_rover.shown(true), now);
  at_rover.node->on_link_up(at_issuer.shown(false), now);
  live(at_issuer, at_rover, now, 10s);
  for (const Machine* machine : {&at_issuer, &at_rover}) {
    const trust::Directory& directory = machine->directory;
    EXPECT_TRUE(directory.revoked(issuer.rover.id));
    ASSERT_NE(directory.find(issuer.rover.id), nullptr) << "the revocation brings the certificate for what stays";
    EXPECT_TRUE(directory.accepts_write(issuer.rover.id, {2}, {9}));
    EXPECT_FALSE(directory.accepts_write(issuer.rover.id, {2}, {10}));
    EXPECT_FALSE(directory.accepts_write(issuer.rover.id, {3}, {1}));
  }
  EXPECT_TRUE(at_issuer.node->enroller()->replacements().empty()) << "nothing is owed any more";
  EXPECT_FALSE(book.contains({std::string(trust::Replacement::kBucket), trust::replacement_key(1)}));
}

TEST(Node, an_issuer_that_took_a_new_key_itself_revokes_its_former_id_when_it_runs) {
  Issuer issuer;
  const trust::testing::Member next = issuer.fleet.enrol("rover", std::move(issuer.next), issuer.few);
  Disk book, nothing;
  for (const std::uint64_t try_number : {0u, 1u}) {  // the first was cut off, and it wrote on under its former key
    const trust::Replacement owed{issuer.rover.chain, next.keys.public_key, {{2}, {9 + try_number}}};
    book[{std::string(trust::Replacement::kBucket),
          trust::replacement_key(trust::Replacement::kOwnSerials + try_number)}] = wire::encode(owed);
  }
  IssuerOptions options;
  std::copy_n(issuer.fleet.issuer.secret.seed().begin(), options.key.size(), options.key.begin());
  options.certificate = issuer.fleet.issuer_certificate;
  options.root = issuer.fleet.root.public_key;
  Machine machine(issuer.fleet, next, 1, book, options), nobody(issuer.fleet, issuer.drone, 2, nothing, std::nullopt);
  Instant now = kStart + 100s;
  machine.node->start(now);
  live(machine, nobody, now, 2s);
  EXPECT_TRUE(machine.directory.revoked(issuer.rover.id));
  EXPECT_TRUE(machine.directory.accepts_write(issuer.rover.id, {2}, {10}));
  EXPECT_TRUE(machine.node->enroller()->replacements().empty());
}

// A store that holds what it was given.
struct HeldStore final : store::Store {
  Status apply(std::span<const env::Record> records) override {
    for (const env::Record& record : records) disk[{record.bucket, record.key}] = record.value;
    return {};
  }
  Status load(std::string_view bucket, const std::function<Status(Bytes key, Bytes value)>& visit) override {
    for (const auto& [key, value] : disk) {
      if (key.first == bucket) SEDGE_CHECK(visit(key.second, value));
    }
    return {};
  }
  Disk disk;
};

TEST(LastWrite, is_the_greatest_that_the_disk_knows_of_even_where_newer_ones_ended_it) {
  Issuer issuer;
  HeldStore store;
  const auto last = [&] { return last_write(store, issuer.rover.id).value(); };
  EXPECT_EQ(last(), trust::Cut{}) << "it never wrote";
  const auto write = [&](const trust::testing::Member& who, std::uint64_t epoch, std::uint64_t sequence) {
    crdt::Op op;
    op.dot = {who.id, {epoch}, {sequence}};
    op.stamp = crdt::Hlc::at_ms(1000);
    op.path = "field/north";
    op.value = Buffer{1};
    crdt::sign_op(op, who.keys.secret);
    store.disk[{std::string(mesh::kStateOpBucket), Buffer{std::uint8_t(epoch), std::uint8_t(sequence)}}] =
        crdt::encode_op(op);
  };
  write(issuer.rover, 2, 7);
  write(issuer.rover, 1, 40);
  write(issuer.drone, 9, 9);
  EXPECT_EQ(last(), (trust::Cut{{2}, {7}}));
  crdt::VersionVector known;
  known.add({issuer.rover.id, {2}, {11}});
  const wire::StateRow row = mesh::to_wire(issuer.rover.id, *known.row(issuer.rover.id));
  store.disk[{std::string(mesh::kStateVectorBucket), Buffer{1}}] = wire::encode(row);
  EXPECT_EQ(last(), (trust::Cut{{2}, {11}}));
}

TEST(Auditor, a_node_with_a_new_key_begins_a_new_chain_and_keeps_that_of_its_former_id) {
  Issuer issuer;
  trust::testing::Member next = issuer.fleet.enrol("rover", std::move(issuer.next), issuer.few);
  trust::Directory directory(issuer.fleet.root.public_key);
  for (const auto* member : {&issuer.rover, &next}) ASSERT_TRUE(directory.add(member->encoded));
  Disk disk;
  trust::AuditView former, later;
  for (int life = 0; life < 6; ++life) {  // three under each key
    const trust::testing::Member& self = life < 3 ? issuer.rover : next;
    Auditor::Options options;
    options.self = self.id;
    options.epoch = {static_cast<std::uint64_t>(life + 1)};
    Auditor auditor(std::move(options), self.keys.secret, directory);
    for (const auto& [key, value] : disk) ASSERT_TRUE(auditor.load(key.first, key.second, value));
    auditor.start(kStart);
    env::Outbox out;
    auditor.drain(out, kStart + 2s);
    put_down(disk, out);
    auditor.on_persisting({1});
    auditor.on_durable({1}, kStart + 2s);
    const std::uint64_t own = life < 3 ? static_cast<std::uint64_t>(life + 1) : static_cast<std::uint64_t>(life - 2);
    EXPECT_EQ(auditor.log().last(), own);
    for (const auto& entry : auditor.log().entries()) ASSERT_TRUE((life < 3 ? former : later).add(entry));
    if (life < 3) continue;
    EXPECT_EQ(auditor.entries_of(issuer.rover.id).size(), 3u) << "life " << life;
    for (const Auditor::Row& row : auditor.rows()) EXPECT_TRUE(row.findings.empty()) << row.node.hex();
  }
  EXPECT_TRUE(former.findings().empty());
  EXPECT_TRUE(later.findings().empty()) << "no number was signed twice";
}

}  // namespace
}  // namespace sedge::node
