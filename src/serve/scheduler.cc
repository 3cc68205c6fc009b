#include "serve/scheduler.h"

#include <algorithm>
#include <tuple>

#include "base/assert.h"

namespace sedge::serve {
namespace {

// A byte of English is about a quarter of a token; a third keeps the estimate on the safe side until the worker
// has counted.
std::uint32_t prompt_tokens_of(const wire::TaskSpec& spec) {
  std::size_t bytes = spec.prompt.size();
  for (const auto& turn : spec.turns) bytes += turn.role.size() + turn.content.size() + 8;
  return static_cast<std::uint32_t>(std::min<std::size_t>(bytes / 3 + 1, 1u << 20));
}

Duration seconds(double value) { return Duration(static_cast<std::int64_t>(std::clamp(value, 0.0, 1e6) * 1e9)); }

constexpr double kRateSmoothing = 0.2;     // weight of the newest slice
constexpr double kExpectedHeadroom = 1.3;  // answers vary in length around their average

}  // namespace

Scheduler::Scheduler(SchedulerOptions options, std::vector<env::ModelOffer> offers) : options_(options) {
  SEDGE_ASSERT(options_.workers > 0 && options_.slice_tokens > 0);
  for (const env::ModelOffer& offer : offers) rates_[offer.name] = {offer.prefill_tok_s, offer.decode_tok_s, 0};
}

Duration Scheduler::work_left(const Entry& entry) const {
  const Rates& rates = rates_.at(entry.model);
  double expected = entry.tokens_left;
  if (rates.generated > 0) {
    const double usual = rates.generated * kExpectedHeadroom - entry.generated;
    expected = std::min(expected, std::max(usual, 1.0));
  }
  const double prefill = entry.prompt_left / std::max(rates.prefill_tok_s, 1e-3);
  const double decode = expected / std::max(rates.decode_tok_s, 1e-3);
  return seconds((prefill + decode) * options_.margin);
}

std::vector<const Scheduler::Entry*> Scheduler::in_deadline_order() const {
  std::vector<const Entry*> order;
  for (const auto& [task, entry] : tasks_) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [this](const Entry* a, const Entry* b) { return key_of(*a) < key_of(*b); });
  return order;
}

Admission Scheduler::submit(TaskId task, const wire::TaskSpec& spec, std::size_t resumed, Instant deadline,
                            Instant now) {
  Admission answer;
  const auto rates = rates_.find(spec.model);
  if (rates == rates_.end()) {
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
  Entry entry{.model = spec.model,
              .deadline = deadline,
              .priority = spec.priority,
              .order = ++arrivals_,
              .prompt_left = prompt_tokens_of(spec) + static_cast<std::uint32_t>(resumed),
              .tokens_left = spec.tokens_max - std::min(spec.tokens_max, static_cast<std::uint32_t>(resumed)),
              .generated = static_cast<std::uint32_t>(resumed)};

  // Everyone in deadline order, the new one among them: when does each end?
  tasks_.emplace(task, entry);
  const Entry& added = tasks_.at(task);
  Duration done{};
  Duration before{};
  Duration late{};
  for (const Entry* each : in_deadline_order()) {
    if (each == &added) before = done;
    done += work_left(*each) / options_.workers;
    const Duration alone = work_left(*each);  // one task runs on one worker, however many there are
    const Instant end = now + std::max(done, alone);
    if (each->deadline != kNever && end > each->deadline && (each == &added || key_of(added) < key_of(*each))) {
      late = std::max(late, end - each->deadline);
    }
  }
  if (late > Duration::zero()) {
    answer.reason = fmt::format("it would end {:.0f} ms too late: {:.0f} ms of earlier work, {:.0f} ms of its own",
                                to_ms(late), to_ms(before), to_ms(work_left(added)));
    answer.retry_after = std::min(before, std::max(late, Duration(1ms)));
    tasks_.erase(task);
    return answer;
  }
  answer.accepted = true;
  answer.first_token = before + seconds(added.prompt_left / std::max(rates->second.prefill_tok_s, 1e-3));
  answer.step = seconds(1.0 / std::max(rates->second.decode_tok_s, 1e-3));
  return answer;
}

void Scheduler::remove(TaskId task) { tasks_.erase(task); }

std::optional<Slice> Scheduler::next(Instant /*now*/) {
  if (running() >= options_.workers) return std::nullopt;
  auto best = tasks_.end();
  for (auto each = tasks_.begin(); each != tasks_.end(); ++each) {
    if (each->second.running || each->second.parked) continue;
    if (best == tasks_.end() || key_of(each->second) < key_of(best->second)) best = each;
  }
  if (best == tasks_.end()) return std::nullopt;
  best->second.running = true;
  return Slice{best->first, options_.slice_tokens};
}

void Scheduler::on_report(const env::SliceReport& report, Instant /*now*/) {
  const auto found = tasks_.find(report.task);
  if (found == tasks_.end()) return;  // it was removed while its slice ran
  Entry& entry = found->second;
  Rates& rates = rates_.at(entry.model);
  entry.running = report.more;
  const auto made = static_cast<std::uint32_t>(report.tokens.size());
  entry.generated += made;
  entry.tokens_left -= std::min(entry.tokens_left, made);
  if (report.prompt_tokens > 0)
    entry.prompt_left = report.prompt_tokens - std::min(report.prompt_tokens, report.prefilled);
  // Only reports of decoding alone say something about the decode rate.
  if (made > 0 && !report.prefilling && report.busy > Duration::zero()) {
    const double rate = made / to_seconds(report.busy);
    rates.decode_tok_s += kRateSmoothing * (rate - rates.decode_tok_s);
  }
  if (report.end == env::JobEnd::kNone) return;
  if (report.end != env::JobEnd::kFailed) {
    const double total = entry.generated;
    rates.generated = rates.generated == 0 ? total : rates.generated + kRateSmoothing * (total - rates.generated);
  }
  tasks_.erase(found);
}

void Scheduler::park(TaskId task, bool parked) {
  if (const auto found = tasks_.find(task); found != tasks_.end()) found->second.parked = parked;
}

std::vector<TaskId> Scheduler::expired(Instant now) const {
  std::vector<TaskId> late;
  for (const auto& [task, entry] : tasks_) {
    if (entry.deadline <= now) late.push_back(task);
  }
  return late;
}

Instant Scheduler::next_deadline() const {
  Instant next = kNever;
  for (const auto& [task, entry] : tasks_) next = std::min(next, entry.deadline);
  return next;
}

Duration Scheduler::backlog() const {
  Duration total{};
  for (const auto& [task, entry] : tasks_) total += work_left(entry);
  return total / options_.workers;
}

std::size_t Scheduler::running() const {
  return static_cast<std::size_t>(
      std::count_if(tasks_.begin(), tasks_.end(), [](const auto& item) { return item.second.running; }));
}

std::size_t Scheduler::waiting() const { return tasks_.size() - running(); }

}  // namespace sedge::serve
