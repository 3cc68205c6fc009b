// The serving side of tasks: takes assignments from owners, lets serve/ decide the order, runs slices on the compute
// seam, and streams tokens back within the owner's credit. It knows owners only by id; the node itself may be one.
//
// A worker says something about every task at least each `heartbeat`, tokens or not, so that an owner can tell a dead
// node from a long prompt without waiting for membership. Back-pressure: tokens beyond the credit wait here, and the
// task is parked (no slices) until credit comes, so that a slow reader costs one KV cache and nothing else. Nor for
// ever: what nobody takes for `stall_max` ends as failed, an ended job counts until its tokens are taken, and no owner
// has all places.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "env/compute.h"
#include "env/outbox.h"
#include "serve/scheduler.h"
#include "trust/keys.h"
#include "wire/message_type.h"
#include "wire/task_messages.h"

namespace sedge::node {

struct TaskWorkerOptions {
  serve::SchedulerOptions scheduler;
  Duration heartbeat = 30ms;  // a third of the shortest gap an owner tolerates
  Duration stall_max = 30s;   // tokens wait so long for credit
};

// What this node's engines did, since its start.
struct WorkerStats {
  std::uint64_t tokens = 0;           // made
  std::uint64_t prompt_tokens = 0;    // of prompts that were read to their end
  std::uint64_t cached_tokens = 0;    // of those, remembered and not computed
  std::uint64_t drafted_tokens = 0;   // guessed ahead
  std::uint64_t accepted_tokens = 0;  // and right
};

// An attempt that this node served, as it ended.
struct ServedAttempt {
  TaskId task;
  NodeId owner;
  std::uint32_t attempt = 0;
  trust::Digest prompt{};
  std::string model;
  std::string model_hash;
  std::string_view outcome;  // "stop", "length", "deadline", "failed"; "given up": by its owner, or with it
  std::uint32_t tokens = 0;  // made here
};

class TaskWorker {
 public:
  TaskWorker(TaskWorkerOptions options, env::Compute& compute);

  void on_assign(NodeId owner, const wire::TaskAssign& assign, Instant now);
  void on_cancel(NodeId owner, const wire::TaskCancel& cancel, Instant now);
  void on_credit(NodeId owner, const wire::TaskCredit& credit, Instant now);
  void on_slice(const env::SliceReport& report, Instant now);
  // Its answers have nowhere to go: whoever owns the tasks now will assign them again.
  void on_owner_lost(NodeId owner, Instant now);

  // Told of each attempt that was accepted, once, when it has ended.
  void on_served(std::function<void(const ServedAttempt&)> callback) { served_ = std::move(callback); }

  void on_timer(Instant now);
  Instant next_deadline() const;
  void drain(env::Outbox& out);

  wire::LoadReport load();
  std::size_t tasks() const { return jobs_.size(); }
  const WorkerStats& stats() const { return stats_; }

 private:
  struct Job {
    NodeId owner;
    std::uint32_t attempt = 0;
    std::uint32_t sent = 0;  // index of the next token to send
    std::uint32_t credit = 0;
    std::uint32_t prompt_tokens = 0;
    std::vector<env::Token> unsent;  // beyond the credit,
    Instant stalled = kNever;        // since then; never: there are none
    Instant last_sent{};
    Duration prefill{};
    Duration decode{};
    std::optional<wire::TaskDone> done;  // ended, but tokens still wait for credit
    std::string model;
    trust::Digest prompt{};
    std::uint32_t made = 0;
    bool read = false;  // its prompt is in the statistics
  };

  serve::Admission admit(NodeId owner, const wire::TaskAssign& assign, Instant now);
  void run_slices(Instant now);
  void count(const env::SliceReport& report, Job& job);
  void flush(TaskId task, Job& job, Instant now);
  void finish(TaskId task, Job& job, wire::TaskEnd end, Error error);
  void end_stalled(Instant now);
  void drop(TaskId task);
  void told(TaskId task, const Job& job, std::string_view outcome) const;
  template <class Message>
  void send(NodeId to, wire::MessageType type, const Message& message);

  TaskWorkerOptions options_;
  env::Compute& compute_;
  serve::Scheduler scheduler_;
  std::map<TaskId, Job> jobs_;
  std::vector<env::Send> sends_;
  std::uint64_t load_number_ = 0;
  WorkerStats stats_;
  std::function<void(const ServedAttempt&)> served_;
};

}  // namespace sedge::node
