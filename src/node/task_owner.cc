#include "node/task_owner.h"

#include <algorithm>
#include <utility>

#include "env/model_name.h"
#include "wire/message_type.h"

namespace sedge::node {
namespace {

constexpr Duration kRetryPlacement = 50ms;    // nobody offers the model now: somebody may in a moment
constexpr Duration kRetryPlacementMax = 1s;   // where those who refused asked for more time
constexpr Duration kToldMax = 24h;            // what another node says of times may be any number
constexpr std::size_t kTokenBytesMax = 4096;  // of one token: vocabularies have some of 512, a held back stop 256 more
constexpr std::size_t kVectorBytesMax = 64u << 10;  // of an embedding: 16384 numbers

std::string question_of(const wire::TaskSpec& spec) {
  std::string question = spec.model + '\0' + spec.prompt;
  for (const auto& turn : spec.turns) question += '\0' + turn.role + '\0' + turn.content;
  for (const auto& text : spec.texts) question += '\0' + text;
  if (spec.grammar.kind != env::GrammarKind::kNone) {  // another shape of answer
    question += fmt::format("{}{}{}", '\0', static_cast<int>(spec.grammar.kind), spec.grammar.text);
  }
  return question;
}

std::uint32_t prompt_estimate(const wire::TaskSpec& spec) {
  return static_cast<std::uint32_t>((question_of(spec).size() - spec.grammar.text.size()) / 3 + 1);
}

// The text that a server held back until the end was certain comes last, with no token of its own (id -1). It belongs
// to the text, never to the tokens: no model can be resumed with it.
bool is_flush(const env::Token& token) { return token.id < 0; }

std::vector<std::int32_t> ids_of(const std::vector<env::Token>& log) {
  std::vector<std::int32_t> ids;
  for (const env::Token& token : log) {
    if (!is_flush(token)) ids.push_back(token.id);
  }
  return ids;
}

}  // namespace

std::string_view outcome_name(Outcome outcome) {
  static constexpr std::string_view kNames[] = {"answered",          "fallback", "refused",
                                                "deadline exceeded", "failed",   "cancelled"};
  return kNames[static_cast<std::size_t>(outcome)];
}

template <class Message>
void TaskOwner::send(NodeId to, wire::MessageType type, const Message& message) {
  sends_.push_back({.to = to, .priority = env::Priority::kTask, .frame = wire::frame(type, message)});
}

void TaskOwner::submit(TaskRequest request, OnTokens tokens, OnResult done, bool manual_credit, Instant now) {
  const TaskId id = request.id;
  TaskResult refusal;
  refusal.id = id;
  refusal.outcome = Outcome::kRefused;
  if (tasks_.contains(id)) {
    refusal.reason = fmt::format("task {} runs already", id.hex());
    return done(refusal);
  }
  if (tasks_.size() >= options_.tasks_max) {
    refusal.reason = fmt::format("this node owns {} open tasks, the most it takes", tasks_.size());
    refusal.retry_after = 100ms;
    return done(refusal);
  }
  Task task;
  task.on_tokens = std::make_shared<const OnTokens>(std::move(tokens));
  task.on_result = std::move(done);
  task.manual_credit = manual_credit;
  task.submitted = now;
  if (request.deadline) task.deadline = now + *request.deadline;
  task.result.id = id;
  task.request = std::move(request);
  place(tasks_.emplace(id, std::move(task)).first->second, now);
}

// Finds the next node and assigns, or ends the task.
void TaskOwner::place(Task& task, Instant now) {
  task.assigned = false;
  task.accepted = false;
  const auto& spec = task.request.spec;
  const auto done = static_cast<std::uint32_t>(ids_of(task.log).size());
  const std::uint32_t left = spec.tokens_max - std::min(spec.tokens_max, done);
  const bool ended = !task.log.empty() && is_flush(task.log.back());
  if (ended || (task.result.attempts > 0 && left == 0)) {  // all was there but the word that it was all
    task.result.stopped = left > 0;
    return finish(task.request.id, Outcome::kAnswered, "", now);
  }
  if (task.result.attempts >= options_.attempts_max) {
    return finish(task.request.id, Outcome::kFailed,
                  fmt::format("given up after {} attempts; the last: {}", task.result.attempts, task.refusal), now);
  }
  const place::Request request{.model = spec.model,
                               .prompt_tokens = prompt_estimate(spec) + done,
                               .tokens_max = left,
                               .hash = task.hash,
                               .numeric_class = task.numeric_class};
  for (const place::Candidate& candidate : place::rank(nodes_, request)) {
    if (!task.failed.contains(candidate.node)) return assign(task, candidate, now);
  }
  no_place(task, now);
}

void TaskOwner::assign(Task& task, const place::Candidate& where, Instant now) {
  task.server = where.node;
  task.assigned = true;
  task.waiting_since.reset();
  task.patience = now + options_.answer_wait + (nodes_.at(where.node).linked ? Duration::zero() : options_.dial_wait);
  task.result.served_by = where.node;
  ++task.result.attempts;
  task.attempt = ++last_attempt_;
  if (task.log.empty()) {
    task.hash = where.offer.hash;
    task.numeric_class = where.offer.numeric_class;
  }
  wire::TaskAssign message;
  message.task = task.request.id;
  message.attempt = task.attempt;
  message.spec = task.request.spec;
  if (task.deadline != kNever) message.budget = std::max(task.deadline - now, Duration::zero());
  message.resume = ids_of(task.log);
  message.credit = task.credit_left = options_.credit;
  nodes_.at(where.node).promised += where.work;
  send(where.node, wire::MessageType::kTaskAssign, message);
}

// Nobody (else) can take it now. A task that has begun keeps trying until its deadline, or for give_up_after where it
// has none: a stream that stays open is worth waiting for; one that never began is told at once.
void TaskOwner::no_place(Task& task, Instant now) {
  const TaskId id = task.request.id;
  if (!task.log.empty() && task.deadline > now) {
    if (!task.waiting_since) task.waiting_since = now;
    if (task.deadline == kNever && now - *task.waiting_since >= options_.give_up_after) {
      return finish(id, Outcome::kFailed,
                    fmt::format("nobody could go on with it for {:.0f} s; the last: {}",
                                to_seconds(now - *task.waiting_since), task.refusal),
                    now);
    }
    // Those that refused may take it now; who cannot be reached has not changed.
    std::erase_if(task.failed, [&](NodeId node) {
      const auto view = nodes_.find(node);
      return view != nodes_.end() && view->second.linked;
    });
    task.patience = now + std::clamp(std::exchange(task.retry_after, {}), kRetryPlacement, kRetryPlacementMax);
    return;
  }
  std::string reason = task.refusal;
  if (reason.empty()) {
    reason = fmt::format("no node of the fleet offers model '{}'; `sedge status` lists what they offer",
                         task.request.spec.model);
  }
  task.result.retry_after = task.retry_after;
  // What an engine could not run, no waiting mends: a client must not be told to come back.
  finish(id, task.engine_failed ? Outcome::kFailed : Outcome::kRefused, std::move(reason), now);
}

// The current attempt has failed. The server may still live (a gap): then it is told to stop.
void TaskOwner::give_up_attempt(Task& task, bool tell_server, Instant now) {
  if (tell_server) {
    send(task.server, wire::MessageType::kTaskCancel,
         wire::TaskCancel{.task = task.request.id, .attempt = task.attempt});
  }
  task.failed.insert(task.server);
  if (task.refusal.empty()) task.refusal = fmt::format("node {} fell silent", task.server.short_hex());
  if (task.log.empty()) {
    task.hash.reset();
    task.numeric_class.reset();
  }
  place(task, now);
}

TaskOwner::Task* TaskOwner::current(NodeId from, TaskId task, std::uint32_t attempt) {
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) return nullptr;
  Task& open = found->second;
  const bool is_current = open.assigned && open.server == from && open.attempt == attempt;
  return is_current ? &open : nullptr;
}

Instant TaskOwner::patience_from(const Task& task, Instant now) const {
  return now + std::max(4 * task.step, options_.gap_min);
}

void TaskOwner::on_answer(NodeId from, const wire::TaskAnswer& answer, Instant now) {
  Task* task = current(from, answer.task, answer.attempt);
  if (task == nullptr || task->accepted) return;
  if (answer.accepted) {
    task->accepted = true;
    task->step = std::clamp(answer.step, Duration::zero(), Duration(10s));
    task->patience = patience_from(*task, now);
    return;
  }
  task->refusal = answer.reason;
  const Duration told = std::clamp(answer.retry_after, Duration::zero(), kToldMax);
  task->retry_after = task->retry_after == Duration::zero() ? told : std::min(task->retry_after, told);
  give_up_attempt(*task, false, now);
}

// Whether an honest server could have sent these next.
bool TaskOwner::believable(const Task& task, std::span<const env::Token> fresh) {
  const wire::TaskSpec& spec = task.request.spec;
  if (fresh.size() > task.credit_left) return false;
  const bool ends = !fresh.empty() && is_flush(fresh.back());
  if (task.log.size() + fresh.size() > std::size_t{spec.tokens_max} + (ends ? 1 : 0)) return false;
  const std::size_t bytes_max = spec.texts.empty() ? kTokenBytesMax : kVectorBytesMax;
  const auto too_long = [&](const auto& each) { return each.bytes.size() > bytes_max; };
  return std::ranges::none_of(fresh, [&](const env::Token& token) {
    return too_long(token) || token.logprobs.size() > spec.logprobs || std::ranges::any_of(token.logprobs, too_long);
  });
}

void TaskOwner::on_tokens(NodeId from, const wire::TaskTokens& tokens, Instant now) {
  Task* task = current(from, tokens.task, tokens.attempt);
  if (task == nullptr) return;
  task->accepted = true;
  task->patience = patience_from(*task, now);
  if (tokens.prompt_tokens > 0) task->result.prompt_tokens = tokens.prompt_tokens;
  // What overlaps the log was delivered already; what would leave a hole comes from a confused server.
  const std::size_t have = task->log.size();
  if (tokens.first > have || tokens.first + tokens.tokens.size() <= have) return;
  auto fresh = std::span(tokens.tokens).subspan(have - tokens.first);
  if (have > 0 && is_flush(task->log.back())) return;  // and nothing follows an end
  if (const auto end = std::ranges::find_if(fresh, is_flush); end != fresh.end()) {
    fresh = fresh.first(static_cast<std::size_t>(end - fresh.begin()) + 1);
  }
  if (!believable(*task, fresh)) {
    task->refusal = fmt::format("node {} sent more than it was asked for", from.short_hex());
    return give_up_attempt(*task, true, now);
  }
  task->credit_left -= static_cast<std::uint32_t>(fresh.size());
  if (have == 0) task->result.first_token = now - task->submitted;
  task->log.insert(task->log.end(), fresh.begin(), fresh.end());
  if (!task->manual_credit) grant(*task, static_cast<std::uint32_t>(fresh.size()));
  const auto callback = task->on_tokens;
  if (*callback) (*callback)(fresh);  // last: it may end the task
}

// What a model cannot run here it cannot run elsewhere; another one of that name may.
void TaskOwner::rule_out_the_same_model(Task& task) {
  for (const auto& [id, view] : nodes_) {
    const auto offer = env::find_offer(view.offers, task.request.spec.model);
    if (!offer || offer->hash == task.hash) task.failed.insert(id);
  }
}

void TaskOwner::on_done(NodeId from, const wire::TaskDone& done, Instant now) {
  Task* task = current(from, done.task, done.attempt);
  if (task == nullptr) return;
  task->result.prefill = done.prefill;
  task->result.decode = done.decode;
  if (done.prompt_tokens > 0) task->result.prompt_tokens = done.prompt_tokens;
  switch (done.end) {
    case wire::TaskEnd::kStop:
    case wire::TaskEnd::kLength:
      task->result.stopped = done.end == wire::TaskEnd::kStop;
      return finish(done.task, Outcome::kAnswered, "", now);
    case wire::TaskEnd::kDeadline:
      return finish(done.task, Outcome::kDeadlineExceeded, done.message, now);
    case wire::TaskEnd::kFailed:
      task->result.code = done.code;
      if (done.code == Code::kInvalidArgument) rule_out_the_same_model(*task);
      task->refusal = done.message;
      task->engine_failed = true;
      return give_up_attempt(*task, false, now);
  }
}

void TaskOwner::on_node_lost(NodeId node, Instant now) {
  std::vector<TaskId> hit;
  for (const auto& [id, task] : tasks_) {
    if (task.assigned && task.server == node) hit.push_back(id);
  }
  nodes_.erase(node);
  for (const TaskId id : hit) {
    if (const auto found = tasks_.find(id); found != tasks_.end()) {
      found->second.refusal = fmt::format("node {} was lost", node.short_hex());
      give_up_attempt(found->second, false, now);
    }
  }
}

// A node that is there again may be tried again.
void TaskOwner::on_link_up(NodeId node) {
  for (auto& [id, task] : tasks_) task.failed.erase(node);
}

void TaskOwner::on_load(NodeId node, const wire::LoadReport& load) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end() || load.number <= found->second.load.number) return;
  found->second.load = load;
  found->second.load.backlog = std::clamp(load.backlog, Duration::zero(), kToldMax);
  found->second.promised = Duration::zero();
}

void TaskOwner::consumed(TaskId task, std::uint32_t tokens) {
  if (const auto found = tasks_.find(task); found != tasks_.end()) grant(found->second, tokens);
}

void TaskOwner::grant(Task& task, std::uint32_t tokens) {
  if (!task.assigned) return;  // the next attempt begins with full credit
  tokens = std::min(tokens, UINT32_MAX - task.credit_left);
  task.credit_left += tokens;
  send(task.server, wire::MessageType::kTaskCredit,
       wire::TaskCredit{.task = task.request.id, .attempt = task.attempt, .credit = tokens});
}

void TaskOwner::cancel(TaskId task, Instant now) {
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) return;
  finish(task, Outcome::kCancelled, "cancelled by the client", now);
}

void TaskOwner::on_timer(Instant now) {
  std::vector<TaskId> late;
  std::vector<TaskId> silent;
  // Who comes late itself (the process was stopped, the cores were taken) has not heard what was said meanwhile.
  const bool stood_still = now - next_deadline() >= options_.late_min;
  for (auto& [id, task] : tasks_) {
    if (task.deadline <= now) {
      late.push_back(id);
    } else if (task.patience <= now && task.assigned && stood_still) {
      task.patience = now + options_.gap_min;
    } else if (task.patience <= now) {
      silent.push_back(id);
    }
  }
  for (const TaskId id : late) finish(id, Outcome::kDeadlineExceeded, "the deadline passed", now);
  for (const TaskId id : silent) {
    const auto found = tasks_.find(id);
    if (found == tasks_.end()) continue;
    Task& task = found->second;
    if (!task.assigned) {
      place(task, now);
    } else {
      task.refusal = fmt::format("node {} fell silent", task.server.short_hex());
      give_up_attempt(task, true, now);
    }
  }
}

Instant TaskOwner::next_deadline() const {
  Instant next = kNever;
  for (const auto& [id, task] : tasks_) next = std::min({next, task.deadline, task.patience});
  return next;
}

void TaskOwner::drain(env::Outbox& out) {
  out.sends.insert(out.sends.end(), std::make_move_iterator(sends_.begin()), std::make_move_iterator(sends_.end()));
  sends_.clear();
}

void TaskOwner::shutdown(const std::string& reason, Instant now) {
  std::vector<TaskId> all;
  for (const auto& [id, task] : tasks_) all.push_back(id);
  for (const TaskId id : all) finish(id, Outcome::kFailed, reason, now);
}

void TaskOwner::finish(TaskId id, Outcome outcome, std::string reason, Instant now) {
  const auto found = tasks_.find(id);
  if (found == tasks_.end()) return;
  Task task = std::move(found->second);
  tasks_.erase(found);  // before the callback: it may submit the next task
  TaskResult& result = task.result;
  result.total = now - task.submitted;
  result.tokens = ids_of(task.log);
  if (task.request.spec.logprobs > 0) result.logprobs = task.log;
  result.model_hash = task.hash.value_or("");
  for (const env::Token& token : task.log) result.text += token.bytes;
  const std::string question = question_of(task.request.spec);
  if (outcome == Outcome::kAnswered) {
    result.deadline_met = now <= task.deadline;
    if (good_answers_.size() >= options_.good_answers_max && !good_answers_.contains(question)) {
      good_answers_.erase(good_answers_.begin());
    }
    if (task.request.spec.texts.empty()) good_answers_[question] = result.text;
  } else if (task.assigned && outcome != Outcome::kRefused) {
    send(task.server, wire::MessageType::kTaskCancel, wire::TaskCancel{.task = id, .attempt = task.attempt});
  }
  result.outcome = outcome;
  result.reason = std::move(reason);
  if (outcome == Outcome::kDeadlineExceeded || outcome == Outcome::kRefused || outcome == Outcome::kFailed) {
    const auto last_good = good_answers_.find(question);
    if (task.request.fallback_last_good && last_good != good_answers_.end()) {
      result.outcome = Outcome::kFallback;
      result.text = last_good->second;
    } else if (task.request.fallback) {
      result.outcome = Outcome::kFallback;
      result.text = *task.request.fallback;
    }
  }
  if (task.on_result) task.on_result(result);
}

}  // namespace sedge::node
