// A model that costs time and nothing else: the next token is a hash of the model and all before it, so that any node
// of the same numeric class goes on with exactly the same text, and each step takes as long as a real model's step
// was measured to take.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "env/compute.h"

namespace sedge::sim {

struct SimModel {
  std::string name = "sim";
  double prefill_tok_s = 4000;
  double decode_tok_s = 200;
  std::uint32_t length = 64;  // tokens until it stops by itself
  friend bool operator==(const SimModel&, const SimModel&) = default;
};

class SimCompute final : public env::Compute {
 public:
  // `later(delay, job, report)` brings the report to the node after the delay, unless the node has died since or the
  // job is no longer current: released, or released and started anew under the same task.
  using Later = std::function<void(Duration delay, std::uint64_t job, env::SliceReport report)>;
  SimCompute(std::vector<SimModel> models, Later later) : models_(std::move(models)), later_(std::move(later)) {}

  std::vector<env::ModelOffer> offers() const override;
  std::uint32_t workers() const override { return 1; }
  void start(TaskId task, env::JobSpec spec) override;
  void run(TaskId task, std::uint32_t steps, env::Urgency urgency) override;
  void release(TaskId task) override { jobs_.erase(task); }
  bool current(TaskId task, std::uint64_t job) const {
    const auto found = jobs_.find(task);
    return found != jobs_.end() && found->second.number == job;
  }

 private:
  struct Job {
    std::uint64_t number = 0;
    env::JobSpec spec;
    SimModel model;
    std::uint64_t state = 0;   // hash of all so far
    std::uint32_t prompt = 0;  // tokens, with `resume`
    std::uint32_t prefilled = 0;
    std::uint32_t generated = 0;
  };
  env::JobEnd step(Job& job, std::vector<env::Token>& out) const;

  std::vector<SimModel> models_;
  Later later_;
  std::uint64_t last_job_ = 0;
  std::map<TaskId, Job> jobs_;
};

}  // namespace sedge::sim
