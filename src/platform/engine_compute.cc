#include "platform/engine_compute.h"

#include <algorithm>
#include <utility>

#include "engine/prompt.h"
#include "model/mapped_file.h"
#include "platform/grammar.h"
#include "platform/system.h"
#include "trust/keys.h"

namespace sedge::platform {
namespace {

// A first guess of the rates, so that admission has figures before the first task: one chunk, a few tokens.
constexpr std::size_t kMeasureChunk = 32;
constexpr int kMeasureTokens = 8;

Status measure(const std::shared_ptr<const engine::Model>& model, unsigned threads, env::ModelOffer& offer) {
  engine::Engine engine({.threads = threads});
  const std::int32_t some_id = std::max<std::int32_t>(0, model->tokenizer().vocab().bos.value_or(0));
  const std::vector<std::int32_t> prompt(std::min<std::size_t>(kMeasureChunk, offer.context / 2), some_id);
  engine::GenerationOptions options;
  options.tokens_max = kMeasureTokens;
  SEDGE_TRY(engine::Generation generation, engine::Generation::start(model, prompt, {}, options));
  const Instant begun = now();
  while (generation.prefill_left() > 0) {
    SEDGE_TRY(const engine::Step step, generation.step(engine));
    (void)step;
  }
  const Instant prefilled = now();
  int steps = 0;
  while (generation.finish() == engine::Finish::kNone) {
    SEDGE_TRY(const engine::Step step, generation.step(engine));
    (void)step;
    ++steps;
  }
  offer.prefill_tok_s = static_cast<double>(prompt.size()) / std::max(to_seconds(prefilled - begun), 1e-6);
  offer.decode_tok_s = std::max(steps, 1) / std::max(to_seconds(now() - prefilled), 1e-6);
  return {};
}

engine::SamplingOptions sampling_of(const env::Sampling& sampling) {
  engine::SamplingOptions options;
  options.temperature = static_cast<float>(sampling.temperature);
  options.top_k = sampling.top_k;
  options.top_p = static_cast<float>(sampling.top_p);
  options.min_p = static_cast<float>(sampling.min_p);
  options.repeat_penalty = static_cast<float>(sampling.repeat_penalty);
  options.seed = sampling.seed;
  options.frequency_penalty = static_cast<float>(sampling.frequency_penalty);
  options.presence_penalty = static_cast<float>(sampling.presence_penalty);
  return options;
}

std::vector<env::TokenLogprob> logprobs_of(const engine::Model& model, const engine::Step& step) {
  std::vector<env::TokenLogprob> all;
  for (const engine::Logprob& each : step.logprobs) {
    all.push_back({each.id, model.tokenizer().decode_piece(each.id), static_cast<double>(each.logprob)});
  }
  return all;
}

}  // namespace

EngineCompute::EngineCompute(EngineComputeOptions options, Post post, Report report)
    : options_(options), post_(std::move(post)), report_(std::move(report)) {
  for (unsigned i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
}

EngineCompute::~EngineCompute() {
  for (auto& [task, job] : jobs_) job->released = true;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Status EngineCompute::add_model(const std::filesystem::path& path) {
  SEDGE_TRY(auto model, engine::Model::load(path));
  Offered offered;
  env::ModelOffer& offer = offered.offer;
  offer.name = path.stem().string();
  if (models_.contains(offer.name)) {
    return fail(Code::kAlreadyExists, "{}: a model named '{}' is loaded already", path.string(), offer.name);
  }
  SEDGE_TRY(const auto mapped, model::MappedFile::open(path));
  const Bytes bytes = mapped->bytes();
  offer.hash = to_hex(Bytes(trust::digest(bytes)).first(16));
  offer.numeric_class = std::string(model->numeric_class());
  offer.bytes = bytes.size();
  offer.context = static_cast<std::uint32_t>(model->config().context);
  if (const Status measured = measure(model, options_.threads_per_worker, offer); !measured) {
    return in_context(path.string(), measured.error());
  }
  offered.model = std::move(model);
  models_.emplace(offer.name, std::move(offered));
  return {};
}

std::vector<env::ModelOffer> EngineCompute::offers() const {
  std::vector<env::ModelOffer> all;
  for (const auto& [name, offered] : models_) all.push_back(offered.offer);
  return all;
}

void EngineCompute::start(TaskId task, env::JobSpec spec) {
  auto job = std::make_shared<Job>();
  job->task = task;
  job->spec = std::move(spec);
  if (const auto found = models_.find(job->spec.model); found != models_.end()) job->model = found->second.model;
  jobs_[task] = std::move(job);
}

void EngineCompute::run(TaskId task, std::uint32_t steps) {
  const auto found = jobs_.find(task);
  if (found == jobs_.end()) return;
  {
    const std::lock_guard lock(mutex_);
    slices_.push_back({found->second, steps});
  }
  wake_.notify_one();
}

void EngineCompute::release(TaskId task) {
  if (const auto found = jobs_.extract(task)) found.mapped()->released = true;
}

void EngineCompute::work() {
  engine::Engine engine({.threads = options_.threads_per_worker});
  for (;;) {
    Slice slice;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !slices_.empty(); });
      if (stopping_) return;
      slice = std::move(slices_.front());
      slices_.pop_front();
    }
    run_slice(engine, slice.job, slice.steps);
  }
}

Status EngineCompute::begin(Job& job) {
  if (job.model == nullptr) return fail(Code::kNotFound, "model '{}' is not loaded here", job.spec.model);
  std::vector<std::int32_t> prompt;
  if (job.spec.turns.empty()) {
    SEDGE_TRY(prompt, engine::encode_prompt(*job.model, job.spec.prompt));
  } else {
    std::vector<model::ChatMessage> messages;
    for (const env::ChatTurn& turn : job.spec.turns) messages.push_back({.role = turn.role, .content = turn.content});
    SEDGE_TRY(prompt, engine::encode_chat(*job.model, messages));
  }
  engine::GenerationOptions options;
  options.sampling = sampling_of(job.spec.sampling);
  options.tokens_max = job.spec.tokens_max;
  options.tokens_min = job.spec.tokens_min;
  options.stops = job.spec.stops;
  for (const env::LogitBias& each : job.spec.logit_bias) {
    options.sampling.bias.emplace_back(each.token, static_cast<float>(each.bias));
  }
  options.logprobs = job.spec.logprobs;
  if (job.spec.grammar.kind != env::GrammarKind::kNone) {
    SEDGE_TRY(options.grammar, read_grammar(job.spec.grammar));
  }
  SEDGE_TRY(auto generation, engine::Generation::start(job.model, prompt, job.spec.resume, std::move(options)));
  job.prompt_tokens = prompt.size();
  job.generation.emplace(std::move(generation));
  return {};
}

void EngineCompute::run_slice(engine::Engine& engine, const std::shared_ptr<Job>& job, std::uint32_t steps) {
  for (std::uint32_t i = 0; i < steps && !job->released; ++i) {
    env::SliceReport report;
    report.task = job->task;
    const Instant begun = now();
    Status status;
    if (!job->generation) status = begin(*job);
    if (status) {
      engine::Generation& generation = *job->generation;
      report.prefilling = generation.prefill_left() > 0;
      const auto step = generation.step(engine, &job->released);
      if (!step) {
        if (step.error().code == Code::kCancelled) return;
        status = std::unexpected(step.error());
      } else {
        // The text that is now certain goes with the token; what an end flushes goes with none (id -1).
        if (step->token || !step->text.empty()) {
          report.tokens.push_back({step->token.value_or(-1), step->text, logprobs_of(*job->model, *step)});
        }
        if (step->finish == engine::Finish::kStop) report.end = env::JobEnd::kStop;
        if (step->finish == engine::Finish::kLength) report.end = env::JobEnd::kLength;
        report.prompt_tokens = static_cast<std::uint32_t>(job->prompt_tokens);
        report.prefilled =
            static_cast<std::uint32_t>(job->prompt_tokens - std::min(job->prompt_tokens, generation.prefill_left()));
      }
    }
    if (!status) {
      report.end = env::JobEnd::kFailed;
      report.error = status.error();
    }
    report.busy = now() - begun;
    report.more = report.end == env::JobEnd::kNone && i + 1 < steps;
    const bool last = !report.more;
    send(job, std::move(report));
    if (last) return;
  }
}

void EngineCompute::send(const std::shared_ptr<Job>& job, env::SliceReport report) {
  post_([this, job, report = std::move(report)] {
    if (!job->released) report_(report);
  });
}

}  // namespace sedge::platform
