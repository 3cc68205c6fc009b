// Fetching chunks: many nodes want the same megabytes, and each link carries something more urgent.
//
// Every node that has a chunk is a source of it. A node that misses some of a manifest's chunks asks its neighbours
// which they have (a bit each), again every second or so while that can teach it something, and fetches from all of
// them at once: from each a chunk that no other is asked for, the rarest first, so that neighbours soon have different
// ones to give. A neighbour needs no more than the beginning to be a source itself; so bytes cross a relay while they
// still come in.
// Chunks travel in pieces of 32 KiB at bulk priority, at most three asked for on a link: that is less than what makes
// anything else on it be refused or wait (env::publish_backlog_max), and enough to fill a link of 2 MB/s and 50 ms.
// A chunk comes from one source as a whole, so a wrong hash names the liar: it is reported as an error, and not asked
// for liar_pause. A source that falls silent is left for a while, longer each time, and patience grows with it: a slow
// radio is one whose pieces take long. What it had sent of an unfinished chunk is thrown away; finished ones are kept,
// over restarts too.
// A source that is merely slow holds up the last chunks: a neighbour that has nothing else to give takes the one that
// is longest under way elsewhere. Nothing is asked for while the disk is behind (mesh/chunk_store.h). Of few manifests
// at a time, and the next is one of the writer whose turn is longest ago: a thousand that nobody has keep no other
// writer's waiting for more than a turn. Rejected: pushing chunks along the broadcast tree: whoever has the former
// version would be sent all of it, and a slow link would hold up whoever is behind it. Erasure codes: they pay where
// nobody can say what is missing. Sources: Cohen 2003 (BitTorrent: rarest first, many sources). Bounded: by manifests
// (mesh/tensors.h), neighbours, three pieces a neighbour. Threads: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "env/outbox.h"
#include "mesh/chunk_store.h"
#include "mesh/manifest.h"
#include "wire/chunk_messages.h"
#include "wire/message_type.h"

namespace sedge::mesh {

struct ChunkStats {
  std::uint64_t pieces_sent = 0;
  std::uint64_t bytes_sent = 0;  // of chunks
  std::uint64_t bytes_came = 0;  // of whole chunks that were right
  std::uint64_t bytes_wasted = 0;
  std::uint64_t lies = 0;
  std::uint64_t stalls = 0;
};

class ChunkExchange {
 public:
  struct Options {
    std::uint64_t seed = 0;
    std::size_t window = 3;     // pieces asked of one neighbour, at most wire::kPiecesWantedMax
    Duration query_every = 1s;  // +-25 %, doubled while a neighbour has nothing new, up to
    Duration query_every_max = 4s;
    Duration patience = 10s;  // with a source's silence: 32 KiB in this is 26 kbit/s. Doubled each time, up to
    Duration patience_max = 160s;
    Duration liar_pause = 10min;
    Duration second_after = 2s;  // a chunk is asked of another too, where that has nothing else to give
    std::size_t active = 8;      // manifests asked about at a time; one that does not get on makes room for the next
    Duration turn = 10s;         // after so long
  };
  struct Hooks {
    std::function<void(const trust::Digest& manifest)> complete;          // its last chunk has come
    std::function<const Manifest*(const trust::Digest& manifest)> known;  // of what is held or fetched here
  };

  ChunkExchange(Options options, ChunkStore& store) : options_(options), store_(store), prng_(options.seed) {}
  Hooks hooks;

  // Fetches what the store lacks of a manifest that it has named. At least one chunk is missing.
  void fetch(const trust::Digest& hash, const Manifest& manifest, NodeId writer, Instant now);
  bool fetches(const trust::Digest& hash) const { return std::ranges::find(wants_, hash, &Want::hash) != wants_.end(); }
  void forget(const trust::Digest& hash);
  // The store is not behind any more.
  void resume(Instant now);
  // The store has got this from elsewhere.
  void on_chunk(const ChunkName& name);

  void on_link_up(NodeId peer, Instant now);
  void on_link_down(NodeId peer, Instant now);
  // Errors: DataLoss: what no honest neighbour sends.
  Status on_message(NodeId from, wire::MessageType type, Bytes body, Instant now);
  void on_timer(Instant now);
  Instant next_deadline() const;
  void drain(env::Outbox& out);

  const ChunkStats& stats() const { return stats_; }

 private:
  struct Want {
    trust::Digest hash{};
    NodeId writer;
    std::map<ChunkName, std::uint32_t> missing;  // its number in the manifest
    std::size_t chunks = 0;
    Instant moved{};  // since when it does not get on: a chunk came, or its turn began
  };
  struct Offer {  // what a neighbour has of a manifest
    std::vector<bool> has;
    bool covers = false;   // it has all that was missing when it said so
    bool queried = false;  // and has not answered: what else it says is not listened to
    bool gone = false;     // it refused a piece: until it answers, nothing of this is asked for
    Instant query_due{};
    Duration query_every;
  };
  struct Assembly {
    Buffer bytes;
    std::vector<bool> has;    // a bit a piece: one may come that was asked for when this was begun before
    std::uint32_t next = 0;   // to be asked for
    std::uint32_t lacks = 0;  // pieces
  };
  struct Assigned {  // to neighbours that are asked for it
    std::size_t count = 0;
    Instant since{};  // the latest of them
  };
  struct Peer {
    std::map<trust::Digest, Offer> offers;
    std::map<ChunkName, Assembly> building;
    std::set<wire::PieceName> asked;
    std::size_t window = 1;
    Duration patience{};
    Instant heard{};  // a piece, or asked for the first
    Instant left_until{};
  };

  Status on_query(NodeId from, const wire::ChunkQuery& message);
  Status on_have(NodeId from, const wire::ChunkHave& message, Instant now);
  Status on_want(NodeId from, const wire::ChunkWant& message);
  Status on_piece(NodeId from, wire::ChunkPiece message, Instant now);
  Status finish(NodeId from, Peer& peer, const ChunkName& name, Instant now);
  void lied(NodeId from, Peer& peer, Instant now);
  void refused(Peer& peer, const ChunkName& name, Instant now);

  bool waits() const { return active_ < wants_.size(); }
  void rotate(Instant now);
  void activate_next(Instant now);
  void query(NodeId id, Peer& peer, const Want& want, Instant now);
  void feed_all(Instant now);
  void feed(NodeId id, Peer& peer, Instant now);
  std::optional<wire::PieceName> next_piece(Peer& peer, Instant now);
  void drop_unwanted(Peer& peer);
  bool goes_on(const Peer& peer, const ChunkName& name) const;
  std::optional<ChunkName> choose(const Peer& peer);
  std::optional<ChunkName> longest_under_way(const Peer& peer) const;
  void begin(Peer& peer, const ChunkName& name, Instant now);
  void unassign(const ChunkName& name);
  std::size_t sources(const trust::Digest& hash, std::uint32_t number) const;
  void abandon(Peer& peer);
  void leave(Peer& peer, Duration pause, Instant now);
  Duration jittered(Duration time);

  Options options_;
  ChunkStore& store_;
  Prng prng_;
  std::deque<Want> wants_;
  std::size_t active_ = 0;                 // the first so many of them
  std::map<NodeId, std::uint64_t> turns_;  // of writers with a want: the number of the latest turn
  std::uint64_t last_turn_ = 0;
  std::map<NodeId, Peer> peers_;  // linked
  std::map<ChunkName, Assigned> assigned_;
  std::map<NodeId, Instant> liars_;  // until when, over new links
  ChunkStats stats_;
  std::vector<env::Send> sends_;
};

}  // namespace sedge::mesh
