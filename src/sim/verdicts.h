// Who ran when, who was called dead, and whether that was so.
//
// Problem: a verdict is right if its subject had crashed, wrong if it ran, and neither if the two could not hear each
// other. A judge that looks away while anything is cut sees nothing of a fleet that is always cut somewhere.
//
// Idea: sides. Two nodes are of one side if there is a way between them, over nodes that run, on which each hears the
// next and is heard by it. Whoever calls somebody of its own side dead is mistaken, cut or not; between two sides
// nobody could know. A split may also take all links of a node whose suspicion is on its way: until it has others
// nobody is judged, and once it is over its verdicts still travel for a while, by which nobody is judged either.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/samples.h"
#include "sim/world.h"

namespace sedge::sim {

// What came of all of it, at the end.
struct Judgement {
  Samples detection;  // from a crash to the verdict of each survivor
  Samples revival;    // from the end of a stall to when a node that had called the stalled one dead takes it back
  std::size_t unnoticed = 0;          // survivors that never had a verdict on a crash, counted for each crash
  std::size_t mistaken = 0;           // verdicts on who ran
  std::vector<std::string> examples;  // of both, a few
};

class Verdicts {
 public:
  explicit Verdicts(std::size_t nodes) : lives_(nodes) {}

  void booted(std::size_t i, Instant now);
  void ended(std::size_t i, Instant now);
  void stalled(std::size_t i, Instant now, Duration time);
  // After anything was cut or healed, and after who runs has changed.
  void parted(const World& world);
  // From now on nobody counts: who hears whom is for the radios to say.
  void look_away(Instant now) { away_since_ = now; }

  // Without a break.
  bool ran(std::size_t i, Instant from, Instant to) const;
  // Since when it has run; nothing: it does not.
  std::optional<Instant> up_since(std::size_t i) const;

  Judgement judge(const World& world) const;

 private:
  struct Life {
    Instant from{};
    Instant to = kNever;
  };
  struct Crash {
    Instant at{};
    std::size_t node = 0;
    Instant back = kNever;  // when it started again
  };
  struct Excuse {  // for calling this one dead
    Instant from{}, to = kNever;
    std::size_t whom = 0;
  };
  struct Parted {
    Instant from{}, to = kNever;
    std::vector<std::optional<std::size_t>> side;
  };
  struct Wake {
    Instant at{};
    std::size_t node = 0;
  };

  bool excused(std::size_t seer, std::size_t subject, Instant at) const;
  bool parted_between(std::size_t a, std::size_t b, Instant from, Instant to) const;
  bool must_notice(const Crash& crash, std::size_t seer, Instant end) const;
  void judge_revivals(const World& world, Judgement& judgement) const;

  std::vector<std::vector<Life>> lives_;
  std::vector<Crash> crashes_;
  std::vector<Excuse> excuses_;
  std::vector<Parted> parted_;
  std::vector<Wake> wakes_;  // ends of stalls
  Instant away_since_ = kNever;
};

// Of each running node the least node of its side.
std::vector<std::optional<std::size_t>> sides(const World& world);

}  // namespace sedge::sim
