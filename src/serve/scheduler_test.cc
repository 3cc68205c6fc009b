#include "serve/scheduler.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/assert.h"

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

// 3000 bytes are about 1000 tokens of a prompt, at 1000 a second; a vector takes no step of its own.
TEST(Scheduler, texts_to_embed_are_reading_alone_and_every_report_says_how_fast) {
  Scheduler s = scheduler();
  wire::TaskSpec texts = spec(50, "");
  texts.texts.assign(50, std::string(60, 'a'));
  EXPECT_FALSE(s.submit(task_number(1), texts, 0, kStart + 900ms, kStart).accepted);
  ASSERT_TRUE(s.submit(task_number(1), texts, 0, kStart + 1300ms, kStart).accepted);
  ASSERT_TRUE(s.next(kStart));
  for (std::uint32_t read = 100; read <= 1000; read += 100) {  // ten times as fast
    env::SliceReport report{.task = task_number(1), .tokens = std::vector<env::Token>(5), .error = {}};
    report.prompt_tokens = 1000, report.prefilled = read, report.prefilling = true, report.busy = 10ms;
    if (read == 1000) report.end = env::JobEnd::kStop;
    s.on_report(report, kStart);
  }
  EXPECT_TRUE(s.submit(task_number(2), texts, 0, kStart + 900ms, kStart).accepted);
  s.remove(task_number(2));
  EXPECT_FALSE(s.submit(task_number(3), spec(100), 0, kStart + 900ms, kStart).accepted)
      << "answers that generate are not said to be shorter";
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

// What a worker does that steps up to four tasks together, a step of n taking 10 ms and 2 more for each after the
// first: plays to the end; returns who ended when. They fail, so that nobody learns from these answers how long others
// will be.
std::map<TaskId, Instant> serve_together(Scheduler& s, Instant now, std::map<TaskId, std::uint32_t> lengths) {
  std::map<TaskId, Instant> ended;
  std::map<TaskId, std::uint32_t> steps;
  while (!lengths.empty()) {
    while (const auto slice = s.next(now)) steps[slice->task] = slice->steps;
    const auto running = std::ranges::count_if(steps, [](const auto& each) { return each.second > 0; });
    SEDGE_ASSERT(running > 0 && running <= 4);
    const Duration step = 10ms + (running - 1) * 2ms;
    now += step;
    for (auto each = steps.begin(); each != steps.end();) {
      env::SliceReport report;
      report.task = each->first;
      if (each->second > 0) {
        std::uint32_t& left = lengths.at(each->first);
        report.tokens.resize(1);
        report.prompt_tokens = report.prefilled = 1;
        report.busy = step;
        report.batch = static_cast<std::uint32_t>(running);
        report.more = --each->second > 0 && left > 1;
        if (--left == 0) report.end = env::JobEnd::kFailed, ended[each->first] = now, lengths.erase(each->first);
      }
      s.on_report(report, now);
      each = report.more ? std::next(each) : steps.erase(each);
    }
  }
  return ended;
}

SchedulerOptions four_together() { return {.workers = 1, .batch_max = 4, .margin = 1.0}; }

TEST(Scheduler, tasks_of_one_model_step_together_and_their_slices_are_renewed_before_they_end) {
  Scheduler s(four_together(), {offer()});
  for (std::uint8_t i = 1; i <= 5; ++i) ASSERT_TRUE(s.submit(task_number(i), spec(40), 0, kNever, kStart).accepted);
  std::vector<TaskId> begun;
  std::vector<env::Urgency> urgencies;
  while (const auto slice = s.next(kStart)) {
    urgencies.push_back(slice->urgency);
    begun.push_back(slice->task);
  }
  EXPECT_TRUE(std::ranges::is_sorted(urgencies));
  EXPECT_EQ(begun, (std::vector<TaskId>{task_number(1), task_number(2), task_number(3), task_number(4)}));
  env::SliceReport report;
  report.task = task_number(2);
  report.more = true;
  for (int i = 0; i < 3; ++i) s.on_report(report, kStart);
  EXPECT_FALSE(s.next(kStart));
  s.on_report(report, kStart);
  const auto renewed = s.next(kStart);
  ASSERT_TRUE(renewed);
  EXPECT_EQ(renewed->task, task_number(2));
  EXPECT_EQ(renewed->steps, 8u);
}

TEST(Scheduler, tasks_of_a_base_and_of_its_adapters_step_together_and_those_of_another_model_wait) {
  const auto named = [](const char* name, const char* hash) {
    env::ModelOffer model = offer();
    model.name = name, model.hash = hash;
    return model;
  };
  Scheduler s(four_together(), {named("a", "b1+77"), named("m", "b1"), named("other", "c2"), named("z", "b1+78")});
  std::uint8_t number = 0;
  for (const char* model : {"a", "other", "m", "a=0.5+z"}) {
    wire::TaskSpec task = spec(40);
    task.model = model;
    ASSERT_TRUE(s.submit(task_number(++number), task, 0, kNever, kStart).accepted);
  }
  std::vector<TaskId> begun;
  while (const auto slice = s.next(kStart)) begun.push_back(slice->task);
  EXPECT_EQ(begun, (std::vector<TaskId>{task_number(1), task_number(3), task_number(4)}));
}

TEST(Scheduler, an_urgent_task_takes_the_place_of_the_least_urgent_at_once) {
  Scheduler s(four_together(), {offer()});
  for (std::uint8_t i = 1; i <= 4; ++i) ASSERT_TRUE(s.submit(task_number(i), spec(40), 0, kNever, kStart).accepted);
  while (s.next(kStart)) continue;
  ASSERT_TRUE(s.submit(task_number(5), spec(4), 0, kStart + 2000ms, kStart).accepted);
  const auto ends = s.next(kStart);
  ASSERT_TRUE(ends);
  EXPECT_EQ(ends->task, task_number(4));
  EXPECT_EQ(ends->steps, 0u);
  const auto urgent = s.next(kStart);
  ASSERT_TRUE(urgent);
  EXPECT_EQ(urgent->task, task_number(5));
  EXPECT_LT(urgent->urgency, ends->urgency);
  EXPECT_FALSE(s.next(kStart));
  env::SliceReport rests;
  rests.task = task_number(4);
  s.on_report(rests, kStart + 10ms);
  EXPECT_FALSE(s.next(kStart + 10ms)) << "its place is taken";
}

TEST(Scheduler, nobody_steps_beside_a_task_whose_deadline_leaves_no_room_for_company) {
  Scheduler s(four_together(), {offer()});
  ASSERT_TRUE(s.submit(task_number(1), spec(40), 0, kNever, kStart).accepted);
  ASSERT_TRUE(s.submit(task_number(2), spec(50, ""), 0, kStart + 520ms, kStart).accepted);
  const auto alone = s.next(kStart);
  ASSERT_TRUE(alone);
  EXPECT_EQ(alone->task, task_number(2));
  EXPECT_FALSE(s.next(kStart));
}

TEST(Scheduler, what_a_shared_step_was_measured_to_cost_lets_more_in) {
  const auto accepted = [](Scheduler& s, Instant now) {
    std::map<TaskId, std::uint32_t> lengths;
    for (std::uint8_t i = 1; i <= 4; ++i) {
      if (s.submit(task_number(i), spec(50, ""), 0, now + 1200ms, now).accepted) lengths[task_number(i)] = 50;
    }
    const auto ended = serve_together(s, now, lengths);
    for (const auto& [task, at] : ended) EXPECT_LE(at, now + 1200ms);
    return lengths.size();
  };
  Scheduler s(four_together(), {offer()});
  EXPECT_EQ(accepted(s, kStart), 2u) << "nothing is promised on hope";
  std::map<TaskId, std::uint32_t> unhurried;
  for (std::uint8_t i = 1; i <= 4; ++i) {
    ASSERT_TRUE(s.submit(task_number(i), spec(50, ""), 0, kNever, kStart).accepted);
    unhurried[task_number(i)] = 50;
  }
  serve_together(s, kStart, unhurried);
  EXPECT_EQ(accepted(s, kStart + 60s), 4u) << "50 steps of 16 ms";
}

TEST(Scheduler, whatever_is_accepted_ends_before_its_deadline_in_company_too) {
  EXPECT_TRUE(rc::check([](bool measured) {
    Scheduler s(four_together(), {offer()});
    if (measured) {
      RC_ASSERT(s.submit(task_number(99), spec(500), 0, kNever, kStart).accepted);
      for (std::uint32_t batch = 2; batch <= 4; ++batch) {
        env::SliceReport report;
        report.task = task_number(99);
        report.tokens.resize(1);
        report.batch = batch;
        report.busy = 10ms + (batch - 1) * 2ms;
        s.on_report(report, kStart);
      }
      s.remove(task_number(99));
    }
    std::map<TaskId, Instant> deadlines;
    std::map<TaskId, std::uint32_t> lengths;
    for (std::uint8_t i = 1; i <= 12; ++i) {
      const auto tokens = *rc::gen::inRange<std::uint32_t>(1, 60);
      const Instant deadline =
          *rc::gen::inRange(0, 4) == 0 ? kNever : kStart + std::chrono::milliseconds(*rc::gen::inRange(50, 4000));
      if (!s.submit(task_number(i), spec(tokens, ""), 0, deadline, kStart).accepted) continue;
      deadlines[task_number(i)] = deadline;
      lengths[task_number(i)] = tokens;
    }
    const auto ended = serve_together(s, kStart, lengths);
    RC_ASSERT(ended.size() == deadlines.size());
    for (const auto& [task, at] : ended) {
      if (deadlines.at(task) != kNever) RC_ASSERT(at <= deadlines.at(task) + 200ms);  // a step for each that ends
    }
  }));
}

TEST(Scheduler, prompts_take_what_reading_them_was_measured_to_take) {
  const std::string prompt(2997, 'a');
  Scheduler s = scheduler();
  const auto wait = [&](std::uint8_t number) {
    const Admission answer = s.submit(task_number(number), spec(1, prompt), 0, kNever, kStart);
    s.remove(task_number(number));
    return to_ms(answer.first_token);
  };
  EXPECT_NEAR(wait(1), 1000, 1);
  ASSERT_TRUE(s.submit(task_number(2), spec(1, prompt), 0, kNever, kStart).accepted);
  env::SliceReport report;
  report.task = task_number(2);
  report.prompt_tokens = 1u << 20;
  report.prefilling = report.more = true;
  report.busy = 400ms;
  const auto learn = [&](std::uint32_t read, std::uint32_t remembered) {
    for (int i = 0; i < 100; ++i) {
      report.prefilled += read + remembered;
      report.cached += remembered;
      s.on_report(report, kStart);
    }
  };
  report.mixed = true;
  learn(100, 0);
  report.mixed = false;
  learn(0, 64);
  s.remove(task_number(2));
  EXPECT_NEAR(wait(3), 1000, 1) << "others had a part of the time, or it was copied";
  ASSERT_TRUE(s.submit(task_number(2), spec(1, prompt), 0, kNever, kStart).accepted);
  report.prefilled = report.cached = 0;
  learn(100, 0);
  s.remove(task_number(2));
  EXPECT_NEAR(wait(4), 4000, 1) << "250 tokens a second";
}

TEST(Scheduler, digits_and_what_is_not_ascii_count_a_token_a_byte) {
  Scheduler s = scheduler();
  std::string japanese;
  for (int i = 0; i < 100; ++i) japanese += "\u65e5";
  const std::pair<std::string, double> prompts[] = {
      {std::string(300, 'a'), 101}, {std::string(300, '7'), 301}, {japanese, 301}};
  for (const auto& [prompt, tokens] : prompts) {
    EXPECT_NEAR(to_ms(s.submit(task_number(1), spec(1, prompt), 0, kNever, kStart).first_token), tokens, 0.5);
    s.remove(task_number(1));
  }
}

TEST(Scheduler, nothing_is_promised_on_steps_that_two_models_share_two_workers_for) {
  env::ModelOffer other = offer();
  other.name = "n", other.hash = "another";
  Scheduler s({.workers = 2, .batch_max = 4, .margin = 1.0}, {offer(), other});
  const auto accepted = [&](std::uint8_t number, const std::string& model) {
    wire::TaskSpec task = spec(50, "");
    task.model = model;
    return s.submit(task_number(number), task, 0, kStart + 1000ms, kStart).accepted;
  };
  ASSERT_TRUE(s.submit(task_number(99), spec(500), 0, kNever, kStart).accepted);
  env::SliceReport report;
  report.task = task_number(99);
  report.tokens.resize(1);
  report.batch = 4;
  report.busy = 10ms;
  for (int i = 0; i < 100; ++i) s.on_report(report, kStart);  // a step of four takes no longer than one
  s.remove(task_number(99));
  std::size_t one = 0;
  for (std::uint8_t i = 1; i <= 8; ++i) one += accepted(i, "m");
  EXPECT_EQ(one, 8u) << "four a worker";
  for (std::uint8_t i = 5; i <= 8; ++i) s.remove(task_number(i));
  EXPECT_FALSE(accepted(9, "n")) << "one after the other the two workers are taken";
}

TEST(Scheduler, answers_that_prove_short_let_more_in) {
  Scheduler s = scheduler();
  EXPECT_FALSE(s.submit(task_number(1), spec(200), 0, kStart + 1000ms, kStart).accepted);
  ASSERT_TRUE(s.submit(task_number(2), spec(200), 0, kNever, kStart).accepted);
  serve_all(s, kStart, {{task_number(2), 30}});
  EXPECT_TRUE(s.submit(task_number(3), spec(200), 0, kStart + 1000ms, kStart).accepted);
}

std::string digits(std::size_t tokens) { return std::string(tokens, '7'); }

TEST(Scheduler, a_short_prompt_goes_before_a_long_one_that_came_first_until_that_ones_time_is_over) {
  Scheduler s(four_together(), {offer()});
  const auto order = [&](Instant now) {
    std::vector<TaskId> tasks;
    while (const auto slice = s.next(now)) tasks.push_back(slice->task);
    return tasks;
  };
  const auto report = [&](std::uint8_t number, std::uint32_t prompt, std::uint32_t read) {
    env::SliceReport rests{.task = task_number(number), .prompt_tokens = prompt, .prefilled = read};
    s.on_report(rests, kStart);
  };
  ASSERT_TRUE(s.submit(task_number(1), spec(9, digits(10'000)), 0, kNever, kStart).accepted);  // 10 s of reading
  ASSERT_TRUE(s.submit(task_number(2), spec(9, digits(100)), 0, kNever, kStart + 9s).accepted);
  ASSERT_TRUE(s.submit(task_number(3), spec(9, digits(100)), 0, kNever, kStart + 11s).accepted);
  EXPECT_EQ(order(kStart + 11s), (std::vector<TaskId>{task_number(2), task_number(1), task_number(3)}));
  report(1, 10'000, 9'000);
  report(2, 100, 0), report(3, 100, 0);
  EXPECT_EQ(order(kStart + 11s), (std::vector<TaskId>{task_number(1), task_number(2), task_number(3)}))
      << "a second is left of it: it is the short one now";
  report(1, 10'000, 10'000), report(2, 100, 100), report(3, 100, 100);
  EXPECT_EQ(order(kStart + 11s), (std::vector<TaskId>{task_number(1), task_number(2), task_number(3)}))
      << "of texts that are written the first that came";
}

TEST(Scheduler, a_promise_is_passed_by_no_prompt_however_short) {
  Scheduler s(four_together(), {offer()});
  ASSERT_TRUE(s.submit(task_number(1), spec(9, digits(1'000)), 0, kStart + 60s, kStart).accepted);
  ASSERT_TRUE(s.submit(task_number(2), spec(9), 0, kStart + 60s, kStart).accepted);
  ASSERT_TRUE(s.submit(task_number(3), spec(9), 0, kNever, kStart).accepted);
  std::vector<TaskId> begun;
  while (const auto slice = s.next(kStart)) begun.push_back(slice->task);
  EXPECT_EQ(begun, (std::vector<TaskId>{task_number(1), task_number(2), task_number(3)}));
}

// Reads prompts of any lengths that come at any time, a thousand tokens a second, one slice after the other.
TEST(Scheduler, no_prompt_is_passed_by_one_that_comes_after_the_time_it_takes_to_read) {
  struct Prompt {
    Instant arrived;
    std::uint32_t tokens, read = 0;
    Instant done = kNever;
  };
  EXPECT_TRUE(rc::check([] {
    Scheduler s = scheduler();
    std::vector<Prompt> prompts;
    for (int count = *rc::gen::inRange(1, 12), at = 0; count > 0; --count) {
      at += *rc::gen::inRange(0, 4'000);
      prompts.push_back({kStart + at * 1ms, static_cast<std::uint32_t>(*rc::gen::inRange(1, 8'000))});
    }
    Instant now = kStart;
    std::size_t come = 0;
    for (int round = 0; round < 2'000; ++round) {
      for (; come < prompts.size() && prompts[come].arrived <= now; ++come) {
        // What it takes is counted by the worker; until then the length in bytes is the estimate.
        RC_ASSERT(s.submit(task_number(static_cast<std::uint8_t>(come)), spec(1, digits(prompts[come].tokens)), 0,
                           kNever, prompts[come].arrived)
                      .accepted);
      }
      const auto slice = s.next(now);
      if (!slice) {
        if (come == prompts.size()) break;
        now = prompts[come].arrived;
        continue;
      }
      Prompt& prompt = prompts[slice->task.bytes[0]];
      const std::uint32_t fresh = std::min(prompt.tokens - prompt.read, slice->steps * 64);
      prompt.read += fresh;
      now += fresh * 1ms;
      env::SliceReport report{.task = slice->task, .prompt_tokens = prompt.tokens, .prefilled = prompt.read};
      report.prefilling = true, report.busy = fresh * 1ms;
      if (prompt.read == prompt.tokens) prompt.done = now, report.end = env::JobEnd::kStop;
      s.on_report(report, now);
    }
    for (const Prompt& a : prompts) {
      RC_ASSERT(a.done != kNever);
      for (const Prompt& b : prompts) {
        const bool late = b.arrived > a.arrived + (a.tokens + 2) * 1ms;  // the estimate counts a token more
        RC_ASSERT(!(late && b.done < a.done));
      }
    }
  }));
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
