// The open vocabulary: places, things, people, agents, quantities and messages, each as a phrase that an operator would
// speak with the canonical form that an action carries. The lists are long and half of the proper names are composed
// from syllables, because the model must learn to copy what it has never seen, not to remember our lists.
#pragma once

#include <string>
#include <string_view>

#include "base/prng.h"

namespace sedge::train::heron {

// `spoken` keeps the capitals of proper names; `canon` is lower case without articles (docs/formats/action.md §2).
struct Phrase {
  std::string spoken;
  std::string canon;
};

// Makes the phrase of a slot kind: "place", "pp" (at/in/on/behind a place), "dest" (to a place), "thing", "person",
// "agent", "length", "speed", "duration", "percent", "angle", "clock", "count", "text", ... See kMakers in lexicon.cc.
// Requires: is_phrase_kind(kind).
Phrase make_phrase(std::string_view kind, Prng& prng);
bool is_phrase_kind(std::string_view kind);

// Who is addressed: one agent, a list, a group, everyone. `json` is the value of "who", `except` that of "not" or "".
struct Addressee {
  std::string spoken;
  std::string json;
  std::string except;
};
Addressee make_addressee(Prng& prng);
Addressee make_single_agent(Prng& prng);

}  // namespace sedge::train::heron
