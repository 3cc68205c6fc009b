// env::Compute on the real engine: a few worker threads, each with its own engine, running slices of jobs whose
// contexts (KV caches) they keep between slices. The event loop hands out work and gets reports through `post`; it
// never waits for a tensor.
//
// A job is shared by the table and the slice that runs it, so that release() returns at once: it raises the cancel flag
// that the engine looks at between row blocks, and the memory goes when the slice has noticed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/model.h"
#include "env/compute.h"

namespace sedge::platform {

struct EngineComputeOptions {
  unsigned workers = 1;
  unsigned threads_per_worker = 1;
};

class EngineCompute final : public env::Compute {
 public:
  // `post` runs its argument on the event loop; `report` is called there.
  using Post = std::function<void(std::function<void()>)>;
  using Report = std::function<void(const env::SliceReport&)>;

  EngineCompute(EngineComputeOptions options, Post post, Report report);
  ~EngineCompute() override;
  EngineCompute(const EngineCompute&) = delete;
  EngineCompute& operator=(const EngineCompute&) = delete;

  // Loads and measures a model; offered under its file's stem. Before the first start().
  // Errors: those of engine::Model::load; AlreadyExists for a name that is taken.
  Status add_model(const std::filesystem::path& path);

  std::vector<env::ModelOffer> offers() const override;
  std::uint32_t workers() const override { return options_.workers; }
  void start(TaskId task, env::JobSpec spec) override;
  void run(TaskId task, std::uint32_t steps) override;
  void release(TaskId task) override;

 private:
  struct Job {
    TaskId task;
    env::JobSpec spec;
    std::shared_ptr<const engine::Model> model;
    std::optional<engine::Generation> generation;  // made by the first slice: tokenizing is work too
    std::size_t prompt_tokens = 0;
    engine::CancelFlag released{false};
  };
  struct Slice {
    std::shared_ptr<Job> job;
    std::uint32_t steps = 0;
  };
  struct Offered {
    env::ModelOffer offer;
    std::shared_ptr<const engine::Model> model;
  };

  void work();
  void run_slice(engine::Engine& engine, const std::shared_ptr<Job>& job, std::uint32_t steps);
  static Status begin(Job& job);
  void send(const std::shared_ptr<Job>& job, env::SliceReport report);

  EngineComputeOptions options_;
  Post post_;
  Report report_;
  std::map<std::string, Offered> models_;
  std::map<TaskId, std::shared_ptr<Job>> jobs_;  // event loop only
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Slice> slices_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sedge::platform
