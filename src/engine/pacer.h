// How many rows of prompts the next step of a batch may take, so that those who are past their prompts do not wait; and
// how many guesses it pays to try.
//
// The problem: a row of a prompt costs time that depends on the model, the machine, the context and who else uses the
// cores; a fixed chunk is either a stall or a crawl. The idea: measure. A step without prompt rows tells what a gap
// between tokens is when nobody reads a prompt; the excess of one with prompt rows, over their number, tells what a row
// costs; as many go along as stretch the gap by `stretch_max`. Where nobody generates only `step_max` bounds a step:
// it is what an urgent newcomer may have to wait. A short prompt is a short disturbance, and whoever sent it waits for
// its first token: where those who generate have no deadlines, short prompts may spend `burst_max` beyond the stretch,
// of which half of the time comes back: so they never go on at less than a quarter of their pace. A long one never
// does: it would only be a little sooner for it. Guesses are worth their rows where the tokens they are expected to
// bring come faster than one by one, by what steps of so many rows were measured to take. It is handed durations and
// reads no clock; what it says changes how fast a text comes, never the text.
#pragma once

#include <array>
#include <cstddef>

#include "base/time.h"

namespace sedge::engine {

struct PacerOptions {
  double stretch_max = 1.8;    // of the gap between tokens while a prompt is read; under 2, for what is not foreseen
  Duration step_max = 100ms;   // of a step where nobody generates
  Duration burst_max = 1s;     // that steps take longer than so for short prompts, none of which takes as long
  double burst_back = 0.5;     // of the time in which others generate comes back
  std::size_t tile = 6;        // rows that cost less together; the first guess of how many to read
  std::size_t rows_max = 84;   // with a dozen tokens beside them one chunk of a pass (EngineOptions)
  double gain_min = 1.1;       // guesses must promise so many times the tokens a second
  std::size_t mixed_max = 32;  // steps with prompt rows between two without, which measure the gap anew
};

class Pacer {
 public:
  explicit Pacer(PacerOptions options = {}) : options_(options), burst_s_(to_seconds(options.burst_max)) {}

  // Rows of prompts for a step with `token_rows` rows past prompts. `first`: the tokens of the whole prompt that comes
  // first, where all texts past theirs have no deadline; else 0. Returns 0: this step is for measuring the gap.
  std::size_t prompt_rows(std::size_t token_rows, std::size_t first = 0) const;

  // Of `most` guesses of a text, each right with probability `acceptance` if those before it were, how many to try in a
  // step that has `token_rows` rows without them, where each takes `each_s` to be guessed.
  struct Guesses {
    std::size_t count = 0;
    double gain = 1;  // so many times the tokens a second
  };
  Guesses guesses(std::size_t token_rows, std::size_t most, double acceptance, double each_s = 0) const;

  // What a step with so many rows past prompts and none of prompts takes, and reading so many rows of a prompt:
  // measured, or what measured ones make likely; 0 where nothing does.
  double gap_s(std::size_t token_rows) const { return likely_s(token_rows, index(token_rows)); }
  double reading_s(std::size_t prompt_rows) const { return row_s_ * static_cast<double>(prompt_rows); }

  // What a step took.
  void took(std::size_t token_rows, std::size_t prompt_rows, Duration time);

 private:
  static constexpr std::size_t kCounts = 33;  // measured apart up to 32 rows; more share the last
  static std::size_t index(std::size_t token_rows) { return token_rows < kCounts ? token_rows : kCounts - 1; }

  double likely_s(std::size_t token_rows, std::size_t measured) const;
  void forget(std::size_t but);

  PacerOptions options_;
  std::array<double, kCounts> gap_s_{};  // of steps without prompt rows; 0: not measured
  double row_s_ = 0;                     // of a prompt row; 0: not measured
  std::size_t mixed_ = 0;                // steps with prompt rows since one without
  double burst_s_;                       // what is left of burst_max
};

}  // namespace sedge::engine
