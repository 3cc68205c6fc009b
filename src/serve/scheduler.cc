#include "serve/scheduler.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "env/model_name.h"

namespace sedge::serve {
namespace {

// A byte of English is about a quarter of a token; a third keeps the estimate on the safe side until the worker
// has counted. A digit is often a token of its own, and so may each byte be of what is not ASCII.
std::uint32_t prompt_tokens_of(const wire::TaskSpec& spec) {
  std::size_t thirds = 3, alone = 0;
  const auto add = [&](std::string_view text) {
    const auto own = std::ranges::count_if(text, [](char c) { return (c >= '0' && c <= '9') || (c & 0x80) != 0; });
    alone += static_cast<std::size_t>(own);
    thirds += text.size() - static_cast<std::size_t>(own);
  };
  add(spec.prompt);
  for (const auto& text : spec.texts) add(text), thirds += 6;
  for (const auto& turn : spec.turns) add(turn.role), add(turn.content), thirds += 8;
  return static_cast<std::uint32_t>(std::min<std::size_t>(alone + thirds / 3, 1u << 20));
}

Duration seconds(double value) { return Duration(static_cast<std::int64_t>(std::clamp(value, 0.0, 1e6) * 1e9)); }

constexpr double kLengthSmoothing = 0.2;  // weight of the newest answer
constexpr double kStretch = 2;            // of the time between tokens, while others' prompts are read (engine/pacer.h)
constexpr double kExpectedHeadroom = 1.3;  // answers vary in length around their average
constexpr double kOverrun = 0.25;          // what is longer than usual goes on for a quarter of its length, at least

}  // namespace

Scheduler::Scheduler(SchedulerOptions options, std::vector<env::ModelOffer> offers)
    : options_(options), offers_(std::move(offers)) {
  SEDGE_ASSERT(options_.workers > 0 && options_.slice_tokens > 0 && options_.batch_max > 0);
  for (const env::ModelOffer& offer : offers_) {
    rates_.try_emplace(std::string(env::weights_of(offer.hash)), offer.prefill_tok_s, offer.decode_tok_s);
  }
}

Load Scheduler::load_of(const Entry& entry) const {
  const Rates& rates = *entry.rates;
  double expected = entry.tokens_left;
  if (rates.generated > 0) {
    const double usual = rates.generated * kExpectedHeadroom - entry.generated;
    expected = std::min(expected, std::max({usual, entry.generated * kOverrun, 1.0}));
  }
  return {.rates = &rates,
          .prompt_s = rates.prefill_s(entry.prompt_left),
          .tokens = expected,
          .deadline = entry.urgency.deadline};
}

// Of a worker's time, without company.
Duration Scheduler::work_left(const Entry& entry) const {
  const Load load = load_of(entry);
  return seconds((load.prompt_s + load.tokens * load.rates->step_s(1)) * options_.margin);
}

// A task with a deadline keeps its place: what was promised to others counts on it.
void Scheduler::take_turn(Entry& entry) const {
  if (entry.urgency.deadline != kNever) return;
  entry.urgency.turn = entry.arrived + seconds(entry.rates->prefill_s(entry.prompt_left));
}

std::vector<const Scheduler::Entry*> Scheduler::in_deadline_order() const {
  std::vector<const Entry*> order;
  for (const auto& [task, entry] : tasks_) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) { return a->urgency < b->urgency; });
  return order;
}

// Everyone in deadline order, the new one among them, one task a worker at a time: when does each end?
bool Scheduler::fits_one_by_one(const Entry& added, Instant now, Admission& answer) const {
  Duration done{};
  Duration before{};
  Duration late{};
  for (const Entry* each : in_deadline_order()) {
    if (each == &added) before = done;
    done += work_left(*each) / options_.workers;
    const Duration alone = work_left(*each);  // one task runs on one worker, however many there are
    const Instant end = now + std::max(done, alone);
    if (each->urgency.deadline != kNever && end > each->urgency.deadline &&
        (each == &added || added.urgency < each->urgency)) {
      late = std::max(late, end - each->urgency.deadline);
    }
  }
  answer.first_token = before + seconds(added.rates->prefill_s(added.prompt_left));
  if (late == Duration::zero()) return true;
  answer.reason = fmt::format("it would end {:.0f} ms too late: {:.0f} ms of earlier work, {:.0f} ms of its own",
                              to_ms(late), to_ms(before), to_ms(work_left(added)));
  answer.retry_after = std::min(before, std::max(late, Duration(1ms)));
  return false;
}

// The same with shared steps. Those before the new one are not made late by it: `together` sees to that.
bool Scheduler::fits_together(TaskId added, Instant now, Admission& answer) const {
  const std::vector<const Entry*> order = in_deadline_order();
  std::vector<Load> loads;
  for (const Entry* each : order) loads.push_back(load_of(*each));
  // Which of several workers steps which of several models is decided from step to step: nothing is promised on it.
  const bool models = std::ranges::any_of(loads, [&](const Load& load) { return load.rates != loads[0].rates; });
  if (options_.workers > 1 && models) return false;
  const std::vector<Outlook> outlook = forecast(loads, now, forecast_options());
  const auto place = std::ranges::find(order, &tasks_.at(added));
  const auto first = static_cast<std::size_t>(place - order.begin());
  for (std::size_t i = first; i < order.size(); ++i) {
    if (order[i]->urgency.deadline != kNever && outlook[i].end > order[i]->urgency.deadline) return false;
  }
  answer.first_token = outlook[first].first_token - now;
  return true;
}

Admission Scheduler::submit(TaskId task, const wire::TaskSpec& spec, std::size_t resumed, Instant deadline,
                            Instant now) {
  Admission answer;
  const auto offer = env::find_offer(offers_, spec.model);
  if (!offer) {
    answer.reason = fmt::format("this node does not run model '{}'", spec.model);
    return answer;
  }
  if (tasks_.contains(task)) {
    answer.reason = "this task runs here already";
    return answer;
  }
  if (tasks_.size() >= options_.tasks_max) {
    answer.reason = fmt::format("{} tasks are waiting here, the most this node takes", tasks_.size());
    answer.retry_after = backlog() / static_cast<std::int64_t>(tasks_.size());
    return answer;
  }
  Entry entry{.rates = &rates_.find(env::weights_of(offer->hash))->second,
              .arrived = now,
              .urgency = {.deadline = deadline, .priority = spec.priority, .order = ++arrivals_},
              .prompt_left = prompt_tokens_of(spec) + static_cast<std::uint32_t>(resumed),
              .tokens_left = spec.tokens_max - std::min(spec.tokens_max, static_cast<std::uint32_t>(resumed)),
              .generated = static_cast<std::uint32_t>(resumed),
              .embeds = !spec.texts.empty()};
  if (entry.embeds) entry.tokens_left = 0;
  take_turn(entry);
  const Entry& added = tasks_.emplace(task, entry).first->second;
  // Shared steps never do worse than one task after the other, so either may say that it fits.
  if (!fits_one_by_one(added, now, answer) && (options_.batch_max == 1 || !fits_together(task, now, answer))) {
    tasks_.erase(task);
    return answer;
  }
  answer.accepted = true;
  answer.reason.clear();
  answer.retry_after = {};
  // In a batch its tokens come as far apart as those of all who may be in it, prompts beside them.
  const bool batches = options_.batch_max > 1;
  answer.step = seconds(added.rates->step_s(batches ? std::min<std::size_t>(options_.batch_max, tasks_.size()) : 1) *
                        (batches ? kStretch : 1));
  return answer;
}

void Scheduler::remove(TaskId task) { tasks_.erase(task); }

ForecastOptions Scheduler::forecast_options() const {
  return {.workers = options_.workers, .batch_max = options_.batch_max, .stretch = kStretch, .margin = options_.margin};
}

// Who should step now.
std::vector<TaskId> Scheduler::chosen(Instant now) const {
  std::vector<std::pair<env::Urgency, TaskId>> order;
  for (const auto& [task, entry] : tasks_) {
    if (!entry.parked) order.emplace_back(entry.urgency, task);
  }
  std::ranges::sort(order);
  std::vector<Load> loads;
  for (const auto& [urgency, task] : order) loads.push_back(load_of(tasks_.at(task)));
  std::vector<TaskId> tasks;
  for (const std::size_t i : together(loads, now, forecast_options())) tasks.push_back(order[i].second);
  return tasks;
}

std::optional<Slice> Scheduler::next(Instant now) {
  const std::vector<TaskId> now_best = chosen(now);
  const bool shared = options_.batch_max > 1;
  for (auto& [task, entry] : tasks_) {
    if (!shared || !entry.running || entry.ending || std::ranges::find(now_best, task) != now_best.end()) continue;
    entry.ending = true;
    return Slice{task, 0, entry.urgency};
  }
  // Who takes the place of one that ends does not wait for the step under way to do so.
  const auto stay = [](const auto& item) { return item.second.running && !item.second.ending; };
  std::size_t room = std::size_t{options_.workers} * options_.batch_max;
  room -= std::min(room, static_cast<std::size_t>(std::ranges::count_if(tasks_, stay)));
  for (const TaskId task : now_best) {
    Entry& entry = tasks_.at(task);
    const bool renew = shared && entry.running && !entry.ending && entry.granted <= options_.slice_tokens / 2;
    if (!renew && (entry.running || room == 0)) continue;
    entry.running = true;
    entry.granted = options_.slice_tokens;
    return Slice{task, options_.slice_tokens, entry.urgency};
  }
  return std::nullopt;
}

void Scheduler::on_report(const env::SliceReport& report, Instant /*now*/) {
  const auto found = tasks_.find(report.task);
  if (found == tasks_.end()) return;  // it was removed while its slice ran
  Entry& entry = found->second;
  Rates& rates = *entry.rates;
  entry.running = report.more;
  entry.ending = entry.ending && report.more;
  entry.granted = report.more && entry.granted > 0 ? entry.granted - 1 : 0;
  const auto made = static_cast<std::uint32_t>(report.tokens.size());
  entry.generated += made;
  entry.tokens_left -= std::min(entry.tokens_left, made);
  if (report.prompt_tokens > 0) {
    entry.prompt_left = report.prompt_tokens - std::min(report.prompt_tokens, report.prefilled);
    const std::uint32_t read = report.prefilled - std::min(report.prefilled, report.cached);
    const std::uint32_t fresh = read - std::min(read, std::exchange(entry.prompt_read, read));
    // The end of a prompt goes with a token: a smaller piece, and where a slice is reported whole, more than a prompt.
    if (report.prefilling && !report.mixed && (made == 0 || entry.embeds)) rates.read(fresh, to_seconds(report.busy));
    take_turn(entry);
  }
  // Only reports of decoding alone say something about the decode rate.
  if (made > 0 && !report.prefilling && !report.mixed) rates.stepped(report.batch, to_seconds(report.busy) / made);
  if (report.end == env::JobEnd::kNone) return;
  if (report.end != env::JobEnd::kFailed && !entry.embeds) {
    const double total = entry.generated;
    rates.generated = rates.generated == 0 ? total : rates.generated + kLengthSmoothing * (total - rates.generated);
  }
  tasks_.erase(found);
}

void Scheduler::park(TaskId task, bool parked) {
  if (const auto found = tasks_.find(task); found != tasks_.end()) found->second.parked = parked;
}

std::vector<TaskId> Scheduler::expired(Instant now) const {
  std::vector<TaskId> late;
  for (const auto& [task, entry] : tasks_) {
    if (entry.urgency.deadline <= now) late.push_back(task);
  }
  return late;
}

Instant Scheduler::next_deadline() const {
  Instant next = kNever;
  for (const auto& [task, entry] : tasks_) next = std::min(next, entry.urgency.deadline);
  return next;
}

// With as many tasks a step as may share one.
Duration Scheduler::backlog() const {
  const auto together = std::clamp<std::size_t>(tasks_.size() / options_.workers, 1, options_.batch_max);
  if (together == 1) {
    Duration total{};
    for (const auto& [task, entry] : tasks_) total += work_left(entry);
    return total / options_.workers;
  }
  double total = 0;
  for (const auto& [task, entry] : tasks_) {
    const Load load = load_of(entry);
    total += load.prompt_s + load.tokens * load.rates->step_s(together) / static_cast<double>(together);
  }
  return seconds(total * options_.margin / options_.workers);
}

std::size_t Scheduler::running() const {
  return static_cast<std::size_t>(
      std::count_if(tasks_.begin(), tasks_.end(), [](const auto& item) { return item.second.running; }));
}

std::size_t Scheduler::waiting() const { return tasks_.size() - running(); }

}  // namespace sedge::serve
