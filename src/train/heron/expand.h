// Turns grammar rows into one sentence and its action.
#pragma once

#include <string>

#include "base/prng.h"
#include "train/heron/action.h"

namespace sedge::train::heron {

struct Expansion {
  std::string text;       // proper names with capitals, punctuation as the rows have it
  std::string mask;       // one letter for each byte of text: 't' from a row, 's' from a phrase, which is copied
  std::string action;     // canonical JSON
  int template_id = -1;   // the first clause row used
  bool held_out = false;  // a held-out row took part
};

// `with_held_out`: held-out rows take part, often. Never fails: combinations that contradict themselves (one field
// stored twice) are drawn again.
Expansion expand(Prng& prng, bool with_held_out);

}  // namespace sedge::train::heron
