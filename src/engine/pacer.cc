#include "engine/pacer.h"

#include <algorithm>

namespace sedge::engine {
namespace {

constexpr double kSmoothing = 0.25;   // weight of the newest measurement
constexpr double kForgetting = 0.01;  // a step, of what was measured for other steps

void smooth(double& value, double measured) { value = value == 0 ? measured : value + kSmoothing * (measured - value); }

}  // namespace

std::size_t Pacer::prompt_rows(std::size_t token_rows, std::size_t first) const {
  const double gap = gap_s_[index(token_rows)], longest = to_seconds(options_.step_max);
  if (token_rows > 0 && (gap == 0 || mixed_ >= options_.mixed_max)) return 0;
  if (row_s_ == 0) return options_.tile;
  double time = token_rows == 0 ? longest : gap * (options_.stretch_max - 1);
  const bool is_short = first > 0 && static_cast<double>(first) * row_s_ < to_seconds(options_.burst_max);
  if (token_rows > 0 && is_short) time = std::max(time, std::min(longest - gap, burst_s_));
  const double most =
      std::clamp(time / row_s_, 1.0, static_cast<double>(options_.rows_max));  // a prompt always comes on
  const auto rows = static_cast<std::size_t>(most);
  return rows < options_.tile ? rows : rows / options_.tile * options_.tile;
}

// Of a step of so many rows: measured, or what the next smaller that was measured makes likely. A guess too low is
// measured at its first use, one too high never: a tenth a row is what memory-bound steps take at most.
double Pacer::likely_s(std::size_t token_rows, std::size_t measured) const {
  for (std::size_t n = measured; n > 0; --n) {
    if (gap_s_[n] > 0) return gap_s_[n] * (1 + 0.1 * static_cast<double>(token_rows - n));
  }
  return 0;
}

// One that had bad luck when it was measured would never be tried again. Only down: where prompts are read, a gap taken
// for longer than it is would let them stretch it.
void Pacer::forget(std::size_t but) {
  for (std::size_t n = kCounts - 1; n > 1; --n) {
    if (n == but || gap_s_[n] == 0) continue;
    const double likely = likely_s(n, n - 1);
    if (likely > 0 && likely < gap_s_[n]) gap_s_[n] += kForgetting * (likely - gap_s_[n]);
  }
}

Pacer::Guesses Pacer::guesses(std::size_t token_rows, std::size_t most, double acceptance, double each_s) const {
  const double without = gap_s(token_rows);
  if (without == 0 || token_rows == 0) return {};
  // Those who share the step wait for the guesses too and bring what they bring anyway.
  const auto others = static_cast<double>(token_rows - 1);
  Guesses best;
  double tokens = 1, chance = 1;
  for (std::size_t k = 1; k <= most; ++k) {
    chance *= acceptance;
    tokens += chance;
    const double time = gap_s(token_rows + k) + each_s * static_cast<double>(k);
    const double gain = (others + tokens) / (others + 1) * without / time;
    if (gain > std::max(best.gain, options_.gain_min)) best = {k, gain};
  }
  return best;
}

void Pacer::took(std::size_t token_rows, std::size_t prompt_rows, Duration time) {
  const double seconds = std::max(to_seconds(time), 1e-9);
  double& gap = gap_s_[index(token_rows)];
  burst_s_ = std::min(burst_s_ + options_.burst_back * seconds, to_seconds(options_.burst_max));
  if (prompt_rows == 0) {
    if (token_rows > 0) {
      smooth(gap, seconds);
      forget(index(token_rows));
    }
    mixed_ = 0;
    return;
  }
  mixed_ = token_rows > 0 ? mixed_ + 1 : 0;
  if (token_rows == 0) burst_s_ = to_seconds(options_.burst_max);
  if (token_rows > 0 && gap == 0) return;  // what the rows took of it is not known
  // A gap that has shrunk since it was measured would make rows seem free.
  smooth(row_s_, std::max(seconds - gap, seconds * 0.05) / static_cast<double>(prompt_rows));
  if (token_rows > 0) burst_s_ -= std::clamp(seconds - gap * options_.stretch_max, 0.0, burst_s_);
}

}  // namespace sedge::engine
