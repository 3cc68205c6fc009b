// The owning side of tasks. The node that accepts a task from a client owns it to the end: its id, the log of tokens
// so far, the tries, the result. Whoever serves it may die at any time; the owner notices by itself (the link is
// refused, or no word comes for longer than max(4 steps, gap_min)), does not wait for membership's verdict, and
// resumes on another node from the log: in the same numeric class the text is the one an undisturbed run gives.
//
// A server is not believed either: one that sends more than it was given credit for, or than a text of this length can
// have, has failed like one that fell silent. So what a task holds is bounded by what its client asked for.
//
// Rejected: replicating the log (it doubles the traffic of the common case to save a client's retry in the rare one),
// and restarting from the prompt (the client would see text twice or wait for what it had).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "env/compute.h"
#include "env/outbox.h"
#include "place/placement.h"
#include "wire/message_type.h"
#include "wire/task_messages.h"

namespace sedge::node {

struct TaskOwnerOptions {
  NodeId self;
  std::size_t tasks_max = 256;  // open at once, refused beyond
  std::uint32_t attempts_max = 8;
  std::uint32_t credit = 64;          // tokens a server may be ahead of the client
  Duration gap_min = 100ms;           // silence from a server that is never yet a failure
  Duration late_min = 50ms;           // a timer so late says that the owner itself stood still
  Duration answer_wait = 250ms;       // for accepted or refused, round trip included
  Duration dial_wait = 750ms;         // on top, where there is no link yet
  Duration give_up_after = 30s;       // a begun task with no deadline waits so long for a node that can go on with it
  std::size_t good_answers_max = 64;  // remembered as fallbacks
};

struct TaskRequest {
  TaskId id;
  wire::TaskSpec spec;
  std::optional<Duration> deadline;     // from now; none: whenever
  std::optional<std::string> fallback;  // a rule: the answer when the model's comes too late
  bool fallback_last_good = false;      // else the last good answer to the same question, if there was one
  std::vector<std::string> publish;     // topics: the owner's node publishes the answer there, once for this id
};

enum class Outcome { kAnswered, kFallback, kRefused, kDeadlineExceeded, kFailed, kCancelled };
std::string_view outcome_name(Outcome outcome);

struct TaskResult {
  TaskId id;
  Outcome outcome = Outcome::kFailed;
  std::string reason;                // when not answered: for people
  Code code = Code::kUnknown;        // when failed: InvalidArgument says that it is the request that is wrong
  Duration retry_after{};            // when refused
  std::string text;                  // of the model, or the fallback
  std::vector<std::int32_t> tokens;  // ids the model gave (also those before a fallback)
  std::vector<env::Token> logprobs;  // the tokens again, with theirs, where the task asked for them
  bool stopped = false;              // by end-of-text or a stop string; else by length
  NodeId served_by;                  // of the last attempt
  std::string model_hash;            // of the model that gave the tokens, or was asked last
  std::uint32_t attempts = 0;
  bool deadline_met = false;  // by the model, never by a fallback
  std::uint32_t prompt_tokens = 0;
  Duration first_token{};  // from submission
  Duration total{};
  Duration prefill{};  // engine time of the last attempt
  Duration decode{};
};

// Called as tokens come, in order, each exactly once.
using OnTokens = std::function<void(std::span<const env::Token>)>;
using OnResult = std::function<void(const TaskResult&)>;

class TaskOwner {
 public:
  explicit TaskOwner(TaskOwnerOptions options) : options_(options) {}

  // What we know of every node, ourselves included; the node keeps it current.
  std::map<NodeId, place::NodeView>& nodes() { return nodes_; }
  const std::map<NodeId, place::NodeView>& nodes() const { return nodes_; }

  // `done` is called exactly once, possibly at once (refused). `manual_credit`: the client calls consumed().
  void submit(TaskRequest request, OnTokens tokens, OnResult done, bool manual_credit, Instant now);
  void cancel(TaskId task, Instant now);
  void consumed(TaskId task, std::uint32_t tokens);

  void on_answer(NodeId from, const wire::TaskAnswer& answer, Instant now);
  void on_tokens(NodeId from, const wire::TaskTokens& tokens, Instant now);
  void on_done(NodeId from, const wire::TaskDone& done, Instant now);
  void on_node_lost(NodeId node, Instant now);
  void on_link_up(NodeId node);
  // The node's work was reported anew: what we promised it is in the report.
  void on_load(NodeId node, const wire::LoadReport& load);

  void on_timer(Instant now);
  Instant next_deadline() const;
  void drain(env::Outbox& out);

  std::size_t open() const { return tasks_.size(); }
  // Who works on it now; zero when nobody does.
  NodeId server_of(TaskId task) const {
    const auto found = tasks_.find(task);
    return found == tasks_.end() ? NodeId{} : found->second.server;
  }
  // Ends everything with the reason: the node is leaving.
  void shutdown(const std::string& reason, Instant now);

 private:
  struct Task {
    TaskRequest request;
    std::shared_ptr<const OnTokens> on_tokens;  // shared: it may end its task while it runs
    OnResult on_result;
    bool manual_credit = false;
    Instant submitted{};
    Instant deadline = kNever;
    std::vector<env::Token> log;      // what the client got. A last one without an id ended the text
    std::set<NodeId> failed;          // tried in vain
    std::optional<std::string> hash;  // of the model and the engine that gave the first token
    std::optional<std::string> numeric_class;
    NodeId server;
    bool assigned = false;  // an attempt is under way
    bool accepted = false;
    std::uint32_t attempt = 0;             // its number on the wire, never used twice by this owner
    std::uint32_t credit_left = 0;         // tokens that the attempt may still send
    Instant patience = kNever;             // when the attempt's silence is a failure
    std::optional<Instant> waiting_since;  // begun, and nobody can go on with it
    Duration step{};
    std::string refusal;
    bool engine_failed = false;  // an attempt ended with an error, not with a refusal
    Duration retry_after{};
    TaskResult result;
  };

  void rule_out_the_same_model(Task& task);
  static bool believable(const Task& task, std::span<const env::Token> fresh);
  Task* current(NodeId from, TaskId task, std::uint32_t attempt);
  void place(Task& task, Instant now);
  void assign(Task& task, const place::Candidate& where, Instant now);
  void give_up_attempt(Task& task, bool tell_server, Instant now);
  void no_place(Task& task, Instant now);
  void finish(TaskId id, Outcome outcome, std::string reason, Instant now);
  Instant patience_from(const Task& task, Instant now) const;
  void grant(Task& task, std::uint32_t tokens);
  template <class Message>
  void send(NodeId to, wire::MessageType type, const Message& message);

  TaskOwnerOptions options_;
  std::map<NodeId, place::NodeView> nodes_;
  std::map<TaskId, Task> tasks_;
  std::uint32_t last_attempt_ = 0;
  std::map<std::string, std::string> good_answers_;  // question -> the last good answer
  std::vector<env::Send> sends_;
};

}  // namespace sedge::node
