#include "node/task_worker.h"

#include <algorithm>
#include <utility>

#include "env/model_name.h"
#include "node/auditor.h"
#include "wire/message_type.h"

namespace sedge::node {
namespace {

constexpr std::size_t kTokensPerMessage = 256;
constexpr std::size_t kMessageBytes = 256u << 10;  // a quarter of a frame; one token more may begin below it
constexpr Duration kBudgetMax = 24h * 365;         // what an owner says may be any number
constexpr Duration kRetryAfterRefusal = 1s;        // where there is no place

}  // namespace

TaskWorker::TaskWorker(TaskWorkerOptions options, env::Compute& compute)
    : options_(options), compute_(compute), scheduler_(options.scheduler, compute.offers()) {}

template <class Message>
void TaskWorker::send(NodeId to, wire::MessageType type, const Message& message) {
  sends_.push_back({.to = to, .priority = env::Priority::kTask, .frame = wire::frame(type, message)});
}

// Three quarters of the places are for one owner, so that others always find some.
serve::Admission TaskWorker::admit(NodeId owner, const wire::TaskAssign& assign, Instant now) {
  const std::size_t places = options_.scheduler.tasks_max, part = places - places / 4;
  serve::Admission refused{.accepted = false, .reason = {}, .retry_after = kRetryAfterRefusal};
  if (jobs_.size() >= places) {
    refused.reason = fmt::format("{} tasks are here, the most this node takes", jobs_.size());
    return refused;
  }
  const auto own = std::ranges::count_if(jobs_, [&](const auto& each) { return each.second.owner == owner; });
  if (static_cast<std::size_t>(own) >= part) {
    refused.reason = fmt::format("{} tasks of one owner are here, the most this node takes", own);
    return refused;
  }
  const Instant deadline = assign.budget ? now + std::clamp(*assign.budget, Duration::zero(), kBudgetMax) : kNever;
  return scheduler_.submit(assign.task, assign.spec, assign.resume.size(), deadline, now);
}

void TaskWorker::on_assign(NodeId owner, const wire::TaskAssign& assign, Instant now) {
  if (const auto same = jobs_.find(assign.task); same != jobs_.end()) {
    if (same->second.owner == owner && same->second.attempt >= assign.attempt) return;  // heard twice
    drop(assign.task);  // the owner (or the client's new owner) starts over
  }
  const serve::Admission admission = admit(owner, assign, now);
  send(owner, wire::MessageType::kTaskAnswer,
       wire::TaskAnswer{.task = assign.task,
                        .attempt = assign.attempt,
                        .accepted = admission.accepted,
                        .reason = admission.reason,
                        .retry_after = admission.retry_after,
                        .first_token = admission.first_token,
                        .step = admission.step});
  if (!admission.accepted) return;
  Job job;
  job.owner = owner;
  job.attempt = assign.attempt;
  job.sent = static_cast<std::uint32_t>(assign.resume.size());
  job.credit = assign.credit;
  job.last_sent = now;
  job.model = assign.spec.model;
  job.prompt = prompt_digest(assign.spec);
  jobs_.emplace(assign.task, std::move(job));
  compute_.start(assign.task, {.model = assign.spec.model,
                               .prompt = assign.spec.prompt,
                               .turns = assign.spec.turns,
                               .resume = assign.resume,
                               .tokens_max = assign.spec.tokens_max,
                               .tokens_min = assign.spec.tokens_min,
                               .stops = assign.spec.stops,
                               .sampling = assign.spec.sampling,
                               .logit_bias = assign.spec.logit_bias,
                               .grammar = assign.spec.grammar,
                               .logprobs = assign.spec.logprobs,
                               .texts = assign.spec.texts,
                               .asked_local_s = assign.spec.asked_local_s});
  run_slices(now);
}

void TaskWorker::on_cancel(NodeId owner, const wire::TaskCancel& cancel, Instant now) {
  const auto found = jobs_.find(cancel.task);
  if (found == jobs_.end() || found->second.owner != owner || found->second.attempt > cancel.attempt) return;
  drop(cancel.task);
  run_slices(now);
}

void TaskWorker::on_credit(NodeId owner, const wire::TaskCredit& credit, Instant now) {
  const auto found = jobs_.find(credit.task);
  if (found == jobs_.end() || found->second.owner != owner || found->second.attempt != credit.attempt) return;
  Job& job = found->second;
  job.credit += std::min(credit.credit, UINT32_MAX - job.credit);
  flush(credit.task, job, now);
  run_slices(now);
}

void TaskWorker::on_slice(const env::SliceReport& report, Instant now) {
  scheduler_.on_report(report, now);
  const auto found = jobs_.find(report.task);
  if (found != jobs_.end()) {
    Job& job = found->second;
    (report.prefilling ? job.prefill : job.decode) += report.busy;
    if (report.prompt_tokens > 0) job.prompt_tokens = report.prompt_tokens;
    job.unsent.insert(job.unsent.end(), report.tokens.begin(), report.tokens.end());
    job.made += static_cast<std::uint32_t>(report.tokens.size());
    count(report, job);
    if (report.end == env::JobEnd::kFailed) {
      finish(report.task, job, wire::TaskEnd::kFailed, report.error);
    } else if (report.end != env::JobEnd::kNone) {
      finish(report.task, job, report.end == env::JobEnd::kStop ? wire::TaskEnd::kStop : wire::TaskEnd::kLength, {});
    }
    flush(report.task, job, now);
  }
  run_slices(now);
}

void TaskWorker::count(const env::SliceReport& report, Job& job) {
  stats_.tokens += report.tokens.size();
  stats_.drafted_tokens += report.drafted;
  stats_.accepted_tokens += report.accepted;
  if (job.read || report.prompt_tokens == 0 || report.prefilled < report.prompt_tokens) return;
  job.read = true;
  stats_.prompt_tokens += report.prompt_tokens;
  stats_.cached_tokens += report.cached;
}

void TaskWorker::on_owner_lost(NodeId owner, Instant now) {
  std::vector<TaskId> orphans;
  for (const auto& [task, job] : jobs_) {
    if (job.owner == owner) orphans.push_back(task);
  }
  for (const TaskId task : orphans) drop(task);
  run_slices(now);
}

void TaskWorker::on_timer(Instant now) {
  for (const TaskId task : scheduler_.expired(now)) {
    Job& job = jobs_.at(task);
    finish(task, job, wire::TaskEnd::kDeadline,
           {Code::kDeadlineExceeded, "the deadline passed while this node worked on it"});
    flush(task, job, now);
  }
  end_stalled(now);
  for (auto& [task, job] : jobs_) {
    if (job.last_sent + options_.heartbeat > now) continue;
    send(
        job.owner, wire::MessageType::kTaskTokens,
        wire::TaskTokens{
            .task = task, .attempt = job.attempt, .first = job.sent, .prompt_tokens = job.prompt_tokens, .tokens = {}});
    job.last_sent = now;
  }
  run_slices(now);
}

Instant TaskWorker::next_deadline() const {
  Instant next = scheduler_.next_deadline();
  for (const auto& [task, job] : jobs_) {
    next = std::min(next, job.last_sent + options_.heartbeat);
    if (job.stalled != kNever) next = std::min(next, job.stalled + options_.stall_max);
  }
  return next;
}

void TaskWorker::drain(env::Outbox& out) {
  out.sends.insert(out.sends.end(), std::make_move_iterator(sends_.begin()), std::make_move_iterator(sends_.end()));
  sends_.clear();
}

wire::LoadReport TaskWorker::load() {
  return {.number = ++load_number_,
          .backlog = scheduler_.backlog(),
          .running = static_cast<std::uint32_t>(scheduler_.running()),
          .waiting = static_cast<std::uint32_t>(scheduler_.waiting()),
          .workers = options_.scheduler.workers};
}

void TaskWorker::run_slices(Instant now) {
  while (const auto slice = scheduler_.next(now)) compute_.run(slice->task, slice->steps, slice->urgency);
}

// Sends what the credit allows, then the end if there is one. May erase the job.
void TaskWorker::flush(TaskId task, Job& job, Instant now) {
  while (!job.unsent.empty() && job.credit > 0) {
    const std::size_t most = std::min({job.unsent.size(), kTokensPerMessage, std::size_t{job.credit}});
    std::size_t count = 0;
    for (std::size_t bytes = 0; count < most && bytes < kMessageBytes; ++count) bytes += job.unsent[count].bytes.size();
    const auto end = job.unsent.begin() + static_cast<std::ptrdiff_t>(count);
    send(job.owner, wire::MessageType::kTaskTokens,
         wire::TaskTokens{.task = task,
                          .attempt = job.attempt,
                          .first = job.sent,
                          .prompt_tokens = job.prompt_tokens,
                          .tokens = {job.unsent.begin(), end}});
    job.unsent.erase(job.unsent.begin(), end);
    job.sent += static_cast<std::uint32_t>(count);
    job.credit -= static_cast<std::uint32_t>(count);
    job.last_sent = now;
    job.stalled = kNever;
  }
  if (!job.unsent.empty() && job.stalled == kNever) job.stalled = now;
  scheduler_.park(task, !job.unsent.empty());
  if (job.done && job.unsent.empty()) {
    send(job.owner, wire::MessageType::kTaskDone, *job.done);
    jobs_.erase(task);
  }
}

// The engine is done with it; the job stays until its tokens are sent.
void TaskWorker::finish(TaskId task, Job& job, wire::TaskEnd end, Error error) {
  job.done = wire::TaskDone{.task = task,
                            .attempt = job.attempt,
                            .end = end,
                            .code = error.code,
                            .message = std::move(error.message),
                            .prompt_tokens = job.prompt_tokens,
                            .prefill = job.prefill,
                            .decode = job.decode};
  scheduler_.remove(task);
  compute_.release(task);
  constexpr std::string_view kOutcomes[] = {"stop", "length", "deadline", "failed"};
  told(task, job, kOutcomes[static_cast<std::size_t>(end)]);
}

// Their readers are gone, or never were; the place is for somebody else. What was not sent is lost: an owner that lives
// asks for it again.
void TaskWorker::end_stalled(Instant now) {
  std::vector<TaskId> stalled;
  for (const auto& [task, job] : jobs_) {
    if (job.stalled != kNever && job.stalled + options_.stall_max <= now) stalled.push_back(task);
  }
  for (const TaskId task : stalled) {
    Job& job = jobs_.at(task);
    Error error{Code::kDeadlineExceeded,
                fmt::format("nobody took its tokens for {:.0f} s", to_seconds(now - job.stalled))};
    job.unsent.clear();
    if (!job.done) finish(task, job, wire::TaskEnd::kFailed, error);
    job.done->end = wire::TaskEnd::kFailed;
    job.done->code = error.code;
    job.done->message = std::move(error.message);
    flush(task, job, now);
  }
}

void TaskWorker::told(TaskId task, const Job& job, std::string_view outcome) const {
  if (!served_) return;
  const auto offer = env::find_offer(compute_.offers(), job.model);
  served_({.task = task,
           .owner = job.owner,
           .attempt = job.attempt,
           .prompt = job.prompt,
           .model = job.model,
           .model_hash = offer ? offer->hash : "",
           .outcome = outcome,
           .tokens = job.made});
}

void TaskWorker::drop(TaskId task) {
  const auto found = jobs_.find(task);
  if (found == jobs_.end()) return;
  if (!found->second.done) {
    scheduler_.remove(task);
    compute_.release(task);
    told(task, found->second, "given up");
  }
  jobs_.erase(found);
}

}  // namespace sedge::node
