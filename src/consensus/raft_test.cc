// Raft's promises (the paper's figure 3) under everything a network and a disk may do, seed by seed.
#include "consensus/raft.h"

#include <gtest/gtest.h>

#include "consensus/testing/network.h"

namespace sedge::consensus {
namespace {

using testing::node_id;
using testing::Weather;

// What a log drives here: a chain of hashes, so that two histories that differ anywhere differ ever after.
struct Chain {
  Index index = 0;
  std::uint64_t hash = 0;
  std::uint64_t applied = 0;
  template <class V>
  void fields(V& visit) {
    visit("index", index);
    visit("hash", hash);
    visit("applied", applied);
  }
};

// A host's core as Network wants it: a Raft and its chain.
struct Host {
  Chain chain;
  std::unique_ptr<Raft> raft;
  std::function<void(Index, std::uint64_t hash)> on_applied;

  explicit Host(RaftOptions options) {
    Raft::Hooks hooks;
    hooks.apply = [this](Index index, Bytes command) {
      std::uint64_t mixed = chain.hash ^ (index * 0x9E3779B97F4A7C15ULL);
      for (const std::uint8_t byte : command) mixed = splitmix64(mixed) ^ byte;
      chain = {index, mixed, chain.applied + 1};
      if (on_applied) on_applied(index, mixed);
    };
    hooks.snapshot = [this] { return wire::encode(chain); };
    hooks.restore = [this](Bytes bytes) -> Status {
      SEDGE_TRY(chain, wire::decode<Chain>(bytes));
      return {};
    };
    raft = std::make_unique<Raft>(options, std::move(hooks));
  }
  Status load(Bytes key, Bytes value) { return raft->load(key, value); }
  void start(Instant now) { raft->start(now); }
  Status on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
    return raft->on_message(from, type, body, now);
  }
  void on_link_up(NodeId peer, Instant now) { raft->on_link_up(peer, now); }
  void on_timer(Instant now) { raft->on_timer(now); }
  Instant next_deadline() const { return raft->next_deadline(); }
  void drain(env::Outbox& out) { raft->drain(out); }
  void on_persisting(env::Lsn lsn) { raft->on_persisting(lsn); }
  void on_durable(env::Lsn lsn, Instant now) { raft->on_durable(lsn, now); }
};

using Net = testing::Network<Host>;

// A cluster and the judge of what it does.
class Cluster {
 public:
  Cluster(std::size_t nodes, std::uint64_t seed, Weather weather = {}, RaftOptions options = {})
      : net(nodes, seed, weather, [this, options](std::size_t i, std::uint64_t drawn) {
          RaftOptions own = options;
          own.self = node_id(i);
          own.seed = drawn;
          auto host = std::make_unique<Host>(own);
          host->on_applied = [this, i](Index index, std::uint64_t hash) { judge_applied(i, index, hash); };
          return host;
        }) {
    net.watch([this](std::size_t i) { judge(i); });
    net.act(0, [](Host& host, Instant now) { host.raft->found(GroupId{7}, now); });
  }

  Raft& raft(std::size_t i) { return *net.core(i).raft; }
  std::optional<std::size_t> leader() {
    std::optional<std::size_t> found;
    for (std::size_t i = 0; i < net.size(); ++i) {
      if (net.up(i) && raft(i).leads_settled() && (!found || raft(i).term() > raft(*found).term())) found = i;
    }
    return found;
  }
  bool propose(const std::string& text) {
    const auto at = leader();
    bool taken = false;
    if (at) {
      net.act(*at,
              [&](Host& host, Instant now) { taken = host.raft->propose(to_buffer(as_bytes(text)), now).has_value(); });
    }
    return taken;
  }
  bool change(const std::function<void(Configuration&)>& how) {
    const auto at = leader();
    bool taken = false;
    if (at) {
      net.act(*at, [&](Host& host, Instant now) {
        Configuration next = host.raft->configuration();
        how(next);
        taken = host.raft->change(next, now).has_value();
      });
    }
    return taken;
  }
  // Everybody a voter, one at a time, as learners first.
  bool grow() {
    if (!net.run_until([&] { return leader().has_value(); }, 10s)) return false;
    for (std::size_t i = 1; i < net.size(); ++i) {
      const NodeId id = node_id(i);
      if (!net.run_until([&] { return change([&](Configuration& c) { add(c.learners, id); }); }, 20s)) return false;
      if (!net.run_until([&] { return leader() && raft(*leader()).caught_up(id); }, 20s)) return false;
      const auto promote = [&](Configuration& c) {
        remove(c.learners, id);
        add(c.voters, id);
      };
      if (!net.run_until([&] { return change(promote); }, 20s)) return false;
    }
    return net.run_until([&] { return leader() && raft(*leader()).configuration_settled(); }, 20s);
  }
  // All running hosts have applied the same.
  bool one_history() {
    std::optional<Chain> first;
    for (std::size_t i = 0; i < net.size(); ++i) {
      if (!net.up(i)) continue;
      const Chain& chain = net.core(i).chain;
      if (!first) first = chain;
      if (chain.index != first->index || chain.hash != first->hash) return false;
    }
    return first.has_value();
  }

  std::map<Term, std::size_t> leaders;
  std::map<Index, std::uint64_t> history;  // hash after each index that anybody applied
  std::map<Index, Term> committed;         // term of each entry that anybody counts as committed
  std::vector<std::string> broken;
  Net net;

 private:
  void judge_applied(std::size_t i, Index index, std::uint64_t hash) {
    const auto [at, fresh] = history.emplace(index, hash);
    if (at->second != hash) broken.push_back(fmt::format("host {} applied another command at {}", i, index));
  }
  void judge(std::size_t i) {
    if (!net.up(i)) return;
    const Raft& of = raft(i);
    for (Index at = std::max(of.log().base(), seen_commit_[i]) + 1; at <= of.committed(); ++at) {
      const Term term = *of.log().term_at(at);
      const auto [held, fresh] = committed.emplace(at, term);
      if (held->second != term) broken.push_back(fmt::format("host {} committed another entry at {}", i, at));
    }
    seen_commit_[i] = of.committed();
    if (!of.leads()) return;
    const auto [leader, fresh] = leaders.emplace(of.term(), i);
    if (leader->second != i) broken.push_back(fmt::format("two leaders in term {}", of.term().value));
    if (!fresh) return;
    for (const auto& [at, term] : committed) {  // leader completeness
      if (at > of.log().base() && of.log().term_at(at) != term) {
        broken.push_back(fmt::format("the leader of term {} lacks committed entry {}", of.term().value, at));
      }
    }
    judge_logs();
  }
  // Log matching: equal terms at an index, equal logs up to it.
  void judge_logs() {
    for (std::size_t a = 0; a < net.size(); ++a) {
      for (std::size_t b = a + 1; b < net.size(); ++b) {
        if (!net.up(a) || !net.up(b)) continue;
        const Log &one = raft(a).log(), &other = raft(b).log();
        bool same = false;
        for (Index at = std::min(one.last(), other.last()); at > std::max(one.base(), other.base()); --at) {
          if (one.at(at).term == other.at(at).term) same = true;
          if (same && !(one.at(at) == other.at(at))) {
            broken.push_back(fmt::format("logs {} and {} agree above {} and differ there", a, b, at));
          }
        }
      }
    }
  }
  std::map<std::size_t, Index> seen_commit_;
};

TEST(Raft, a_founder_leads_alone_and_commits) {
  Cluster cluster(1, 1);
  ASSERT_TRUE(cluster.net.run_until([&] { return cluster.leader().has_value(); }, 5s));
  EXPECT_TRUE(cluster.propose("one"));
  EXPECT_TRUE(cluster.net.run_until([&] { return cluster.net.core(0).chain.applied == 1; }, 1s));
  cluster.net.crash(0);
  cluster.net.boot(0);
  EXPECT_TRUE(cluster.net.run_until([&] { return cluster.net.core(0).chain.applied == 1; }, 10s));
  EXPECT_EQ(cluster.broken, std::vector<std::string>());
}

TEST(Raft, a_group_grows_through_learners_and_outlives_its_founder) {
  Cluster cluster(5, 2);
  ASSERT_TRUE(cluster.grow());
  EXPECT_EQ(cluster.raft(*cluster.leader()).configuration().voters.size(), 5u);
  ASSERT_TRUE(cluster.propose("before"));
  cluster.net.run(1s);
  cluster.net.crash(0);
  ASSERT_TRUE(cluster.net.run_until([&] { return cluster.leader() && *cluster.leader() != 0; }, 10s));
  ASSERT_TRUE(cluster.propose("after"));
  cluster.net.run(1s);
  cluster.net.boot(0);
  cluster.net.run(3s);
  EXPECT_TRUE(cluster.one_history());
  EXPECT_EQ(cluster.net.core(0).chain.applied, 2u);
  EXPECT_EQ(cluster.broken, std::vector<std::string>());
}

TEST(Raft, a_minority_commits_nothing_and_its_leader_steps_down) {
  Cluster cluster(5, 3);
  ASSERT_TRUE(cluster.grow());
  const std::size_t old = *cluster.leader();
  cluster.net.part({old, (old + 1) % 5});
  bool taken = false;
  Index committed = 0;
  cluster.net.act(old, [&](Host& host, Instant now) {
    committed = host.raft->committed();
    taken = host.raft->propose(to_buffer(as_bytes("in vain")), now).has_value();
  });
  EXPECT_TRUE(taken);
  cluster.net.run(4s);
  EXPECT_FALSE(cluster.raft(old).leads());
  EXPECT_EQ(cluster.raft(old).committed(), committed);
  ASSERT_TRUE(cluster.leader().has_value());
  EXPECT_TRUE(cluster.propose("by the majority"));
  cluster.net.heal();
  cluster.net.run(3s);
  EXPECT_TRUE(cluster.one_history());
  EXPECT_EQ(cluster.broken, std::vector<std::string>());
}

TEST(Raft, who_comes_back_from_a_split_does_not_depose_the_leader) {
  Cluster cluster(3, 4);
  ASSERT_TRUE(cluster.grow());
  const std::size_t lead = *cluster.leader();
  const Term term = cluster.raft(lead).term();
  cluster.net.part({(lead + 1) % 3});
  cluster.net.run(30s);
  cluster.net.heal();
  cluster.net.run(10s);
  EXPECT_EQ(cluster.leader(), lead);
  EXPECT_EQ(cluster.raft(lead).term(), term);
}

// Figure 8 of the paper: an entry of an older term on a majority is not committed by being there.
TEST(Raft, an_entry_of_an_older_term_is_not_committed_by_count) {
  RaftOptions options;
  options.self = node_id(0);
  Host host(options);
  std::uint64_t lsn = 0;
  const auto sync = [&](Instant now) {
    env::Outbox out;
    host.drain(out);
    if (!out.records.empty()) host.on_persisting({++lsn});
    host.on_durable({lsn}, now);
    host.drain(out);
    return out.sends;
  };
  const Instant start{};
  host.start(start);
  const auto tell = [&](NodeId from, wire::MessageType type, const auto& message, Instant now) {
    ASSERT_TRUE(host.on_message(from, type, wire::encode(message), now));
    (void)sync(now);
  };
  // As a follower in term 2 it gets the configuration and an entry that its leader never commits.
  wire::RaftAppend append{.group = GroupId{7}, .term = Term{2}};
  append.entries.push_back(
      {Term{1}, wire::LogKind::kConfiguration, wire::encode(Configuration{{node_id(0), node_id(1), node_id(2)}, {}})});
  append.entries.push_back({Term{2}, wire::LogKind::kCommand, {1}});
  tell(node_id(1), wire::MessageType::kRaftAppend, append, start);
  // It is elected in term 3, and one follower has its log up to the old entry, but not its own.
  const Instant later = host.next_deadline();
  host.on_timer(later);
  (void)sync(later);
  tell(node_id(2), wire::MessageType::kRaftVoteReply, wire::RaftVoteReply{GroupId{7}, Term{3}, true, true}, later);
  tell(node_id(2), wire::MessageType::kRaftVoteReply, wire::RaftVoteReply{GroupId{7}, Term{3}, false, true}, later);
  ASSERT_TRUE(host.raft->leads());
  tell(node_id(2), wire::MessageType::kRaftAppendReply, wire::RaftAppendReply{GroupId{7}, Term{3}, Round{1}, true, {2}},
       later);
  EXPECT_EQ(host.raft->committed(), 0u);
  tell(node_id(2), wire::MessageType::kRaftAppendReply, wire::RaftAppendReply{GroupId{7}, Term{3}, Round{1}, true, {3}},
       later);
  EXPECT_EQ(host.raft->committed(), 3u);
}

// What is left of a group's only voter when its machine takes a new id: its disk. Nobody else could put it right.
TEST(Raft, the_only_voter_stays_it_under_another_id_and_a_voter_of_three_does_not) {
  const NodeId former = node_id(8);
  for (const auto& voters : {std::vector{former}, std::vector{node_id(1), node_id(2), former}}) {
    RaftOptions options;
    options.self = node_id(0);
    options.former = former;
    auto host = std::make_unique<Host>(options);
    const wire::LogEntry begun{Term{3}, wire::LogKind::kConfiguration,
                               wire::encode(Configuration{voters, {node_id(5)}})};
    struct Hard {
      GroupId group;
      Term term;
      NodeId vote;
      void fields(wire::Encoder& visit) {
        visit("group", group);
        visit("term", term);
        visit("vote", vote);
      }
    };
    std::map<Buffer, Buffer> disk = {{{'e', 0, 0, 0, 0, 0, 0, 0, 1}, wire::encode(begun)},
                                     {{'h'}, wire::encode(Hard{GroupId{7}, Term{3}, former})}};
    const bool only = voters.size() == 1;
    Term led;
    for (int life = 0; life < 2; ++life) {  // the second: as any other start
      host = std::make_unique<Host>(options);
      for (const auto& [key, value] : disk) ASSERT_TRUE(host->load(key, value));
      Instant now{};
      host->start(now);
      for (std::uint64_t lsn = 1; lsn < 8; ++lsn) {
        now = std::max(now + 1ms, only ? host->next_deadline() : now + 1s);
        host->on_timer(now);
        env::Outbox out;
        host->drain(out);
        for (const env::Record& record : out.records) disk[record.key] = record.value;
        if (!out.records.empty()) host->on_persisting({lsn});
        host->on_durable({lsn}, now);
      }
      EXPECT_EQ(host->raft->leads_settled(), only);
      EXPECT_EQ(host->raft->configuration(), (Configuration{only ? std::vector{node_id(0)} : voters, {node_id(5)}}));
      if (!only) continue;
      EXPECT_GT(host->raft->log().at(2).term, Term{3}) << "its former id may have told learners another second entry";
      EXPECT_GT(host->raft->term(), led);
      led = host->raft->term();
    }
  }
}

// A follower on its own, told by hand.
struct Follower {
  Follower()
      : host([] {
          RaftOptions options;
          options.self = node_id(0);
          return options;
        }()) {
    host.start(now);
    wire::RaftAppend append{.group = GroupId{7}, .term = Term{2}, .round = Round{1}};
    append.entries.push_back({Term{1}, wire::LogKind::kConfiguration,
                              wire::encode(Configuration{{node_id(0), node_id(1), node_id(2)}, {}})});
    append.entries.push_back({Term{2}, wire::LogKind::kCommand, {1}});
    EXPECT_TRUE(host.on_message(node_id(1), wire::MessageType::kRaftAppend, wire::encode(append), now));
  }
  std::vector<env::Send> drain() {
    env::Outbox out;
    host.drain(out);
    if (!out.records.empty()) host.on_persisting({++lsn});
    return std::move(out.sends);
  }
  std::vector<env::Send> sync() {
    host.on_durable({lsn}, now);
    return drain();
  }
  // The vote that this brings, once it is on disk.
  bool votes_for(NodeId candidate, wire::RaftVote vote) {
    vote.group = GroupId{7};
    EXPECT_TRUE(host.on_message(candidate, wire::MessageType::kRaftVote, wire::encode(vote), now));
    std::vector<env::Send> sends = drain();
    std::ranges::move(sync(), std::back_inserter(sends));
    return std::ranges::any_of(sends, [](const env::Send& send) {
      const auto frame = wire::open_frame(send.frame);
      const auto reply = wire::decode<wire::RaftVoteReply>(frame->body);
      return frame->type == wire::MessageType::kRaftVoteReply && reply && reply->granted;
    });
  }
  Instant now{};
  std::uint64_t lsn = 0;
  Host host;
};

TEST(Raft, entries_are_acknowledged_when_they_are_on_disk) {
  Follower follower;
  EXPECT_TRUE(follower.drain().empty());
  const auto sends = follower.sync();
  ASSERT_EQ(sends.size(), 1u);
  const auto reply = wire::decode<wire::RaftAppendReply>(wire::open_frame(sends[0].frame)->body);
  ASSERT_TRUE(reply);
  EXPECT_TRUE(reply->matched);
  EXPECT_EQ(reply->index.value, 2u);
}

TEST(Raft, a_candidate_whose_log_is_older_gets_no_vote) {
  Follower follower;
  (void)follower.drain();
  (void)follower.sync();
  follower.now += 10s;
  EXPECT_FALSE(follower.votes_for(node_id(2), {.term = Term{3}, .last_index = {9}, .last_term = Term{1}}));
  EXPECT_FALSE(follower.votes_for(node_id(2), {.term = Term{4}, .last_index = {1}, .last_term = Term{2}}));
  EXPECT_TRUE(follower.votes_for(node_id(2), {.term = Term{5}, .last_index = {2}, .last_term = Term{2}}));
}

// The order may come after the first entries of the group that it makes. They are acknowledged, and count on us.
TEST(Raft, who_follows_a_forced_group_and_hears_of_the_order_later_forgets_nothing) {
  Follower follower;
  (void)follower.sync();
  Raft& raft = *follower.host.raft;
  raft.force({.number = 1, .former = {6}, .group = {7}, .voters = {node_id(1), node_id(2)}}, follower.now);
  EXPECT_EQ(raft.last_index(), 2u);
  EXPECT_EQ(raft.forced(), 1u);
  EXPECT_EQ(raft.next_deadline(), kNever) << "it was not named, and has no configuration of the new group yet";
  follower.now += 10min;
  raft.on_timer(follower.now);
  EXPECT_FALSE(raft.leads());
}

TEST(Raft, a_named_voter_without_a_log_does_not_lead_alone) {
  RaftOptions options;
  options.self = node_id(0);
  Host host(options);
  Instant now{};
  host.start(now);
  host.raft->force({.number = 1, .former = {6}, .group = {7}, .voters = {node_id(0)}}, now);
  for (int turn = 0; turn < 100; ++turn) {
    now += 1s;
    host.on_timer(now);
    env::Outbox out;
    host.drain(out);
    host.on_persisting({static_cast<std::uint64_t>(turn) + 1});
    host.on_durable({static_cast<std::uint64_t>(turn) + 1}, now);
  }
  EXPECT_FALSE(host.raft->leads());
}

// Its leader may count on it for a lease, and it has forgotten that.
TEST(Raft, a_voter_that_has_just_started_votes_for_nobody) {
  Cluster cluster(3, 14);
  ASSERT_TRUE(cluster.grow());
  const std::size_t lead = *cluster.leader(), voter = (lead + 1) % 3;
  const Term term = cluster.raft(lead).term();
  cluster.net.part({voter});
  cluster.net.crash(voter);
  cluster.net.boot(voter);
  const wire::RaftVote vote{.group = GroupId{7}, .term = Term{term.value + 1}, .last_index = {1000}, .last_term = term};
  const auto ask = [&] {
    cluster.net.act(voter, [&](Host& host, Instant now) {
      EXPECT_TRUE(host.on_message(node_id((lead + 2) % 3), wire::MessageType::kRaftVote, wire::encode(vote), now));
    });
  };
  ask();
  EXPECT_EQ(cluster.raft(voter).term(), term);
  cluster.net.run(RaftOptions().election_min);
  ask();
  EXPECT_EQ(cluster.raft(voter).term(), vote.term);
}

TEST(Raft, a_vote_survives_the_voter_s_restart) {
  Cluster cluster(3, 5);
  ASSERT_TRUE(cluster.grow());
  const std::size_t lead = *cluster.leader();
  const std::size_t voter = (lead + 1) % 3, rival = (lead + 2) % 3;
  cluster.net.part({voter});
  cluster.net.run(3s);
  Raft* raft = &cluster.raft(voter);
  const wire::RaftVote vote{
      .group = GroupId{7}, .term = Term{99}, .last_index = {1000}, .last_term = Term{98}, .pre = false, .told = true};
  const auto ask = [&](std::size_t from) {
    cluster.net.act(voter, [&](Host& host, Instant now) {
      EXPECT_TRUE(host.on_message(node_id(from), wire::MessageType::kRaftVote, wire::encode(vote), now));
    });
    cluster.net.run(5ms);
  };
  ask(lead);
  EXPECT_EQ(raft->term(), Term{99});
  cluster.net.crash(voter);
  cluster.net.boot(voter);
  std::size_t granted = 0;
  cluster.net.act(voter, [&](Host& host, Instant now) {
    EXPECT_EQ(host.raft->term(), Term{99});
    EXPECT_TRUE(host.on_message(node_id(rival), wire::MessageType::kRaftVote, wire::encode(vote), now));
    env::Outbox out;
    host.drain(out);
    for (const env::Send& send : out.sends) {
      const auto reply = wire::decode<wire::RaftVoteReply>(wire::open_frame(send.frame)->body);
      if (reply && reply->granted) ++granted;
    }
    EXPECT_FALSE(out.sends.empty());
  });
  EXPECT_EQ(granted, 0u);
}

// A read may be answered by lease only while a majority has followed within it; a deposed leader that does not know it
// answers none.
TEST(Raft, a_leader_cut_off_holds_no_lease_when_another_is_elected) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Cluster cluster(5, seed);
    ASSERT_TRUE(cluster.grow());
    const std::size_t old = *cluster.leader();
    EXPECT_TRUE(cluster.raft(old).lease_holds(cluster.net.now()));
    cluster.net.part({old});
    bool together = false;
    const auto another_leads = [&] {
      for (std::size_t i = 0; i < 5; ++i) {
        if (i != old && cluster.raft(i).leads()) {
          together |= cluster.raft(old).lease_holds(cluster.net.now());
          return true;
        }
      }
      return false;
    };
    EXPECT_TRUE(cluster.net.run_until(another_leads, 20s)) << "seed " << seed;
    EXPECT_FALSE(together) << "seed " << seed;
  }
}

TEST(Raft, a_read_without_a_lease_waits_for_a_round_that_a_majority_follows) {
  Cluster cluster(3, 6);
  ASSERT_TRUE(cluster.grow());
  const std::size_t lead = *cluster.leader();
  cluster.net.part({lead});
  cluster.net.run(1s);
  ASSERT_TRUE(cluster.raft(lead).leads());
  ASSERT_FALSE(cluster.raft(lead).lease_holds(cluster.net.now()));
  cluster.net.act(lead, [](Host& host, Instant now) { EXPECT_TRUE(host.raft->read(now)); });
  EXPECT_TRUE(cluster.raft(lead).take_reads().empty());
  cluster.net.run(3s);
  const auto results = cluster.raft(lead).take_reads();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_FALSE(results[0].current);
}

TEST(Raft, a_leader_that_goes_hands_over_at_once) {
  Cluster cluster(3, 7);
  ASSERT_TRUE(cluster.grow());
  const std::size_t lead = *cluster.leader();
  cluster.net.act(lead, [](Host& host, Instant now) { host.raft->hand_over(now); });
  EXPECT_TRUE(cluster.net.run_until([&] { return cluster.leader() && *cluster.leader() != lead; }, 300ms));
  EXPECT_EQ(cluster.broken, std::vector<std::string>());
}

TEST(Raft, a_leader_that_is_removed_gives_the_lead_away) {
  Cluster cluster(4, 8);
  ASSERT_TRUE(cluster.grow());
  const std::size_t lead = *cluster.leader();
  ASSERT_TRUE(cluster.change([&](Configuration& c) { remove(c.voters, node_id(lead)); }));
  EXPECT_TRUE(cluster.net.run_until([&] { return cluster.leader() && *cluster.leader() != lead; }, 5s));
  cluster.net.run(5s);
  EXPECT_FALSE(cluster.raft(lead).leads());
  EXPECT_EQ(cluster.raft(*cluster.leader()).configuration().voters.size(), 3u);
  EXPECT_EQ(cluster.broken, std::vector<std::string>());
}

TEST(Raft, more_than_one_voter_at_a_time_is_refused) {
  Cluster cluster(3, 9);
  ASSERT_TRUE(cluster.net.run_until([&] { return cluster.leader().has_value(); }, 5s));
  EXPECT_FALSE(cluster.change([](Configuration& c) { c.voters = {node_id(0), node_id(1), node_id(2)}; }));
  EXPECT_FALSE(cluster.change([](Configuration& c) { c.voters.clear(); }));
  EXPECT_TRUE(cluster.change([](Configuration& c) { c.learners = {node_id(1), node_id(2)}; }));
  EXPECT_FALSE(cluster.change([](Configuration& c) { c.learners.clear(); })) << "another is under way";
}

RaftOptions frugal() {
  RaftOptions options;
  options.snapshot_every = 20;
  options.trailing = 5;
  options.snapshot_part = 8;  // a chain takes several
  options.batch_entries = 7;
  return options;
}

TEST(Raft, who_is_too_far_behind_is_sent_a_snapshot) {
  Cluster cluster(3, 10, {.loss = 0.1}, frugal());
  ASSERT_TRUE(cluster.grow());
  const std::size_t away = (*cluster.leader() + 1) % 3;
  cluster.net.crash(away);
  for (int i = 0; i < 200; ++i) {
    (void)cluster.propose(std::to_string(i));
    cluster.net.run(10ms);
  }
  ASSERT_TRUE(cluster.leader().has_value());
  EXPECT_GT(cluster.raft(*cluster.leader()).log().base(), 150u);
  EXPECT_LT(cluster.raft(*cluster.leader()).log().size(), 50u);
  cluster.net.boot(away);
  EXPECT_TRUE(cluster.net.run_until([&] { return cluster.one_history(); }, 20s));
  cluster.net.crash(away);  // and what it was sent is on its disk
  cluster.net.boot(away);
  EXPECT_GT(cluster.net.core(away).chain.applied, 100u);
  EXPECT_EQ(cluster.broken, std::vector<std::string>());
}

TEST(Raft, an_idle_group_of_five_is_quiet) {
  Cluster cluster(5, 11);
  ASSERT_TRUE(cluster.grow());
  cluster.net.run(2s);
  const std::uint64_t messages = cluster.net.messages(), bytes = cluster.net.bytes();
  cluster.net.run(10s);
  EXPECT_LE(cluster.net.messages() - messages, 2u * 4 * 41);  // a heartbeat and its answer, each of four, 4 a second
  EXPECT_LE(cluster.net.bytes() - bytes, 30u * 2 * 4 * 41);
}

TEST(Raft, what_is_under_way_is_bounded) {
  RaftOptions options;
  options.uncommitted_max = 10;
  Cluster cluster(3, 12, {}, options);
  ASSERT_TRUE(cluster.grow());
  const std::size_t lead = *cluster.leader();
  cluster.net.part({lead});
  std::size_t taken = 0;
  cluster.net.act(lead, [&](Host& host, Instant now) {
    for (int i = 0; i < 50; ++i) {
      const auto at = host.raft->propose({1}, now);
      if (at)
        ++taken;
      else
        EXPECT_EQ(at.error().code, Code::kResourceExhausted);
    }
  });
  EXPECT_EQ(taken, 10u);
}

TEST(Raft, a_message_of_another_group_is_refused) {
  Cluster cluster(1, 13);
  ASSERT_TRUE(cluster.net.run_until([&] { return cluster.leader().has_value(); }, 5s));
  wire::RaftAppend append{.group = GroupId{8}, .term = Term{100}};
  const Status taken =
      cluster.raft(0).on_message(node_id(0), wire::MessageType::kRaftAppend, wire::encode(append), cluster.net.now());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Code::kFailedPrecondition);
  EXPECT_TRUE(cluster.raft(0).leads());
}

// A random life: crashes that lose what was not synced, splits, one-way cuts, voters that come and go, a bad radio.
void torment(std::uint64_t seed) {
  Prng chance(seed * 77 + 1);
  const std::size_t nodes = 3 + chance.below(3);
  Cluster cluster(nodes, seed, {.latency = 2ms, .jitter = 40ms, .loss = 0.05, .duplicate = 0.05, .sync = 10ms},
                  chance.chance(0.5) ? frugal() : RaftOptions{});
  ASSERT_TRUE(cluster.grow()) << "seed " << seed;
  for (int step = 0; step < 150; ++step) {
    const std::size_t who = chance.below(nodes);
    switch (chance.below(12)) {
      case 0:
        if (cluster.net.up(who)) cluster.net.crash(who);
        break;
      case 1:
      case 2:
        if (!cluster.net.up(who)) cluster.net.boot(who);
        break;
      case 3:
        cluster.net.part({who, chance.below(nodes)});
        break;
      case 4:
        cluster.net.cut(who, chance.below(nodes));
        break;
      case 5:
        cluster.net.heal();
        break;
      case 6:
        (void)cluster.change([&](Configuration& c) {
          is_voter(c, node_id(who)) && c.voters.size() > 1
              ? remove(c.voters, node_id(who))
              : (remove(c.learners, node_id(who)), add(c.voters, node_id(who)));
        });
        break;
      default:
        for (int i = 0; i < 5; ++i) (void)cluster.propose(fmt::format("{} {}", step, i));
        break;
    }
    cluster.net.run(Duration(static_cast<std::int64_t>(chance.below(400'000'000))));
    ASSERT_EQ(cluster.broken, std::vector<std::string>()) << "seed " << seed << " step " << step;
  }
  for (std::size_t i = 0; i < nodes; ++i) {
    if (!cluster.net.up(i)) cluster.net.boot(i);
  }
  cluster.net.heal();
  EXPECT_TRUE(cluster.net.run_until([&] { return cluster.leader().has_value(); }, 60s)) << "seed " << seed;
  for (std::size_t i = 0; i < nodes; ++i) {  // everybody follows again
    EXPECT_TRUE(cluster.net.run_until(
        [&] {
          return cluster.change([&](Configuration& c) {
            if (!is_voter(c, node_id(i))) add(c.learners, node_id(i));
          });
        },
        60s));
  }
  EXPECT_TRUE(cluster.net.run_until([&] { return cluster.propose("last"); }, 20s));
  cluster.net.run(2s);
  EXPECT_TRUE(cluster.net.run_until([&] { return cluster.one_history(); }, 60s)) << "seed " << seed;
  EXPECT_EQ(cluster.broken, std::vector<std::string>()) << "seed " << seed;
  for (const Error& error : cluster.net.refused) ADD_FAILURE() << "seed " << seed << ": " << error.message;
}

TEST(Raft, keeps_its_promises_in_random_lives) {
  for (std::uint64_t seed = 1; seed <= 200 && !HasFailure(); ++seed) torment(seed);
}

}  // namespace
}  // namespace sedge::consensus
