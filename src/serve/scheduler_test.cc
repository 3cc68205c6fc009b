#include "serve/scheduler.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::serve {
namespace {

constexpr Instant kStart{};

TaskId task_number(std::uint8_t number) {
  TaskId id;
  id.bytes[0] = number;
  return id;
}

env::ModelOffer offer() {
  env::ModelOffer model;
  model.name = "m";
  model.prefill_tok_s = 1000;
  model.decode_tok_s = 100;
  return model;
}

wire::TaskSpec spec(std::uint32_t tokens, const std::string& prompt = "hi") {
  wire::TaskSpec task;
  task.model = "m";
  task.prompt = prompt;
  task.tokens_max = tokens;
  return task;
}

Scheduler scheduler(std::uint32_t workers = 1) { return Scheduler({.workers = workers, .margin = 1.0}, {offer()}); }

// Runs the engine: serves slices at the advertised rate until nothing is left; returns who ended in time.
std::map<TaskId, Instant> serve_all(Scheduler& s, Instant now, std::map<TaskId, std::uint32_t> lengths) {
  std::map<TaskId, Instant> ended;
  while (const auto slice = s.next(now)) {
    env::SliceReport report;
    report.task = slice->task;
    std::uint32_t& left = lengths.at(slice->task);
    const std::uint32_t made = std::min(left, slice->steps);
    left -= made;
    report.tokens.resize(made);
    report.prompt_tokens = 1;
    report.prefilled = 1;
    report.busy = Duration(made * 10'000'000LL);
    now += report.busy;
    if (left == 0) report.end = env::JobEnd::kStop;
    s.on_report(report, now);
    if (left == 0) ended[slice->task] = now;
  }
  return ended;
}

TEST(Scheduler, the_earliest_deadline_runs_first_and_preempts_between_slices) {
  Scheduler s = scheduler();
  ASSERT_TRUE(s.submit(task_number(1), spec(80), 0, kStart + 5000ms, kStart).accepted);
  EXPECT_EQ(s.next(kStart)->task, task_number(1));
  EXPECT_FALSE(s.next(kStart)) << "one worker runs one slice";
  ASSERT_TRUE(s.submit(task_number(2), spec(10), 0, kStart + 1000ms, kStart).accepted);
  env::SliceReport report;
  report.task = task_number(1);
  report.tokens.resize(8);
  s.on_report(report, kStart + 80ms);
  EXPECT_EQ(s.next(kStart + 80ms)->task, task_number(2));
}

TEST(Scheduler, a_task_that_cannot_make_it_is_refused_with_the_reason_and_when_to_retry) {
  Scheduler s = scheduler();
  const Admission alone = s.submit(task_number(1), spec(100), 0, kStart + 500ms, kStart);
  EXPECT_FALSE(alone.accepted);
  EXPECT_NE(alone.reason.find("too late"), std::string::npos) << alone.reason;
  ASSERT_TRUE(s.submit(task_number(2), spec(80), 0, kStart + 1000ms, kStart).accepted);
  const Admission behind = s.submit(task_number(3), spec(40), 0, kStart + 1100ms, kStart);
  EXPECT_FALSE(behind.accepted);
  EXPECT_GT(behind.retry_after, Duration::zero());
  EXPECT_EQ(s.submit(task_number(4), wire::TaskSpec{.model = "other"}, 0, kNever, kStart).reason,
            "this node does not run model 'other'");
}

TEST(Scheduler, a_new_urgent_task_never_makes_an_accepted_one_late) {
  Scheduler s = scheduler();
  ASSERT_TRUE(s.submit(task_number(1), spec(90), 0, kStart + 1000ms, kStart).accepted);
  EXPECT_FALSE(s.submit(task_number(2), spec(40), 0, kStart + 500ms, kStart).accepted);
  EXPECT_TRUE(s.submit(task_number(3), spec(5), 0, kStart + 500ms, kStart).accepted);
}

TEST(Scheduler, whatever_is_accepted_ends_before_its_deadline) {
  EXPECT_TRUE(rc::check([] {
    Scheduler s = scheduler();
    std::map<TaskId, Instant> deadlines;
    std::map<TaskId, std::uint32_t> lengths;
    for (std::uint8_t i = 1; i <= 12; ++i) {
      const auto tokens = *rc::gen::inRange<std::uint32_t>(1, 60);
      const Instant deadline = kStart + std::chrono::milliseconds(*rc::gen::inRange(50, 4000));
      if (!s.submit(task_number(i), spec(tokens, ""), 0, deadline, kStart).accepted) continue;
      deadlines[task_number(i)] = deadline;
      lengths[task_number(i)] = tokens;
    }
    const auto ended = serve_all(s, kStart, lengths);
    RC_ASSERT(ended.size() == deadlines.size());
    for (const auto& [task, at] : ended) RC_ASSERT(at <= deadlines.at(task) + 80ms);  // one slice of granularity
  }));
}

TEST(Scheduler, answers_that_prove_short_let_more_in) {
  Scheduler s = scheduler();
  EXPECT_FALSE(s.submit(task_number(1), spec(200), 0, kStart + 1000ms, kStart).accepted);
  ASSERT_TRUE(s.submit(task_number(2), spec(200), 0, kNever, kStart).accepted);
  serve_all(s, kStart, {{task_number(2), 30}});
  EXPECT_TRUE(s.submit(task_number(3), spec(200), 0, kStart + 1000ms, kStart).accepted);
}

TEST(Scheduler, a_parked_task_gets_no_slices) {
  Scheduler s = scheduler();
  ASSERT_TRUE(s.submit(task_number(1), spec(10), 0, kNever, kStart).accepted);
  s.park(task_number(1), true);
  EXPECT_FALSE(s.next(kStart));
  s.park(task_number(1), false);
  EXPECT_TRUE(s.next(kStart));
}

TEST(Scheduler, the_queue_is_bounded) {
  Scheduler s = Scheduler({.tasks_max = 2}, {offer()});
  EXPECT_TRUE(s.submit(task_number(1), spec(1), 0, kNever, kStart).accepted);
  EXPECT_TRUE(s.submit(task_number(2), spec(1), 0, kNever, kStart).accepted);
  EXPECT_FALSE(s.submit(task_number(3), spec(1), 0, kNever, kStart).accepted);
}

}  // namespace
}  // namespace sedge::serve
