#include "sim/compute.h"

#include <algorithm>

#include "base/prng.h"

namespace sedge::sim {

namespace {

constexpr std::uint32_t kChunk = 256;        // prompt tokens a step
constexpr std::uint32_t kBytesPerToken = 4;  // about, of English text
constexpr std::uint32_t kContext = 4096;

std::uint64_t fold(std::uint64_t state, std::string_view text) {
  for (const char c : text) {
    state ^= static_cast<std::uint8_t>(c);
    state = splitmix64(state);
  }
  return state;
}

std::uint64_t fold(std::uint64_t state, std::int32_t token) {
  state ^= static_cast<std::uint32_t>(token);
  return splitmix64(state);
}

Duration at_rate(double count, double per_second) {
  return Duration(static_cast<std::int64_t>(count / per_second * 1e9));
}

}  // namespace

std::vector<env::ModelOffer> SimCompute::offers() const {
  std::vector<env::ModelOffer> all;
  for (const SimModel& model : models_) {
    all.push_back(
        {model.name, "sim:" + model.name, "sim", 1u << 20, kContext, model.prefill_tok_s, model.decode_tok_s});
  }
  return all;
}

void SimCompute::start(TaskId task, env::JobSpec spec) {
  const auto model = std::ranges::find(models_, spec.model, &SimModel::name);
  Job job;
  job.number = ++last_job_;
  if (model != models_.end()) job.model = *model;
  job.state = fold(fold(0, spec.model), spec.prompt);
  std::size_t bytes = spec.prompt.size();
  for (const env::ChatTurn& turn : spec.turns) {
    job.state = fold(fold(job.state, turn.role), turn.content);
    bytes += turn.content.size();
  }
  for (const std::int32_t token : spec.resume) job.state = fold(job.state, token);
  job.generated = static_cast<std::uint32_t>(spec.resume.size());
  job.prompt = static_cast<std::uint32_t>(bytes / kBytesPerToken) + 1;
  job.spec = std::move(spec);
  jobs_[task] = std::move(job);
}

env::JobEnd SimCompute::step(Job& job, std::vector<env::Token>& out) const {
  if (job.generated >= job.spec.tokens_max) return env::JobEnd::kLength;
  if (job.generated >= job.model.length) return env::JobEnd::kStop;
  std::uint64_t state = job.state;
  const auto id = static_cast<std::int32_t>(splitmix64(state) % 32000);
  job.state = fold(job.state, id);
  ++job.generated;
  out.push_back({id, " w" + std::to_string(id)});
  return env::JobEnd::kNone;
}

void SimCompute::run(TaskId task, std::uint32_t steps, env::Urgency /*urgency*/) {
  const auto found = jobs_.find(task);
  if (found == jobs_.end()) return;
  Job& job = found->second;
  env::SliceReport report;
  report.task = task;
  const std::uint32_t whole = job.prompt + static_cast<std::uint32_t>(job.spec.resume.size());
  for (std::uint32_t i = 0; i < steps && report.end == env::JobEnd::kNone; ++i) {
    if (job.prefilled < whole) {
      const std::uint32_t chunk = std::min(kChunk, whole - job.prefilled);
      job.prefilled += chunk;
      report.prefilling = true;
      report.busy += at_rate(chunk, job.model.prefill_tok_s);
    } else {
      report.end = step(job, report.tokens);
      report.busy += at_rate(1, job.model.decode_tok_s);
    }
  }
  report.prompt_tokens = job.prompt;
  report.prefilled = job.prefilled;
  const Duration busy = report.busy;
  later_(busy, job.number, std::move(report));
}

}  // namespace sedge::sim
