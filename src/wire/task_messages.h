// Tasks on the wire, between a task's owner (the node that accepted it) and the node that serves it.
// The budget travels as time left, never as a clock time. `attempt` numbers the owner's tries: an answer to an
// earlier one is ignored, so a server that was given up on cannot write into the stream.
// Grammar: docs/formats/task.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/compute.h"
#include "wire/codec.h"

namespace sedge {
constexpr Code wire_last(Code) { return Code::kUnauthenticated; }
}  // namespace sedge

namespace sedge::wire {

// What a client asks for.
struct TaskSpec {
  std::string model;
  std::string prompt;                // raw text, or
  std::vector<env::ChatTurn> turns;  // a conversation through the model's chat template
  std::uint32_t tokens_max = 256;
  std::uint32_t tokens_min = 0;  // before so many the end token is not chosen
  std::vector<std::string> stops;
  env::Sampling sampling;
  std::uint8_t priority = 4;  // 0 most urgent; breaks ties between equal deadlines
  std::string trace;          // W3C traceparent of the client, or empty
  env::Grammar grammar;       // what the answer must be
  std::vector<env::LogitBias> logit_bias;
  std::uint32_t logprobs = 0;      // 0: none; else that many are told of each token, its own first and then the best
  std::vector<std::string> texts;  // not empty: their embeddings are wanted, a token each (env::JobSpec)
  std::optional<std::int64_t> asked_local_s;  // the date, for chat templates that name it (env::JobSpec)
  friend bool operator==(const TaskSpec&, const TaskSpec&) = default;

  template <class V>
  void fields(V& visit) {
    visit("model", model);
    visit("prompt", prompt);
    visit("turns", turns);
    visit("tokens_max", tokens_max);
    visit("tokens_min", tokens_min);
    visit("stops", stops);
    visit("sampling", sampling);
    visit("priority", priority);
    visit("trace", trace);
    visit("grammar", grammar);
    visit("logit_bias", logit_bias);
    visit("logprobs", logprobs);
    visit("texts", texts);
    visit("asked_local_s", asked_local_s);
  }
};

struct TaskAssign {
  TaskId task;
  std::uint32_t attempt = 0;
  TaskSpec spec;
  std::optional<Duration> budget;    // time left; none: whenever
  std::vector<std::int32_t> resume;  // tokens that earlier attempts delivered
  std::uint32_t credit = 0;          // tokens that may be sent before more credit comes
  friend bool operator==(const TaskAssign&, const TaskAssign&) = default;

  template <class V>
  void fields(V& visit) {
    visit("task", task);
    visit("attempt", attempt);
    visit("spec", spec);
    visit("budget", budget);
    visit("resume", resume);
    visit("credit", credit);
  }
};

struct TaskAnswer {
  TaskId task;
  std::uint32_t attempt = 0;
  bool accepted = false;
  std::string reason;      // when refused, for people
  Duration retry_after{};  // when refused: when asking again may help
  Duration first_token{};  // when accepted: expected wait for the first token
  Duration step{};         // when accepted: expected time between tokens
  friend bool operator==(const TaskAnswer&, const TaskAnswer&) = default;

  template <class V>
  void fields(V& visit) {
    visit("task", task);
    visit("attempt", attempt);
    visit("accepted", accepted);
    visit("reason", reason);
    visit("retry_after", retry_after);
    visit("first_token", first_token);
    visit("step", step);
  }
};

struct TaskTokens {
  TaskId task;
  std::uint32_t attempt = 0;
  std::uint32_t first = 0;  // index of tokens[0] in the whole generated text
  std::uint32_t prompt_tokens = 0;
  std::vector<env::Token> tokens;
  friend bool operator==(const TaskTokens&, const TaskTokens&) = default;

  template <class V>
  void fields(V& visit) {
    visit("task", task);
    visit("attempt", attempt);
    visit("first", first);
    visit("prompt_tokens", prompt_tokens);
    visit("tokens", tokens);
  }
};

// How a served attempt ended. kFailed carries the error.
enum class TaskEnd : std::uint8_t { kStop, kLength, kDeadline, kFailed };
constexpr TaskEnd wire_last(TaskEnd) { return TaskEnd::kFailed; }

struct TaskDone {
  TaskId task;
  std::uint32_t attempt = 0;
  TaskEnd end = TaskEnd::kStop;
  Code code = Code::kUnknown;  // of the error; InvalidArgument: no other node could run it either
  std::string message;
  std::uint32_t prompt_tokens = 0;
  Duration prefill{};  // engine time of this attempt
  Duration decode{};
  friend bool operator==(const TaskDone&, const TaskDone&) = default;

  template <class V>
  void fields(V& visit) {
    visit("task", task);
    visit("attempt", attempt);
    visit("end", end);
    visit("code", code);
    visit("message", message);
    visit("prompt_tokens", prompt_tokens);
    visit("prefill", prefill);
    visit("decode", decode);
  }
};

struct TaskCancel {
  TaskId task;
  std::uint32_t attempt = 0;
  friend bool operator==(const TaskCancel&, const TaskCancel&) = default;

  template <class V>
  void fields(V& visit) {
    visit("task", task);
    visit("attempt", attempt);
  }
};

struct TaskCredit {
  TaskId task;
  std::uint32_t attempt = 0;
  std::uint32_t credit = 0;  // this many more tokens may be sent
  friend bool operator==(const TaskCredit&, const TaskCredit&) = default;

  template <class V>
  void fields(V& visit) {
    visit("task", task);
    visit("attempt", attempt);
    visit("credit", credit);
  }
};

// What a node says about its queue, often and unreliably; resources that rarely change are replicated entries.
struct LoadReport {
  std::uint64_t number = 0;  // newer wins
  Duration backlog{};        // engine time that is promised already, over all workers
  std::uint32_t running = 0;
  std::uint32_t waiting = 0;
  std::uint32_t workers = 0;
  friend bool operator==(const LoadReport&, const LoadReport&) = default;

  template <class V>
  void fields(V& visit) {
    visit("number", number);
    visit("backlog", backlog);
    visit("running", running);
    visit("waiting", waiting);
    visit("workers", workers);
  }
};

// The replicated entry sys/node/<id>/offers.
struct Offers {
  std::vector<env::ModelOffer> models;

  template <class V>
  void fields(V& visit) {
    visit("models", models);
  }
};

}  // namespace sedge::wire
