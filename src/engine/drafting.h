// Lets draft models guess for several texts at once: each pass gives every text one token more, or lets it read on.
//
// A pass of the small model costs little more for several texts than for one, as the large one's does. What a text's
// model has not read yet, its prompt at first, it reads in pieces, a step's share each, so that nobody waits long; it
// guesses once it has read all. How many guesses pay is not known here: Pacer::guesses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/control.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/logits_pass.h"

namespace sedge::engine {

// Of a text whose draft is begun (Generation::begin_draft): at least 1 guess, at most what drafted() says.
struct DraftWish {
  Generation* generation = nullptr;
  std::size_t guesses = 0;
};

class Drafting {
 public:
  // What is behind by no more than so many tokens is read at once, in whatever pass.
  static constexpr std::size_t kFewTokens = 16;

  // For texts of one draft model, each once; all that they may read in this step, beyond kFewTokens each, is `read_max`
  // tokens, in this order.
  void begin(std::span<const DraftWish> wishes, std::size_t read_max);

  // One pass: how many rows it had, 0 when there is nothing left to do. Then each text has its guesses.
  // Errors: Cancelled, and those of Engine::forward: no text has guesses from it.
  Result<std::size_t> pass(Engine& engine, const Control* control = nullptr);
  // Texts in the last pass.
  std::size_t texts() const { return pass_.sequences(); }

 private:
  struct Wish {
    Generation* generation;
    std::size_t guesses;
    std::size_t rows = 0;  // in this pass
    bool done = false;
  };
  void form();
  static void take(Wish& wish, std::span<float> logits);

  std::vector<Wish> wishes_;
  std::size_t read_left_ = 0;
  LogitsPass pass_;
};

}  // namespace sedge::engine
