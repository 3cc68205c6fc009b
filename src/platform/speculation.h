// How many tokens to guess ahead in a step, and by whom: where a text repeats itself what it said before, else its
// model's draft model, and nobody where guesses do not pay.
//
// All of it is measured: what steps of both models take, and how often guesses of each kind are right in this very
// text. A draft model that has much to read first, a long prompt, must promise to save more than that takes.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "engine/batch.h"
#include "engine/drafting.h"
#include "engine/engine.h"
#include "platform/pacers.h"

namespace sedge::platform {

// Most tokens guessed ahead: with the next one a tile of eight rows.
inline constexpr std::size_t kGuessesMax = 7;

class Speculation {
 public:
  // `clock` stands still while a step does.
  using Clock = std::function<Instant()>;

  // Sets how many guesses each may try. `members`: texts of one model that are all past their prompts.
  // Errors: Cancelled.
  Status guess(engine::Engine& engine, std::span<engine::Member> members, Pacers& pacers, const Clock& clock,
               const engine::Control* control = nullptr);

 private:
  void choose(std::span<engine::Member> members, Pacers& pacers);
  bool ask_draft(engine::Member& member, const engine::Pacer& pacer, std::size_t texts, std::size_t rows,
                 double least_gain, Pacers& pacers);
  Status draft(engine::Engine& engine, Pacers& pacers, const Clock& clock, const engine::Control* control);

  std::vector<engine::DraftWish> wishes_;
  std::vector<engine::Member*> drafted_;  // whose wishes those are; their own `drafts` are of what was said before
  std::size_t read_max_ = 0;
  engine::Drafting drafting_;
};

}  // namespace sedge::platform
