// What becomes of tasks that share steps: who runs together, and when each would end. Pure functions of measured rates.
//
// The problem: with batches a task's pace depends on its company, so "how long will it take" has no answer of its own.
// The idea: one policy, used twice. `together` says who steps now: tasks in order of urgency, up to the first that
// would make a more urgent one late. `forecast` plays the same policy to the end, from event to event (a prompt is
// through, a text ends), as admission's test. Rejected: a fixed batch size, which ignores deadlines; a formula for
// the end of each task, which no two policies share; taking in who is less urgent past one that has to wait, which
// gains throughput and breaks the promise that nobody is later than one after the other.
// Source: event-driven simulation of processor sharing, as in queueing theory.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/time.h"

namespace sedge::serve {

inline constexpr std::size_t kBatchMax = 64;  // steps of more texts than this are not told apart

// What one model was measured to do on one worker.
class Rates {
 public:
  Rates(double prefill_tok_s, double decode_tok_s) : prefill_tok_s_(prefill_tok_s) {
    if (decode_tok_s > 0) step_s_[1] = 1 / decode_tok_s;
  }

  // Seconds that `tokens` of a prompt take.
  double prefill_s(double tokens) const;
  // Seconds between two tokens of a text when `batch` texts share the steps. Never more than apart from each other.
  double step_s(std::size_t batch) const;
  // A text's tokens took so long each, in a batch of so many.
  void stepped(std::size_t batch, double seconds);
  // So many tokens of a prompt took so long, alone.
  void read(double tokens, double seconds);

  double generated = 0;  // moving average of tokens an answer has; 0 before the first

 private:
  double prefill_tok_s_;
  std::array<double, kBatchMax + 1> step_s_{};  // by batch; 0: not measured
};

// What is left of one task.
struct Load {
  const Rates* rates = nullptr;  // of its model: those of equal rates may share steps
  double prompt_s = 0;           // of a worker's time, alone
  double tokens = 0;
  Instant deadline = kNever;
};

struct ForecastOptions {
  std::uint32_t workers = 1;
  std::uint32_t batch_max = 1;
  double stretch = 2;    // what prompts of others may make of the time between two tokens
  double margin = 1.15;  // estimates are stretched by this
};

// Which of `loads`, most urgent first, step now: their indices, ascending. At most workers · batch_max, of at most
// `workers` models, each of which counts on its part of the workers and no more.
std::vector<std::size_t> together(std::span<const Load> loads, Instant now, const ForecastOptions& options);

struct Outlook {
  Instant first_token = kNever;
  Instant end = kNever;
};

// When each of `loads`, most urgent first, has its first token and its last. O(n^3) for n loads, n at most some dozens.
std::vector<Outlook> forecast(std::span<const Load> loads, Instant now, const ForecastOptions& options);

}  // namespace sedge::serve
