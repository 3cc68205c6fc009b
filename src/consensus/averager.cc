#include "consensus/averager.h"

#include <algorithm>
#include <cmath>

#include "wire/codec.h"
#include "wire/message_type.h"

namespace sedge::consensus {
namespace {

constexpr std::size_t kNameBytesMax = 255;  // a topic's
constexpr std::size_t kEndedMax = 8192;     // beyond, one that ended first is forgotten
constexpr Duration kEndedTime = 10s;
constexpr unsigned kSessionBits = 32;  // of one life: as many as links may fall in a round
constexpr std::uint64_t kBegunMax = std::uint64_t{1} << 62;
constexpr double kCountError = 0.2;  // from a whole number
constexpr double kValueMax = 1e290;  // of a fleet of them the sum is a number
constexpr std::size_t kOfOneName = 4;
constexpr int kWorthLess = 8;  // of a window, a round that ends after less than such a part is too late to begin

std::uint64_t half_ms(Duration window) { return static_cast<std::uint64_t>(window / 2ms); }

bool young(Duration left, Duration window) { return left * 2 > window; }

PushSum::Share share_of(const wire::AverageShare& told) {
  return {told.number, {told.value, told.ones, told.unit}, told.weight, told.session};
}

Status check_share(const wire::AverageShare& share) {
  if (share.name.empty() || share.name.size() > kNameBytesMax) {
    return fail(Code::kDataLoss, "a name of {} bytes", share.name.size());
  }
  if (share.window < kAverageWindowMin || share.window > kAverageWindowMax || share.left > share.window) {
    return fail(Code::kDataLoss, "an averaging of {} ns", share.window.count());
  }
  if (share.round.begun_ms > kBegunMax) return fail(Code::kDataLoss, "an averaging that begins in no age of ours");
  return {};
}

}  // namespace

void Averager::average(std::string name, double value, Duration window, Done done, Instant now) {
  if (!(std::abs(value) <= kValueMax)) {
    return done(fail(Code::kInvalidArgument, "only numbers up to {:g} have an average", kValueMax));
  }
  if (window < kAverageWindowMin || window > kAverageWindowMax) {
    return done(fail(Code::kInvalidArgument, "an averaging takes 1 s to 10 min"));
  }
  if (parts_.contains(name)) {
    return done(fail(Code::kAlreadyExists, "this node takes part in an averaging of '{}' already", name));
  }
  if (rounds_.size() >= options_.rounds_max) {
    return done(
        fail(Code::kResourceExhausted, "{} averagings are under way: try again when some are over", rounds_.size()));
  }
  Part part{.value = value, .window = window, .in = {}, .done = std::move(done)};
  enter(name, part, now);
  parts_.emplace(std::move(name), std::move(part));
}

// The oldest round that is in its first half; else one of our own, late enough to be no round of the same time. One
// that says that it begins in a far future is no round of ours: beside it we would drive our own there, for good.
void Averager::enter(const std::string& name, Part& part, Instant now) {
  const std::uint64_t now_ms = options_.fleet_ms ? options_.fleet_ms(now) : 1;
  const std::uint64_t far_ms = std::max(now_ms, last_begun_ms_) + static_cast<std::uint64_t>(kAverageWindowMax / 1ms);
  std::uint64_t begun_ms = std::max(last_begun_ms_ + 1, now_ms);
  auto found = rounds_.lower_bound(Key{name, {}});
  for (; found != rounds_.end() && found->first.first == name && found->first.second.begun_ms <= far_ms; ++found) {
    if (young(found->second.until - now, found->second.window)) break;
    begun_ms = std::max(begun_ms, found->first.second.begun_ms + half_ms(found->second.window));
  }
  double unit = 0;
  if (found == rounds_.end() || found->first.first != name || found->first.second.begun_ms > far_ms) {
    last_begun_ms_ = begun_ms;
    const Key key{name, {last_begun_ms_, options_.self}};
    found = begin(key, NodeId{}, part.window, part.window, now);
    unit = 1;
  }
  part.in = found->first;
  found->second.sums.add({part.value, 1, unit});
}

Averager::Rounds::iterator Averager::begin(const Key& key, NodeId by, Duration window, Duration left, Instant now) {
  ++stats_.rounds;
  give_way_to(key, window);
  const std::uint64_t session = (options_.epoch.value << kSessionBits) + 1;
  const auto made = rounds_
                        .emplace(key, Round{.window = window,
                                            .until = now + left,
                                            .next_turn = now + window / options_.turns,
                                            .by = by,
                                            .sums = PushSum({0, 0, 0}, 1, session),
                                            .last = {}})
                        .first;
  // At once to all: the round is known everywhere after as many hops as the fleet is wide.
  for (const NodeId peer : links_) {
    if (peer != by && takes(peer, key.first)) send(key, made->second, peer, made->second.sums.show(peer), now);
  }
  return made;
}

Status Averager::on_message(NodeId from, Bytes body, Instant now) {
  SEDGE_TRY(const auto share, wire::decode<wire::AverageShare>(body));
  SEDGE_CHECK(check_share(share));
  if (!takes(from, share.name)) {
    return fail(Code::kPermissionDenied, "{} may not publish on '{}'", from.short_hex(), share.name);
  }
  const Key key{share.name, share.round};
  auto found = rounds_.find(key);
  if (found == rounds_.end()) {
    if (const auto older = older_of_its_time(key); older != rounds_.end()) {  // which the sender may not know
      send(older->first, older->second, from, older->second.sums.show(from), now);
      return {};
    }
    if (kWorthLess * share.left < share.window || ended_.contains(key) || !links_.contains(from)) return {};
    if (!has_room(from, share.name)) {
      ++stats_.dropped;
      return {};
    }
    found = begin(key, from, share.window, share.left, now);
    follow_the_older(key, now);
  }
  found->second.heard = true;
  return found->second.sums.take(from, share_of(share));
}

// For a round of others: not too many by one neighbour's word, nor of one name, and a quarter of all for names that we
// take part in.
bool Averager::has_room(NodeId from, const std::string& name) const {
  const auto count = [this](const auto& is) { return static_cast<std::size_t>(std::ranges::count_if(rounds_, is)); };
  const std::size_t most = parts_.contains(name) ? options_.rounds_max : options_.rounds_max / 4 * 3;
  return rounds_.size() < most && count([&](const auto& each) { return each.first.first == name; }) < kOfOneName &&
         count([&](const auto& each) { return each.second.by == from; }) < options_.rounds_of_one;
}

// The round that takes this one's place everywhere: of its name, and begun less than half of its window before it.
Averager::Rounds::iterator Averager::older_of_its_time(const Key& key) {
  for (auto at = rounds_.lower_bound(Key{key.first, {}}); at != rounds_.end() && at->first < key; ++at) {
    if (key.second.begun_ms - at->first.second.begun_ms < half_ms(at->second.window)) return at;
  }
  return rounds_.end();
}

// Newer ones of the same time end here. If we take part in one we move over, in follow_the_older().
void Averager::give_way_to(const Key& key, Duration window) {
  for (auto at = rounds_.upper_bound(key); at != rounds_.end() && at->first.first == key.first;) {
    const bool over = at->first.second.begun_ms - key.second.begun_ms < half_ms(window);
    at = over ? rounds_.erase(at) : std::next(at);
  }
}

// We take part in a round of that name, and here is an older one that took its place, or can still be joined.
void Averager::follow_the_older(const Key& key, Instant now) {
  const auto part = parts_.find(key.first);
  if (part == parts_.end() || part->second.in <= key) return;
  Round& older = rounds_.at(key);
  if (rounds_.contains(part->second.in) && !young(older.until - now, older.window)) return;
  const double value = part->second.value;
  if (const auto ours = rounds_.find(part->second.in); ours != rounds_.end()) ours->second.sums.add({-value, -1, 0});
  older.sums.add({value, 1, 0});
  part->second.in = key;
}

void Averager::send(const Key& key, const Round& round, NodeId to, const PushSum::Share& share, Instant now) {
  const wire::AverageShare message{.name = key.first,
                                   .round = key.second,
                                   .window = round.window,
                                   .left = round.until - now,
                                   .session = share.session,
                                   .number = share.number,
                                   .value = share.sums[0],
                                   .ones = share.sums[1],
                                   .unit = share.sums[2],
                                   .weight = share.weight};
  sends_.push_back({to, env::Priority::kLow, true, wire::frame(wire::MessageType::kAverageShare, message)});
}

void Averager::turn(const Key& key, Round& round, Instant now) {
  round.next_turn = std::max(now, round.next_turn + round.window / options_.turns);
  const std::vector<double>& sums = round.sums.sums();
  std::vector<NodeId> peers;
  for (const NodeId peer : links_) {
    if (takes(peer, key.first)) peers.push_back(peer);
  }
  // By what we give alone nothing moves: who hears nothing knows nothing of whether it has settled.
  if (std::exchange(round.heard, false) || peers.empty()) {
    round.last.push_back({sums[0] / sums[1], sums[1] / sums[2]});
    if (round.last.size() > options_.still_turns) round.last.pop_front();
  }
  if (peers.empty()) return;
  const NodeId to = peers[prng_.below(peers.size())];
  // Half of what we hold only goes to who is in the round: to another one it would be lost.
  const bool in_it = round.sums.taken().contains(to);
  send(key, round, to, in_it ? round.sums.give(to) : round.sums.show(to), now);
}

void Averager::on_link_up(NodeId peer, Instant now) {
  links_.insert(peer);
  for (auto& [key, round] : rounds_) {
    if (takes(peer, key.first)) send(key, round, peer, round.sums.show(peer), now);
  }
}

void Averager::on_link_down(NodeId peer) {
  links_.erase(peer);
  for (auto& [key, round] : rounds_) round.sums.forget(peer);
}

void Averager::on_timer(Instant now) {
  std::vector<Key> over;
  for (auto& [key, round] : rounds_) {
    if (round.until <= now)
      over.push_back(key);
    else if (round.next_turn <= now)
      turn(key, round, now);
  }
  for (const Key& key : over) finish(key, now);
  std::erase_if(ended_, [now](const auto& each) { return each.second <= now; });
}

Instant Averager::next_deadline() const {
  Instant next = kNever;
  for (const auto& [key, round] : rounds_) next = std::min({next, round.until, round.next_turn});
  return next;
}

// None: it has not settled, or who began it died.
std::optional<Average> Averager::result_of(const Round& round, double value) const {
  if (round.last.size() < options_.still_turns) return std::nullopt;
  const std::vector<double>& sums = round.sums.sums();
  Estimate least{sums[0] / sums[1], sums[1] / sums[2]};
  Estimate most = least;
  for (const Estimate& each : round.last) {
    if (!std::isfinite(each.mean) || !std::isfinite(each.count)) return std::nullopt;
    least = {std::min(least.mean, each.mean), std::min(least.count, each.count)};
    most = {std::max(most.mean, each.mean), std::max(most.count, each.count)};
  }
  if (!std::isfinite(most.mean) || !std::isfinite(least.count) || !(least.count > 0) || most.count > 1e9) {
    return std::nullopt;
  }
  const double size = std::max({std::abs(value), std::abs(least.mean), std::abs(most.mean)});
  if (most.mean - least.mean > options_.tolerance * size) return std::nullopt;
  if (most.count - least.count > options_.tolerance * most.count) return std::nullopt;
  const double whole = std::round(most.count);
  if (whole < 1 || std::abs(most.count - whole) > kCountError) return std::nullopt;
  const double mean = sums[0] / sums[1];
  return Average{.mean = mean, .sum = mean * whole, .count = static_cast<std::uint64_t>(whole)};
}

void Averager::finish(const Key& key, Instant now) {
  const auto round = rounds_.extract(key);
  if (!round) return;  // another one that ended now began an older one
  if (ended_.size() >= kEndedMax) {
    ended_.erase(std::ranges::min_element(ended_, {}, [](const auto& each) { return each.second; }));
  }
  ended_[key] = now + kEndedTime;
  const auto found = parts_.find(key.first);
  if (found == parts_.end() || found->second.in != key) return;
  Part& part = found->second;
  auto result = result_of(round.mapped(), part.value);
  if (!result && part.round < kTries && rounds_.size() < options_.rounds_max) {
    ++part.round;
    return enter(key.first, part, now);
  }
  const auto over = parts_.extract(found);
  if (!result) {
    return over.mapped().done(fail(Code::kUnavailable,
                                   "the average of '{}' did not settle in {} rounds: nodes come and go too fast, or "
                                   "the window is too short for the fleet; retry with a longer one",
                                   key.first, over.mapped().round));
  }
  result->rounds = over.mapped().round;
  over.mapped().done(*result);
}

void Averager::abandon() {
  rounds_.clear();
  for (const auto& [name, part] : std::exchange(parts_, {})) {
    part.done(fail(Code::kAborted, "this node is leaving the fleet"));
  }
}

}  // namespace sedge::consensus
