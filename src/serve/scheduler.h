// Which tasks run next on this node, and whether a new one may come in at all.
//
// The problem: an answer after its deadline is worthless, and a queue that accepts everything makes every answer late.
// The idea: earliest deadline first, in slices, so that an urgent task waits at most one slice; and admission by
// simulation: a task is accepted only if, with every task served in deadline order at the measured rates, it and all
// those accepted before still make it. What does not fit is refused at once, with the time after which it may.
// First-come-first-served with time-outs (what inference servers do) was rejected: it spends the engine on answers
// that nobody can use any more. This object never computes: it emits slices.
//
// Where a worker steps several tasks together (batch_max), a step of n costs less than n steps of one, but more than
// one: company is welcome unless it would make somebody more urgent late. What a step of n costs is measured; until it
// is, it counts as n steps of one, so that nothing is promised on hope. Running tasks get their next slice before the
// last is used up, and one that should rest gets a slice of no steps.
// Among tasks without deadlines a short prompt must not wait for thousands of tokens of another one, nor a long one for
// ever: each task's turn is the moment at which its prompt would be read if that had begun at once, and the earlier
// turn goes first. So a prompt is passed by shorter ones that come within the time it takes to read, and by nobody
// later; once it is read, its turn is when it came. Rejected: the shortest first, which starves the longest.
// Source: Liu & Layland 1973 (EDF is optimal on one processor); with w workers the test is the fluid bound, which
// batches only improve on; what they add is found by playing the policy to its end (forecast.h).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/compute.h"
#include "serve/forecast.h"
#include "wire/task_messages.h"

namespace sedge::serve {

struct SchedulerOptions {
  std::uint32_t workers = 1;
  std::uint32_t batch_max = 1;       // tasks of one model that a worker steps together
  std::size_t tasks_max = 64;        // accepted and unfinished; each holds a KV cache
  std::uint32_t slice_tokens = 8;    // decode steps a slice: where batch_max is 1, an urgent task waits for these
  std::uint32_t prefill_chunk = 64;  // prompt tokens one step of prefill does; only the estimate needs it
  double margin = 1.15;              // estimates are stretched by this, for what else the machine does
};

struct Slice {
  TaskId task;
  std::uint32_t steps = 0;  // 0: the slice under way ends
  env::Urgency urgency{};
};

struct Admission {
  bool accepted = false;
  std::string reason;
  Duration retry_after{};
  Duration first_token{};  // expected, when accepted
  Duration step{};
};

class Scheduler {
 public:
  // Offers of equal weights (env::weights_of) count as one model: their tasks share steps.
  Scheduler(SchedulerOptions options, std::vector<env::ModelOffer> offers);
  Scheduler(Scheduler&&) = default;  // not copied: tasks_ points into rates_

  // `resumed`: tokens that are context already. `deadline`: kNever for none.
  Admission submit(TaskId task, const wire::TaskSpec& spec, std::size_t resumed, Instant deadline, Instant now);
  void remove(TaskId task);

  // The next slice to hand out, or none. Call until none.
  std::optional<Slice> next(Instant now);

  // After each slice. A report with an end removes the task.
  void on_report(const env::SliceReport& report, Instant now);

  // Stops and lets run again a task whose reader is slow: parked tasks get no slices.
  void park(TaskId task, bool parked);

  // Tasks whose deadline has passed; the caller ends them.
  std::vector<TaskId> expired(Instant now) const;
  Instant next_deadline() const;

  Duration backlog() const;
  std::size_t running() const;
  std::size_t waiting() const;

 private:
  struct Entry {
    Rates* rates = nullptr;
    Instant arrived{};
    env::Urgency urgency{};
    std::uint32_t prompt_left = 0;  // estimated until the worker says
    std::uint32_t prompt_read = 0;  // by the worker, what was remembered left out
    std::uint32_t tokens_left = 0;
    std::uint32_t generated = 0;
    std::uint32_t granted = 0;  // steps left of its slice
    bool running = false;
    bool ending = false;  // its slice was ended; the last report is still to come
    bool parked = false;
    bool embeds = false;  // what it reads is all its work: no tokens follow
  };
  ForecastOptions forecast_options() const;
  Load load_of(const Entry& entry) const;
  Duration work_left(const Entry& entry) const;
  void take_turn(Entry& entry) const;
  std::vector<TaskId> chosen(Instant now) const;
  bool fits_one_by_one(const Entry& added, Instant now, Admission& answer) const;
  bool fits_together(TaskId added, Instant now, Admission& answer) const;
  std::vector<const Entry*> in_deadline_order() const;

  SchedulerOptions options_;
  std::vector<env::ModelOffer> offers_;
  std::map<std::string, Rates, std::less<>> rates_;  // of weights (env::weights_of); Entry and Load point into it
  std::map<TaskId, Entry> tasks_;
  std::uint64_t arrivals_ = 0;
};

}  // namespace sedge::serve
