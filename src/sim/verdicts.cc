#include "sim/verdicts.h"

#include <algorithm>
#include <set>

namespace sedge::sim {
namespace {

constexpr Duration kReturnTime = 1s;     // in which a returning node is told of as dead by tables that are on their way
constexpr Duration kRelinkTime = 5s;     // a split may have taken all links of a node, and each is missed after 3 s
constexpr Duration kVerdictTime = 20s;   // verdicts of a split still travel so long after it
constexpr Duration kLongStall = 1500ms;  // who is stalled longer may be called dead
constexpr Duration kNoticeTime = 10s;    // a survivor that ran so long after a crash knows of it
constexpr Duration kKnownTime = 10s;     // a node that ran so long before its crash was known to all
constexpr std::size_t kExamples = 3;     // of each fault

}  // namespace

std::vector<std::optional<std::size_t>> sides(const World& world) {
  std::vector<std::optional<std::size_t>> side(world.size());
  std::vector<std::size_t> waiting;
  for (std::size_t first = 0; first < world.size(); ++first) {
    if (side[first] || !world.up(first)) continue;
    side[first] = first;
    waiting = {first};
    while (!waiting.empty()) {
      const std::size_t at = waiting.back();
      waiting.pop_back();
      for (std::size_t other = first + 1; other < world.size(); ++other) {
        const bool next = !side[other] && world.up(other) && world.reaches(at, other) && world.reaches(other, at);
        if (!next) continue;
        side[other] = first;
        waiting.push_back(other);
      }
    }
  }
  return side;
}

void Verdicts::booted(std::size_t i, Instant now) {
  lives_[i].push_back({now, kNever});
  for (Crash& crash : crashes_) {
    if (crash.node == i && crash.back == kNever) crash.back = now;
  }
  for (Excuse& excuse : excuses_) {
    if (excuse.whom == i && excuse.to == kNever) excuse.to = now + kReturnTime;
  }
}

void Verdicts::ended(std::size_t i, Instant now) {
  crashes_.push_back({now, i, kNever});
  excuses_.push_back({now, kNever, i});
  lives_[i].back().to = now;
}

void Verdicts::stalled(std::size_t i, Instant now, Duration time) {
  wakes_.push_back({now + time, i});
  if (time >= kLongStall) excuses_.push_back({now, now + time + kVerdictTime, i});
}

void Verdicts::parted(const World& world) {
  const bool open = !parted_.empty() && parted_.back().to == kNever;
  if (!open && !world.any_cut()) return;
  auto side = sides(world);
  if (open) {
    if (parted_.back().side == side) return;
    parted_.back().to = world.now();
  }
  std::set<std::size_t> all;
  for (const auto& each : side) {
    if (each) all.insert(*each);
  }
  if (all.size() > 1) parted_.push_back({world.now(), kNever, std::move(side)});
}

bool Verdicts::ran(std::size_t i, Instant from, Instant to) const {
  return std::ranges::any_of(lives_[i], [&](const Life& life) { return life.from <= from && life.to >= to; });
}

std::optional<Instant> Verdicts::up_since(std::size_t i) const {
  if (lives_[i].empty() || lives_[i].back().to != kNever) return std::nullopt;
  return lives_[i].back().from;
}

// At any time of it, or so shortly before that refutations had no way yet or the other side's verdicts still travelled.
bool Verdicts::parted_between(std::size_t a, std::size_t b, Instant from, Instant to) const {
  return std::ranges::any_of(parted_, [&](const Parted& each) {
    if (each.from > to) return false;
    const bool over = each.to != kNever && each.to < from;
    if (over) return from <= each.to + kVerdictTime;
    const bool apart = each.side[a] && each.side[b] && each.side[a] != each.side[b];
    return from <= each.from + kRelinkTime || apart;
  });
}

bool Verdicts::excused(std::size_t seer, std::size_t subject, Instant at) const {
  if (at >= away_since_ || parted_between(seer, subject, at, at)) return true;
  return std::ranges::any_of(
      excuses_, [&](const Excuse& excuse) { return excuse.whom == subject && at >= excuse.from && at <= excuse.to; });
}

// Not whom its subject's former death, stall or distance had told it already.
bool Verdicts::must_notice(const Crash& crash, std::size_t seer, Instant end) const {
  const Instant until = crash.at + kNoticeTime;
  if (seer == crash.node || until > std::min({end, crash.back, away_since_}) || !ran(seer, crash.at, until))
    return false;
  if (!ran(crash.node, crash.at - kKnownTime, crash.at) ||
      parted_between(seer, crash.node, crash.at - kKnownTime, until)) {
    return false;
  }
  return std::ranges::none_of(excuses_, [&](const Excuse& excuse) {
    return excuse.whom == crash.node && excuse.from < crash.at && excuse.to > crash.at - kKnownTime;
  });
}

void Verdicts::judge_revivals(const World& world, Judgement& judgement) const {
  for (const SeenEvent& seen : world.returns()) {
    // The latest time that it woke; who has not stalled since its death was cut off or had crashed.
    const auto subject = world.index_of(seen.event.id);
    Instant woke{};
    for (const Wake& wake : wakes_) {
      if (wake.node == subject && wake.at <= seen.at) woke = std::max(woke, wake.at);
    }
    if (woke != Instant{} && seen.at - woke < kVerdictTime) judgement.revival.add(seen.at - woke);
  }
}

Judgement Verdicts::judge(const World& world) const {
  Judgement judgement;
  const std::size_t nodes = lives_.size();
  std::vector<std::vector<bool>> told(crashes_.size(), std::vector<bool>(nodes));
  for (const SeenEvent& seen : world.deaths()) {
    const std::size_t subject = world.index_of(seen.event.id).value_or(nodes);
    for (std::size_t c = 0; c < crashes_.size(); ++c) {
      const bool about_it = crashes_[c].node == subject && crashes_[c].at <= seen.at && crashes_[c].back >= seen.at;
      if (!about_it || !ran(seen.node, crashes_[c].at, seen.at) || told[c][seen.node]) continue;
      told[c][seen.node] = true;
      judgement.detection.add(seen.at - crashes_[c].at);
    }
    if (subject == nodes || excused(seen.node, subject, seen.at)) continue;
    if (++judgement.mistaken <= kExamples) {
      judgement.examples.push_back(fmt::format("node-{} called {} dead at {:.2f} s, and it ran: {}", seen.node,
                                               seen.event.name, to_seconds(seen.at - Instant{}), seen.event.detail));
    }
  }
  for (std::size_t c = 0; c < crashes_.size(); ++c) {
    for (std::size_t i = 0; i < nodes; ++i) {
      if (told[c][i] || !must_notice(crashes_[c], i, world.now())) continue;
      if (++judgement.unnoticed <= kExamples) {
        judgement.examples.push_back(fmt::format("node-{} never noticed that node-{} crashed at {:.2f} s", i,
                                                 crashes_[c].node, to_seconds(crashes_[c].at - Instant{})));
      }
    }
  }
  judge_revivals(world, judgement);
  return judgement;
}

}  // namespace sedge::sim
