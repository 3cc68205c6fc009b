#include "mesh/chunks.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "wire/codec.h"

namespace sedge::mesh {
namespace {

constexpr std::size_t kLiarsMax = 256;  // remembered; beyond, the one whose pause ends first is forgotten

std::uint32_t pieces_of(std::uint32_t chunk_bytes) { return (chunk_bytes + wire::kPieceBytes - 1) / wire::kPieceBytes; }
std::uint32_t bytes_of(const ChunkName& chunk, std::uint32_t piece) {
  return std::min(wire::kPieceBytes, chunk.bytes - piece * wire::kPieceBytes);
}
ChunkName chunk_of(const wire::PieceName& piece) { return {piece.chunk, piece.chunk_bytes}; }
wire::PieceName piece_of(const ChunkName& chunk, std::uint32_t number) { return {chunk.hash, chunk.bytes, number}; }

// Of a name that a peer made up: whether such a chunk and piece can be.
bool can_be(const wire::PieceName& piece) {
  return piece.chunk_bytes > 0 && piece.chunk_bytes <= kChunkBytesMax && piece.number < pieces_of(piece.chunk_bytes);
}

}  // namespace

Duration ChunkExchange::jittered(Duration time) {
  return time * 3 / 4 + Duration(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(time.count()) / 2)));
}

// ---- what is wanted -------------------------------------------------------------------------------------------------

void ChunkExchange::fetch(const trust::Digest& hash, const Manifest& manifest, NodeId writer, Instant now) {
  Want want{.hash = hash, .writer = writer, .missing = {}, .chunks = manifest.chunks.size(), .moved = now};
  for (std::size_t i = 0; i < manifest.chunks.size(); ++i) {
    const ChunkName name = manifest.name(i);
    if (!store_.has(name)) want.missing.emplace(name, static_cast<std::uint32_t>(i));
  }
  wants_.push_back(std::move(want));
  on_timer(now);
}

void ChunkExchange::forget(const trust::Digest& hash) {
  const auto want = std::ranges::find(wants_, hash, &Want::hash);
  if (want == wants_.end()) return;
  if (static_cast<std::size_t>(want - wants_.begin()) < active_) --active_;
  const NodeId writer = want->writer;
  wants_.erase(want);
  if (std::ranges::find(wants_, writer, &Want::writer) == wants_.end()) turns_.erase(writer);
  for (auto& [id, peer] : peers_) peer.offers.erase(hash);
}

void ChunkExchange::on_chunk(const ChunkName& name) {
  std::vector<trust::Digest> complete;
  for (Want& want : wants_) {
    if (want.missing.erase(name) > 0 && want.missing.empty()) complete.push_back(want.hash);
  }
  for (const trust::Digest& hash : complete) {
    forget(hash);
    if (hooks.complete) hooks.complete(hash);
  }
}

// The first that waits of the writer whose turn is longest ago, or never was, begins its turn.
void ChunkExchange::activate_next(Instant now) {
  const auto turn = [this](const Want& want) {
    const auto latest = turns_.find(want.writer);
    return latest == turns_.end() ? 0 : latest->second;
  };
  const auto waiting = wants_.begin() + static_cast<std::ptrdiff_t>(active_);
  const auto next = std::ranges::min_element(waiting, wants_.end(), {}, turn);
  next->moved = now;
  turns_[next->writer] = ++last_turn_;
  std::rotate(waiting, next, next + 1);
  ++active_;
}

// One whose sources are away holds up nobody.
void ChunkExchange::rotate(Instant now) {
  for (std::size_t left = active_, at = 0; left > 0 && waits(); --left) {
    if (now - wants_[at].moved < options_.turn) {
      ++at;
      continue;
    }
    Want late = std::move(wants_[at]);
    wants_.erase(wants_.begin() + static_cast<std::ptrdiff_t>(at));
    --active_;
    activate_next(now);
    wants_.push_back(std::move(late));
  }
  while (active_ < options_.active && waits()) activate_next(now);
}

// ---- who has what ---------------------------------------------------------------------------------------------------

void ChunkExchange::on_link_up(NodeId id, Instant now) {
  on_link_down(id, now);  // a new link for another
  Peer peer;
  peer.patience = options_.patience;
  if (const auto liar = liars_.find(id); liar != liars_.end()) peer.left_until = liar->second;
  peers_.insert_or_assign(id, std::move(peer));
  on_timer(now);
}

void ChunkExchange::on_link_down(NodeId id, Instant now) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  abandon(found->second);
  peers_.erase(found);
  feed_all(now);
}

// Unless its next answer can teach nothing.
void ChunkExchange::query(NodeId id, Peer& peer, const Want& want, Instant now) {
  if (peer.left_until > now) return;
  Offer& offer = peer.offers.try_emplace(want.hash, Offer{.query_every = options_.query_every}).first->second;
  if (offer.query_due > now || offer.covers) return;
  offer.queried = true;
  offer.query_due = now + jittered(offer.query_every);
  offer.query_every = std::min(2 * offer.query_every, options_.query_every_max);
  sends_.push_back(
      {id, env::Priority::kLow, false, wire::frame(wire::MessageType::kChunkQuery, wire::ChunkQuery{want.hash})});
}

Status ChunkExchange::on_query(NodeId from, const wire::ChunkQuery& message) {
  wire::ChunkHave have{message.manifest, {}};
  if (const Manifest* manifest = hooks.known ? hooks.known(message.manifest) : nullptr) {
    have.chunks.resize((manifest->chunks.size() + 7) / 8);
    for (std::size_t i = 0; i < manifest->chunks.size(); ++i) {
      if (store_.has(manifest->name(i))) have.chunks[i / 8] |= static_cast<std::uint8_t>(1u << (i % 8));
    }
  }
  sends_.push_back({from, env::Priority::kLow, false, wire::frame(wire::MessageType::kChunkHave, have)});
  return {};
}

Status ChunkExchange::on_have(NodeId from, const wire::ChunkHave& message, Instant now) {
  if (message.chunks.size() > kChunksMax / 8) return fail(Code::kDataLoss, "more chunks than a manifest can have");
  const auto peer = peers_.find(from);
  const auto want = std::ranges::find(wants_, message.manifest, &Want::hash);
  if (peer == peers_.end() || want == wants_.end()) return {};  // not wanted any more
  const auto found = peer->second.offers.find(message.manifest);
  if (found == peer->second.offers.end() || !std::exchange(found->second.queried, false)) return {};  // nobody asked
  Offer& offer = found->second;
  offer.gone = false;
  std::vector<bool> has(want->chunks);
  bool news = false;
  for (std::size_t i = 0; i < std::min(has.size(), message.chunks.size() * 8); ++i) {
    has[i] = (message.chunks[i / 8] >> (i % 8) & 1) != 0;
    news = news || (has[i] && (i >= offer.has.size() || !offer.has[i]));
  }
  offer.covers = std::ranges::all_of(want->missing, [&](const auto& chunk) { return has[chunk.second]; });
  offer.has = std::move(has);
  if (news) offer.query_every = options_.query_every;
  feed(from, peer->second, now);
  return {};
}

// ---- serving --------------------------------------------------------------------------------------------------------

Status ChunkExchange::on_want(NodeId from, const wire::ChunkWant& message) {
  const bool fits = message.pieces.size() <= wire::kPiecesWantedMax && std::ranges::all_of(message.pieces, can_be);
  if (!fits) return fail(Code::kDataLoss, "a want of pieces that cannot be");
  for (const wire::PieceName& name : message.pieces) {
    wire::ChunkPiece piece{name, std::nullopt};
    if (const Buffer* chunk = store_.find(chunk_of(name))) {
      const std::uint32_t bytes = bytes_of(chunk_of(name), name.number);
      piece.bytes = to_buffer(Bytes(*chunk).subspan(std::size_t{name.number} * wire::kPieceBytes, bytes));
      ++stats_.pieces_sent;
      stats_.bytes_sent += bytes;
    }
    sends_.push_back({from, env::Priority::kBulk, false, wire::frame(wire::MessageType::kChunkPiece, piece)});
  }
  return {};
}

// ---- fetching -------------------------------------------------------------------------------------------------------

std::size_t ChunkExchange::sources(const trust::Digest& hash, std::uint32_t number) const {
  return static_cast<std::size_t>(std::ranges::count_if(peers_, [&](const auto& peer) {
    const auto offer = peer.second.offers.find(hash);
    return offer != peer.second.offers.end() && number < offer->second.has.size() && offer->second.has[number];
  }));
}

// The rarest chunk that it has and nobody is asked for; of several one that is drawn. Of the first manifest that lacks
// one.
std::optional<ChunkName> ChunkExchange::choose(const Peer& peer) {
  for (std::size_t w = 0; w < active_; ++w) {
    const Want& want = wants_[w];
    const auto offer = peer.offers.find(want.hash);
    if (offer == peer.offers.end()) continue;
    std::optional<ChunkName> chosen;
    std::size_t rarest = 0;
    std::uint64_t equal = 0;
    for (const auto& [name, number] : want.missing) {
      if (number >= offer->second.has.size() || !offer->second.has[number] || assigned_.contains(name)) continue;
      const std::size_t count = sources(want.hash, number);
      if (chosen && count > rarest) continue;
      equal = chosen && count == rarest ? equal + 1 : 1;
      if (prng_.below(equal) == 0) chosen = name;
      rarest = count;
    }
    if (chosen) return chosen;
  }
  return std::nullopt;
}

// Whether more of a chunk that it began to send is asked for: somebody wants it, and it did not say that it is gone.
bool ChunkExchange::goes_on(const Peer& peer, const ChunkName& name) const {
  return std::ranges::any_of(wants_, [&](const Want& want) {
    const auto offer = peer.offers.find(want.hash);
    return want.missing.contains(name) && (offer == peer.offers.end() || !offer->second.gone);
  });
}

void ChunkExchange::begin(Peer& peer, const ChunkName& name, Instant now) {
  Assigned& assigned = assigned_[name];
  ++assigned.count;
  assigned.since = now;
  const std::uint32_t pieces = pieces_of(name.bytes);
  peer.building.emplace(name, Assembly{Buffer(name.bytes), std::vector<bool>(pieces), 0, pieces});
}

void ChunkExchange::unassign(const ChunkName& name) {
  const auto assigned = assigned_.find(name);
  if (--assigned->second.count == 0) assigned_.erase(assigned);
}

// Of those that others are asked for and it has too.
std::optional<ChunkName> ChunkExchange::longest_under_way(const Peer& peer) const {
  std::optional<ChunkName> longest;
  for (const auto& [name, assigned] : assigned_) {
    if (peer.building.contains(name) || (longest && assigned.since >= assigned_.at(*longest).since)) continue;
    for (std::size_t w = 0; w < active_; ++w) {
      const auto missing = wants_[w].missing.find(name);
      const auto offer = peer.offers.find(wants_[w].hash);
      if (missing == wants_[w].missing.end() || offer == peer.offers.end()) continue;
      if (missing->second < offer->second.has.size() && offer->second.has[missing->second]) longest = name;
    }
  }
  return longest;
}

void ChunkExchange::drop_unwanted(Peer& peer) {
  std::erase_if(peer.building, [&](const auto& building) {
    if (goes_on(peer, building.first)) return false;
    unassign(building.first);
    return true;
  });
}

// What is still owed from before the chunk was dropped and wanted again is not asked for twice.
std::optional<wire::PieceName> ChunkExchange::next_piece(Peer& peer, Instant now) {
  drop_unwanted(peer);
  for (;;) {
    for (auto& [name, assembly] : peer.building) {
      while (assembly.next < assembly.has.size()) {
        const wire::PieceName piece = piece_of(name, assembly.next++);
        if (!assembly.has[piece.number] && !peer.asked.contains(piece)) return piece;
      }
    }
    auto name = choose(peer);
    if (!name && peer.asked.empty()) {
      name = longest_under_way(peer);
      if (name && now < assigned_.at(*name).since + options_.second_after) return std::nullopt;
    }
    if (!name) return std::nullopt;
    begin(peer, *name, now);
  }
}

// Several pieces with one message: half a window is free, or all of it.
void ChunkExchange::feed(NodeId id, Peer& peer, Instant now) {
  if (peer.left_until > now || peer.asked.size() * 2 > peer.window || store_.behind()) return;
  wire::ChunkWant want;
  const bool idle = peer.asked.empty();
  while (peer.asked.size() < peer.window) {
    const auto piece = next_piece(peer, now);
    if (!piece) break;
    peer.asked.insert(*piece);
    want.pieces.push_back(*piece);
  }
  if (want.pieces.empty()) return;
  if (idle) peer.heard = now;
  sends_.push_back({id, env::Priority::kLow, false, wire::frame(wire::MessageType::kChunkWant, want)});
}

void ChunkExchange::feed_all(Instant now) {
  for (auto& [id, peer] : peers_) feed(id, peer, now);
}

// None was late while nobody was asked.
void ChunkExchange::resume(Instant now) {
  for (auto& [name, assigned] : assigned_) assigned.since = now;
  feed_all(now);
}

Status ChunkExchange::on_piece(NodeId from, wire::ChunkPiece message, Instant now) {
  const auto found = peers_.find(from);
  const ChunkName name = chunk_of(message.name);
  if (found == peers_.end() || found->second.asked.erase(message.name) == 0) {  // late: others were asked meanwhile
    stats_.bytes_wasted += message.bytes ? message.bytes->size() : 0;
    return {};
  }
  Peer& peer = found->second;
  const auto building = peer.building.find(name);
  if (building == peer.building.end()) {  // its other pieces told that it is gone there, or nobody wants it any more
    peer.heard = now;
    stats_.bytes_wasted += message.bytes ? message.bytes->size() : 0;
    feed(from, peer, now);
    return {};
  }
  if (!message.bytes) {
    refused(peer, name, now);
    feed_all(now);
    return {};
  }
  if (message.bytes->size() != bytes_of(name, message.name.number)) {
    lied(from, peer, now);
    return fail(Code::kDataLoss, "{} sent a piece of {} bytes, not {}", from.short_hex(), message.bytes->size(),
                bytes_of(name, message.name.number));
  }
  if (4 * (now - peer.heard) < peer.patience) peer.patience = std::max(options_.patience, peer.patience / 2);
  peer.heard = now;
  peer.window = std::min(peer.window + 1, options_.window);
  std::ranges::copy(*message.bytes,
                    building->second.bytes.begin() + std::ptrdiff_t{wire::kPieceBytes} * message.name.number);
  building->second.has[message.name.number] = true;  // asked for once: it was not here
  if (--building->second.lacks == 0) return finish(from, peer, name, now);
  feed(from, peer, now);
  return {};
}

Status ChunkExchange::finish(NodeId from, Peer& peer, const ChunkName& name, Instant now) {
  const Buffer bytes = std::move(peer.building.extract(name).mapped().bytes);
  unassign(name);
  if (name_of(bytes) != name) {
    stats_.bytes_wasted += bytes.size();
    lied(from, peer, now);
    return fail(Code::kDataLoss, "{} sent a chunk that has another hash", from.short_hex());
  }
  if (store_.put(bytes)) {
    stats_.bytes_came += bytes.size();
    for (Want& want : wants_) {
      if (want.missing.contains(name)) want.moved = now;
    }
    on_chunk(name);
  } else {
    stats_.bytes_wasted += bytes.size();
  }
  feed_all(now);
  return {};
}

void ChunkExchange::lied(NodeId from, Peer& peer, Instant now) {
  ++stats_.lies;
  std::erase_if(liars_, [now](const auto& liar) { return liar.second <= now; });
  if (liars_.size() >= kLiarsMax) {
    liars_.erase(std::ranges::min_element(liars_, {}, [](const auto& liar) { return liar.second; }));
  }
  liars_[from] = now + options_.liar_pause;
  leave(peer, options_.liar_pause, now);
  feed_all(now);
}

// It does not have the chunk any more: a newer version came there. What it said of those manifests is void, answers
// that are on their way included; else one that says yes and means no is asked as fast as it answers.
void ChunkExchange::refused(Peer& peer, const ChunkName& name, Instant now) {
  peer.heard = now;
  if (peer.building.erase(name) > 0) unassign(name);
  for (const Want& want : wants_) {
    const auto offer = peer.offers.find(want.hash);
    if (offer == peer.offers.end() || !want.missing.contains(name)) continue;
    offer->second.has.clear();
    offer->second.covers = offer->second.queried = false;
    offer->second.gone = true;
  }
}

void ChunkExchange::abandon(Peer& peer) {
  for (const auto& [name, assembly] : peer.building) {
    unassign(name);
    stats_.bytes_wasted += (assembly.has.size() - assembly.lacks) * wire::kPieceBytes;
  }
  peer.building.clear();
  peer.asked.clear();
  peer.window = 1;
}

void ChunkExchange::leave(Peer& peer, Duration pause, Instant now) {
  abandon(peer);
  peer.left_until = now + pause;
}

// ---- time -----------------------------------------------------------------------------------------------------------

void ChunkExchange::on_timer(Instant now) {
  rotate(now);
  for (auto& [id, peer] : peers_) {
    if (peer.left_until <= now) peer.left_until = Instant{};
    if (peer.asked.empty() || now < peer.heard + peer.patience) continue;
    ++stats_.stalls;
    leave(peer, peer.patience, now);
    peer.patience = std::min(2 * peer.patience, options_.patience_max);
  }
  for (std::size_t w = 0; w < active_; ++w) {
    for (auto& [id, peer] : peers_) query(id, peer, wants_[w], now);
  }
  feed_all(now);
}

Instant ChunkExchange::next_deadline() const {
  if (wants_.empty()) return kNever;
  Instant next = kNever;
  for (const auto& [id, peer] : peers_) {
    if (peer.left_until != Instant{}) {
      next = std::min(next, peer.left_until);
      continue;
    }
    if (!peer.asked.empty()) next = std::min(next, peer.heard + peer.patience);
    if (peer.asked.empty() && peer.building.empty() && !store_.behind()) {
      const auto slow = longest_under_way(peer);
      if (slow) next = std::min(next, assigned_.at(*slow).since + options_.second_after);
    }
    for (std::size_t w = 0; w < active_; ++w) {
      const auto offer = peer.offers.find(wants_[w].hash);
      const bool fresh = offer == peer.offers.end();
      if (fresh || !offer->second.covers) next = std::min(next, fresh ? Instant{} : offer->second.query_due);
    }
  }
  if (active_ < options_.active && waits()) return Instant{};
  for (std::size_t w = 0; waits() && w < active_; ++w) next = std::min(next, wants_[w].moved + options_.turn);
  return next;
}

Status ChunkExchange::on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  switch (type) {
    case wire::MessageType::kChunkQuery: {
      SEDGE_TRY(const auto message, wire::decode<wire::ChunkQuery>(body));
      return on_query(from, message);
    }
    case wire::MessageType::kChunkHave: {
      SEDGE_TRY(const auto message, wire::decode<wire::ChunkHave>(body));
      return on_have(from, message, now);
    }
    case wire::MessageType::kChunkWant: {
      SEDGE_TRY(const auto message, wire::decode<wire::ChunkWant>(body));
      return on_want(from, message);
    }
    case wire::MessageType::kChunkPiece: {
      SEDGE_TRY(auto message, wire::decode<wire::ChunkPiece>(body));
      return on_piece(from, std::move(message), now);
    }
    default:
      return fail(Code::kUnimplemented, "chunk message type {} is of a newer version", static_cast<int>(type));
  }
}

void ChunkExchange::drain(env::Outbox& out) {
  std::ranges::move(sends_, std::back_inserter(out.sends));
  sends_.clear();
}

}  // namespace sedge::mesh
