// env::Compute on the real engine: a few worker threads, each with its own engine, stepping jobs whose contexts (KV
// caches) they keep between slices. The event loop hands out slices and gets reports through `post`; it never waits for
// a tensor, and a step never waits for the loop.
//
// Before each step a worker takes the most urgent job that has steps left and, of the same model, the next ones up to
// batch_max (a share of them, where other workers are free or step this model too): they go through one pass
// (engine/batch.h), and how many rows of prompts it has the measured times decide (engine/pacer.h). So whoever comes in
// starts at the next step; or at once, where nobody is free and all in some step are less urgent: that step pauses
// between two row blocks (engine/control.h), losing nothing, while one more thread begins the newcomer and takes its
// first step with the cores of those that wait.
//
// What is no pass keeps nobody waiting for long: a job is begun alone (half a megabyte of prompt to tokens, a grammar
// to read), by one worker while the others go on, and where there is one, a step of the others lies between two
// beginnings. What a step copies of remembered prompts has a bound for all in it together.
//
// A job is shared by the table and the step that runs it, so that release() returns at once: the memory goes when the
// step has ended, and when nobody is left in it the cancel flag ends it between row blocks.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/batch.h"
#include "engine/embedding.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/model.h"
#include "engine/prefix_cache.h"
#include "env/compute.h"
#include "platform/adapter_options.h"
#include "platform/pacers.h"
#include "platform/packed_store.h"
#include "platform/speculation.h"

namespace sedge::platform {

struct EngineComputeOptions {
  engine::ModelOptions model{};
  unsigned workers = 1;
  unsigned threads_per_worker = 1;
  unsigned batch_max =
      8;  // jobs that share a step; each row of a pass costs less than the one before, up to about this
  std::size_t draft_max = kGuessesMax;             // tokens guessed ahead, where it pays
  std::size_t prefix_cache_bytes = 0;              // of beginnings of prompts, all models together; 0: none
  engine::BlockStore* prefix_store = nullptr;      // where they outlive the process; it outlives the engines
  PackedStore* packed_store = nullptr;             // where packed weights do; likewise
  std::shared_ptr<engine::MemoryBudget> memory{};  // of texts and beginnings together; none: nobody counts
  // Of beginnings in one step, one block at least: milliseconds from memory, no more than a pass from a disk.
  std::size_t recall_bytes_max = std::size_t{16} << 20;
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
  // Errors: those of load_here (model_figures.h); AlreadyExists for a name that is taken.
  Status add_model(const std::filesystem::path& path);

  // Offers a loaded model with adapters under another name. Texts of both share steps; its hash is the model's, and
  // behind a '+' the adapters' and their scales'. Jobs may stack several (env/model_name.h). Before the first start().
  // Errors: those of engine::Adapter::load; AlreadyExists; NotFound (no such base); InvalidArgument (no base is named
  //         where there are several, those of engine::check_adapters).
  Status add_adapter(const AdapterOptions& options);

  // Loads a small model that guesses for those offered models and adapters that have its vocabulary
  // (engine/draft_model.h); not offered itself. After those, before the first start().
  // Errors: those of engine::Model::load; InvalidArgument (no model has its vocabulary: why the last has not).
  Status add_draft(const std::filesystem::path& path);

  // Writes the packed weights of what is loaded to the store, behind the work.
  void keep_packed();

  // Of all files that are loaded.
  std::size_t loaded_bytes() const;
  std::vector<env::ModelOffer> offers() const override;
  std::uint32_t workers() const override { return options_.workers; }
  void start(TaskId task, env::JobSpec spec) override;
  std::uint32_t batch_max() const { return options_.batch_max; }
  void run(TaskId task, std::uint32_t steps, env::Urgency urgency) override;
  void release(TaskId task) override;

 private:
  struct Team;
  // Of a job that wants vectors: its texts as ids, and how many of them are done.
  struct Embedding {
    std::vector<std::vector<std::int32_t>> texts;
    std::size_t done = 0, tokens = 0;
  };
  struct Job {
    TaskId task;
    env::JobSpec spec;
    std::shared_ptr<const engine::Model> model, draft;
    std::vector<engine::AdapterUse> adapters;
    std::string cache_scope;                       // what its keys and values depend on besides tokens
    std::optional<engine::Generation> generation;  // once begun; or
    std::optional<Embedding> embedding;
    std::size_t prompt_tokens = 0;
    std::atomic<bool> released{false};
    // Under the mutex.
    bool ended = false;
    std::uint32_t steps = 0;  // left of its slice
    env::Urgency urgency{};
    bool left = false;     // to another worker, the last time
    Team* team = nullptr;  // while a step runs

    bool begun() const { return generation || embedding; }
  };
  // Those in one step, or the one that begins. Lives on its worker's stack.
  struct Team {
    std::vector<std::shared_ptr<Job>> jobs;  // most urgent first
    bool begins = false;
    engine::Control control{};
    // Under the mutex.
    Duration stood_still{};  // altogether, until the last time it went on

    const env::Urgency& urgency() const { return jobs.front()->urgency; }
  };
  struct Worker {
    engine::Engine engine;
    engine::Batch batch{};
    Speculation speculation{};
  };
  // A newcomer's first step, and whose step waits for it.
  struct Overtaking {
    Team* waiting;
    Instant since;
    Team team{};
  };
  struct Offered {
    env::ModelOffer offer;
    std::shared_ptr<const engine::Model> model;
    std::vector<engine::AdapterUse> adapters{};
    std::shared_ptr<const engine::Model> draft{};
  };

  // What a step is to one of its team.
  struct Part {
    env::SliceReport report;
    engine::Member member;
    bool stepped = false;  // it took part: one step of its slice is used up
  };

  Result<std::shared_ptr<const engine::Model>> load(const std::filesystem::path& path) const;
  std::string hash_of(const engine::Model& model) const;
  Result<const Offered*> base_of(const AdapterOptions& options) const;
  std::optional<Offered> find(std::string_view name) const;
  void work();
  void work_urgent();
  bool gather(Team& team, bool began);
  bool overtake(const std::shared_ptr<Job>& job);
  void go_on();
  Duration still(const Team& team, Instant until);
  std::vector<std::shared_ptr<Job>> share_of(std::span<const std::shared_ptr<Job>> free) const;
  bool begin_first(Team& team);
  Status pass(Worker& worker, Team& team, std::span<engine::Member> members, std::size_t decoding, std::size_t patient);
  std::size_t patient_prompt(const Team& team, std::span<const Part> parts);
  void step(Worker& worker, Team& team);
  static void prepare(Job& job, Part& part, std::size_t recall_bytes_max, std::size_t& recalled_bytes);
  Status embed(Worker& worker, const engine::Control& control, Job& job, Part& part) const;
  static void count(const Job& job, env::SliceReport& report);
  static void describe(const Job& job, const Status& pass, Part& part);
  void close(Team& team, std::vector<Part>& parts);
  Status begin(Job& job) const;
  static Status begin_embedding(Job& job);
  static void cancel_if_deserted(const Job& job);
  void send(const std::shared_ptr<Job>& job, env::SliceReport report);

  EngineComputeOptions options_;
  Post post_;
  Report report_;
  std::shared_ptr<engine::PrefixCache> cache_;  // none where it would be empty
  std::map<std::string, Offered> models_;
  std::size_t draft_bytes_ = 0, draft_packed_ = 0;  // of their files, and of their packed weights
  std::map<TaskId, std::shared_ptr<Job>> jobs_;     // event loop only
  Pacers pacers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<Job>> runnable_;  // those with steps left
  std::size_t waiting_ = 0;                     // workers without work
  std::optional<Overtaking> overtaking_;
  std::condition_variable called_;  // the thread for newcomers
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sedge::platform
