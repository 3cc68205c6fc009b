#include "platform/engine_compute.h"

#include <algorithm>
#include <bit>
#include <set>
#include <utility>

#include "engine/prompt.h"
#include "env/model_name.h"
#include "model/lora.h"
#include "model/mapped_file.h"
#include "platform/conversation.h"
#include "platform/grammar.h"
#include "platform/model_figures.h"
#include "platform/system.h"
#include "trust/keys.h"

namespace sedge::platform {
namespace {

// Of the file; of several, of their digests. `read` is told of each piece.
std::string content_hash(std::span<const Bytes> parts, const std::function<void(Bytes)>& read = [](Bytes) {}) {
  Buffer digests;
  for (const Bytes part : parts) {
    const trust::Digest digest = trust::digest(part, read);
    digests.insert(digests.end(), digest.begin(), digest.end());
  }
  return to_hex(parts.size() == 1 ? Bytes(digests).first(16) : Bytes(trust::digest(digests)).first(16));
}

// Of an adapter's files.
Result<std::string> adapter_hash(const std::filesystem::path& path) {
  std::vector<std::shared_ptr<const model::MappedFile>> files;
  std::vector<Bytes> parts;
  for (const std::filesystem::path& each : model::lora_files(path)) {
    SEDGE_TRY(auto file, model::MappedFile::open(each));
    parts.push_back(file->bytes());
    files.push_back(std::move(file));
  }
  return content_hash(parts);
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

std::vector<env::TokenLogprob> logprobs_of(const engine::Model& model, const engine::Piece& piece) {
  std::vector<env::TokenLogprob> all;
  for (const engine::Logprob& each : piece.logprobs) {
    all.push_back({each.id, model.tokenizer().decode_piece(each.id), static_cast<double>(each.logprob)});
  }
  return all;
}

}  // namespace

EngineCompute::EngineCompute(EngineComputeOptions options, Post post, Report report)
    : options_(std::move(options)), post_(std::move(post)), report_(std::move(report)) {
  if (options_.prefix_cache_bytes > 0 || options_.prefix_store != nullptr) {
    cache_ = std::make_shared<engine::PrefixCache>(options_.prefix_cache_bytes, options_.prefix_store, options_.memory);
  }
  for (unsigned i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
  threads_.emplace_back([this] { work_urgent(); });
}

EngineCompute::~EngineCompute() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& [task, job] : jobs_) {
      job->released = true;
      cancel_if_deserted(*job);
    }
  }
  wake_.notify_all();
  called_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Result<std::shared_ptr<const engine::Model>> EngineCompute::load(const std::filesystem::path& path) const {
  std::size_t packed = draft_packed_;
  for (const auto& [name, offered] : models_) packed += offered.adapters.empty() ? offered.model->packed_bytes() : 0;
  return load_here(path, options_.model, packed, options_.packed_store);
}

// Of the model's file. Where its packed weights are kept its hash is kept with them, and the file need not be read.
std::string EngineCompute::hash_of(const engine::Model& model) const {
  const model::GgufFile& file = model.file();
  if (options_.packed_store != nullptr && model.packed_bytes() == 0) {
    if (const auto kept = options_.packed_store->load(file); kept && !kept->content_hash.empty()) {
      return kept->content_hash;
    }
  }
  return content_hash(file.parts(), [&](Bytes piece) { file.forget(piece); });
}

void EngineCompute::keep_packed() {
  if (options_.packed_store == nullptr) return;
  for (const auto& [name, offered] : models_) {
    if (offered.adapters.empty()) options_.packed_store->save(offered.model, offered.offer.hash);
    if (offered.draft != nullptr) options_.packed_store->save(offered.draft, "");
  }
}

Status EngineCompute::add_model(const std::filesystem::path& path) {
  SEDGE_TRY(auto model, load(path));
  Offered offered;
  env::ModelOffer& offer = offered.offer;
  offer.name = path.stem().string();
  if (models_.contains(offer.name)) {
    return fail(Code::kAlreadyExists, "{}: a model named '{}' is loaded already", path.string(), offer.name);
  }
  offer.hash = hash_of(*model);
  offer.numeric_class = std::string(model->numeric_class());
  offer.bytes = model->file().file_bytes();
  offer.context = static_cast<std::uint32_t>(model->config().context);
  // A first guess, so that admission has figures before the first task. For an encoder: that the tokens of others cost
  // nothing beside its prompts is near enough.
  const auto speed = measure_speed(model, options_.threads_per_worker);
  if (!speed) return in_context(path.string(), speed.error());
  offer.prefill_tok_s = speed->prompt_tok_s;
  offer.decode_tok_s = speed->generate_tok_s;
  offered.model = std::move(model);
  models_.emplace(offer.name, std::move(offered));
  return {};
}

// Adapters stand on models, not on each other.
Result<const EngineCompute::Offered*> EngineCompute::base_of(const AdapterOptions& options) const {
  const Offered* found = nullptr;
  for (const auto& [name, offered] : models_) {
    if (!offered.adapters.empty() || (!options.base.empty() && name != options.base)) continue;
    if (found != nullptr) {
      return fail(Code::kInvalidArgument, "adapter '{}': several models are loaded: say which is its base",
                  options.name);
    }
    found = &offered;
  }
  if (found != nullptr) return found;
  return fail(Code::kNotFound, "adapter '{}': its base{} is not loaded here: give the model too", options.name,
              options.base.empty() ? "" : fmt::format(" '{}'", options.base));
}

Status EngineCompute::add_adapter(const AdapterOptions& options) {
  SEDGE_TRY(const Offered* base, base_of(options));
  if (models_.contains(options.name)) {
    return fail(Code::kAlreadyExists, "adapter '{}': a model of that name is loaded already", options.name);
  }
  Offered offered{base->offer, base->model};
  std::string contents;
  offered.offer.bytes = 0;
  for (const AdapterOptions::File& file : options.files) {
    SEDGE_TRY(auto adapter, engine::Adapter::load(file.path, base->model));
    SEDGE_TRY(const std::string hash, adapter_hash(file.path));
    contents += fmt::format("{} {}\n", hash, file.scale);
    offered.offer.bytes += adapter->bytes();
    offered.adapters.push_back({std::move(adapter), file.scale});
  }
  SEDGE_CHECK(engine::check_adapters(*base->model, offered.adapters));
  const Bytes all[] = {as_bytes(contents)};
  offered.offer.name = options.name;
  offered.offer.hash += "+" + content_hash(all);
  models_.emplace(options.name, std::move(offered));
  return {};
}

Status EngineCompute::add_draft(const std::filesystem::path& path) {
  SEDGE_TRY(const auto draft, load(path));
  Status fits = fail(Code::kInvalidArgument, "there is no model to guess for: give one too");
  bool used = false;
  for (auto& [name, offered] : models_) {
    fits = engine::check_draft(*offered.model, *draft);
    if (!fits) continue;
    offered.draft = draft;
    used = true;
  }
  if (!used) return in_context(path.string(), fits.error());
  draft_bytes_ += draft->file().file_bytes();
  draft_packed_ += draft->packed_bytes();
  return {};
}

std::size_t EngineCompute::loaded_bytes() const {
  std::size_t bytes = draft_bytes_;
  for (const auto& [name, offered] : models_) bytes += offered.offer.bytes;
  return bytes;
}

std::vector<env::ModelOffer> EngineCompute::offers() const {
  std::vector<env::ModelOffer> all;
  for (const auto& [name, offered] : models_) all.push_back(offered.offer);
  return all;
}

// A stack is made of what its parts are, each part's scale times those of its files.
std::optional<EngineCompute::Offered> EngineCompute::find(std::string_view name) const {
  auto offer = env::find_offer(offers(), name);
  if (!offer) return {};
  if (const auto found = models_.find(offer->name); found != models_.end()) return found->second;
  Offered stack{*std::move(offer), {}};
  for (const env::StackPart& part : env::stack_of(name)) {
    const Offered& of = models_.at(part.name);
    stack.model = of.model;
    stack.draft = of.draft;
    for (const engine::AdapterUse& use : of.adapters) stack.adapters.push_back({use.adapter, use.scale * part.scale});
  }
  return stack;
}

void EngineCompute::start(TaskId task, env::JobSpec spec) {
  auto job = std::make_shared<Job>();
  job->task = task;
  job->spec = std::move(spec);
  if (auto found = find(job->spec.model)) {
    job->model = std::move(found->model);
    job->draft = std::move(found->draft);
    job->adapters = std::move(found->adapters);
    job->cache_scope = fmt::format("{} {}", found->offer.hash, found->offer.numeric_class);
  }
  jobs_[task] = std::move(job);
}

void EngineCompute::run(TaskId task, std::uint32_t steps, env::Urgency urgency) {
  const auto found = jobs_.find(task);
  if (found == jobs_.end()) return;
  const std::shared_ptr<Job>& job = found->second;
  const std::lock_guard lock(mutex_);
  job->urgency = urgency;
  if (job->ended) return;  // the loop has not heard yet
  if (steps > 0) {
    if (std::ranges::find(runnable_, job) == runnable_.end()) runnable_.push_back(job);
    job->steps = steps;
    if (!overtake(job)) wake_.notify_one();
    return;
  }
  if (std::exchange(job->steps, 0) == 0 || job->team != nullptr) return;  // the step under way reports the end
  std::erase(runnable_, job);
  env::SliceReport rests;
  rests.task = task;
  send(job, std::move(rests));
}

void EngineCompute::release(TaskId task) {
  const auto found = jobs_.extract(task);
  if (!found) return;
  const std::shared_ptr<Job>& job = found.mapped();
  const std::lock_guard lock(mutex_);
  job->released = true;
  std::erase(runnable_, job);
  cancel_if_deserted(*job);
}

// A step goes on for the others as long as there are any.
void EngineCompute::cancel_if_deserted(const Job& job) {
  if (job.team == nullptr) return;
  const bool deserted = std::ranges::all_of(job.team->jobs, [](const auto& each) { return each->released.load(); });
  if (deserted) job.team->control.cancel();
}

void EngineCompute::work() {
  Worker worker{.engine = engine::Engine({.threads = options_.threads_per_worker})};
  for (bool began = false;;) {
    Team team;
    if (!gather(team, began)) return;
    began = team.begins;
    if (!began) {
      step(worker, team);
    } else if (std::vector<Part> parts(1); begin_first(team)) {
      close(team, parts);
    }
  }
}

// A newcomer that nobody is free for does not wait for the end of a step in which all are less urgent: of several such
// steps the least urgent one pauses. One at a time: whoever comes meanwhile waits for this one's first step.
bool EngineCompute::overtake(const std::shared_ptr<Job>& job) {
  if (job->team != nullptr || job->begun() || waiting_ > 0 || overtaking_) return false;
  Team* last = nullptr;
  for (const auto& other : runnable_) {
    if (other->team == nullptr || other->team->urgency() < job->urgency) continue;
    if (last == nullptr || last->urgency() < other->team->urgency()) last = other->team;
  }
  if (last == nullptr) return false;
  overtaking_.emplace(last, now());
  overtaking_->team.jobs = {job};
  job->team = &overtaking_->team;
  last->control.pause();
  called_.notify_one();
  return true;
}

void EngineCompute::work_urgent() {
  Worker worker{.engine = engine::Engine({.threads = options_.threads_per_worker})};
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      called_.wait(lock, [this] { return stopping_ || overtaking_; });
      if (!overtaking_) return;
    }
    Team& team = overtaking_->team;  // nobody else ends it
    if (begin_first(team)) step(worker, team);
    go_on();
  }
}

// The paused step goes on, and who came meanwhile may overtake it in turn.
void EngineCompute::go_on() {
  const std::lock_guard lock(mutex_);
  Team& waiting = *overtaking_->waiting;
  waiting.stood_still += now() - overtaking_->since;
  waiting.control.resume();
  overtaking_.reset();
  auto jobs = runnable_;
  std::ranges::sort(jobs, {}, &Job::urgency);
  for (const auto& job : jobs) {
    if (overtake(job)) break;
  }
  wake_.notify_all();
}

// How long it stood still until then.
Duration EngineCompute::still(const Team& team, Instant until) {
  const std::lock_guard lock(mutex_);
  const bool waits = overtaking_ && overtaking_->waiting == &team;
  return team.stood_still + (waits ? until - overtaking_->since : Duration{});
}

// Waits for work, and takes who steps next or begins; `began`: the last time one did. False when there will be none any
// more.
bool EngineCompute::gather(Team& team, bool began) {
  std::unique_lock lock(mutex_);
  std::vector<std::shared_ptr<Job>> free;
  ++waiting_;
  wake_.wait(lock, [&] {
    free.clear();
    for (const auto& job : runnable_) {
      if (job->team == nullptr) free.push_back(job);
    }
    return stopping_ || !free.empty();
  });
  --waiting_;
  if (stopping_) return false;
  std::ranges::sort(free, {}, &Job::urgency);
  std::vector<std::shared_ptr<Job>> taken = share_of(free);
  const auto is_new = [](const auto& job) { return !job->begun(); };
  const auto first_new = std::ranges::find_if(taken, is_new);
  team.begins = first_new != taken.end() && !(began && !std::ranges::all_of(taken, is_new));
  if (team.begins) {
    taken = {*first_new};
  } else {
    std::erase_if(taken, is_new);
  }
  for (const auto& job : taken) job->team = &team;
  if (taken.size() < free.size() && waiting_ > 0) wake_.notify_one();
  team.jobs = std::move(taken);
  return true;
}

// Of the first one's model, as many as step together. Other workers that wait for work or step this model have an equal
// part of its jobs: who is left to them is taken by the next of them that comes, and by us if none has until then.
// `free`: most urgent first, not empty.
std::vector<std::shared_ptr<EngineCompute::Job>> EngineCompute::share_of(
    std::span<const std::shared_ptr<Job>> free) const {
  const engine::Model* model = free[0]->model.get();
  std::set<const Team*> teams;
  std::size_t jobs = 0;
  for (const auto& job : runnable_) {
    if (job->model.get() != model || (job->team != nullptr && job->team->begins)) continue;
    if (job->team != nullptr) teams.insert(job->team);
    ++jobs;
  }
  const std::size_t workers = 1 + waiting_ + teams.size(), part = (jobs + workers - 1) / workers;
  std::vector<std::shared_ptr<Job>> taken;
  for (const auto& job : free) {
    if (job->model.get() != model) continue;
    const bool take = taken.size() < options_.batch_max && (taken.size() < part || job->left);
    job->left = !take;
    if (take) taken.push_back(job);
  }
  return taken;
}

// Begins the team's only job. False: it failed, and the team is closed. Else nothing is told of it: its time is that of
// no step.
bool EngineCompute::begin_first(Team& team) {
  const Status begun = begin(*team.jobs[0]);
  if (begun) return true;
  std::vector<Part> parts(1);
  parts[0].report.task = team.jobs[0]->task;
  parts[0].report.end = env::JobEnd::kFailed;
  parts[0].report.error = begun.error();
  close(team, parts);
  return false;
}

Status EngineCompute::begin(Job& job) const {
  if (job.model == nullptr) return fail(Code::kNotFound, "model '{}' is not loaded here", job.spec.model);
  if (!job.spec.texts.empty()) return begin_embedding(job);
  ChatPrompt prompt;
  if (job.spec.turns.empty()) {
    SEDGE_TRY(prompt.ids, engine::encode_prompt(*job.model, job.spec.prompt));
  } else {
    SEDGE_TRY(prompt, begin_chat(*job.model, job.spec.turns, job.spec.asked_local_s));
  }
  engine::GenerationOptions options;
  options.grammar = std::move(prompt.grammar);
  options.sampling = sampling_of(job.spec.sampling);
  options.tokens_max = job.spec.tokens_max;
  options.tokens_min = job.spec.tokens_min;
  options.stops = job.spec.stops;
  options.draft_max = options_.draft_max;
  options.draft_model = job.draft;
  options.adapters = job.adapters;
  options.cache = cache_;
  options.cache_scope = job.cache_scope;
  options.memory = options_.memory;
  for (const env::LogitBias& each : job.spec.logit_bias) {
    options.sampling.bias.emplace_back(each.token, static_cast<float>(each.bias));
  }
  options.logprobs = job.spec.logprobs;
  if (job.spec.grammar.kind != env::GrammarKind::kNone) {
    SEDGE_TRY(options.grammar, read_grammar(job.spec.grammar));
  }
  SEDGE_TRY(auto generation, engine::Generation::start(job.model, prompt.ids, job.spec.resume, std::move(options)));
  job.prompt_tokens = prompt.ids.size();
  job.generation.emplace(std::move(generation));
  return {};
}

Status EngineCompute::begin_embedding(Job& job) {
  Embedding embedding;
  for (std::size_t i = 0; i < job.spec.texts.size(); ++i) {
    auto ids = engine::encode_for_embedding(*job.model, job.spec.texts[i]);
    if (!ids) return in_context(fmt::format("text {}", i), std::move(ids).error());
    job.prompt_tokens += ids->size();
    embedding.texts.push_back(*std::move(ids));
  }
  embedding.done = std::min(job.spec.resume.size(), embedding.texts.size());  // on another node
  for (std::size_t i = 0; i < embedding.done; ++i) embedding.tokens += embedding.texts[i].size();
  job.embedding = std::move(embedding);
  return {};
}

// A step of it: the next texts that pass the layers together.
Status EngineCompute::embed(Worker& worker, const engine::Control& control, Job& job, Part& part) const {
  Embedding& embedding = *job.embedding;
  env::SliceReport& report = part.report;
  const auto left = std::span(embedding.texts).subspan(embedding.done);
  const auto texts = left.first(engine::embedding_group(left));
  SEDGE_TRY(const auto vectors,
            engine::embed_texts(worker.engine, *job.model, texts,
                                {.memory = options_.memory, .cache = cache_, .adapters = job.adapters}, &control));
  for (const std::vector<float>& vector : vectors) {
    static_assert(std::endian::native == std::endian::little);
    std::string bytes(reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float));
    report.tokens.push_back({static_cast<std::int32_t>(embedding.done), std::move(bytes), {}});
    embedding.tokens += embedding.texts[embedding.done++].size();
  }
  if (embedding.done == embedding.texts.size()) report.end = env::JobEnd::kStop;
  report.prompt_tokens = static_cast<std::uint32_t>(job.prompt_tokens);
  report.prefilled = static_cast<std::uint32_t>(embedding.tokens);
  part.stepped = true;
  return {};
}

// Copies what is remembered of a prompt: its step was this. While there may be more of it than the step has bytes left
// for, a job waits for the next.
void EngineCompute::prepare(Job& job, Part& part, std::size_t recall_bytes_max, std::size_t& recalled_bytes) {
  engine::Generation& text = *job.generation;
  part.report.task = job.task;
  part.report.prefilling = text.prefill_left() > 0;
  const std::size_t position = text.sequence().bytes_per_position(), before = text.cached();
  std::size_t blocks =
      (recall_bytes_max - std::min(recall_bytes_max, recalled_bytes)) / (position * engine::kPrefixBlock);
  if (recalled_bytes == 0) blocks = std::max<std::size_t>(blocks, 1);
  if (part.report.prefilling && blocks == 0) return;
  if (!text.recall(blocks)) {
    part.member.generation = &text;
    return;
  }
  recalled_bytes += (text.cached() - before) * position;
  part.stepped = true;
  count(job, part.report);
}

// After the pass: what the job's owner is told.
void EngineCompute::describe(const Job& job, const Status& pass, Part& part) {
  env::SliceReport& report = part.report;
  const Status status = !pass ? pass : part.member.did ? Status{} : std::unexpected(part.member.did.error());
  if (!status) {
    report.end = env::JobEnd::kFailed;
    report.error = status.error();
    return;
  }
  const engine::Step& step = *part.member.did;
  part.stepped = part.member.asked;
  // The text that is now certain goes with the token; what an end flushes with the last, or with none (id -1).
  std::size_t told = 0;
  for (const engine::Piece& piece : step.pieces) {
    report.tokens.push_back({piece.id, piece.text, logprobs_of(*job.model, piece)});
    told += piece.text.size();
  }
  if (step.pieces.empty() && !step.text.empty()) report.tokens.push_back({-1, {}, {}});
  if (told < step.text.size()) report.tokens.back().bytes += step.text.substr(told);
  report.drafted = static_cast<std::uint32_t>(step.drafted);
  report.accepted = static_cast<std::uint32_t>(step.accepted);
  if (step.finish == engine::Finish::kStop) report.end = env::JobEnd::kStop;
  if (step.finish == engine::Finish::kLength) report.end = env::JobEnd::kLength;
  count(job, report);
}

void EngineCompute::count(const Job& job, env::SliceReport& report) {
  report.prompt_tokens = static_cast<std::uint32_t>(job.prompt_tokens);
  report.prefilled =
      static_cast<std::uint32_t>(job.prompt_tokens - std::min(job.prompt_tokens, job.generation->prefill_left()));
  report.cached = static_cast<std::uint32_t>(job.generation->cached());
}

// Guesses stand beside the tokens, as many as pay, but not while somebody reads a prompt: its rows have the room.
// `decoding` of the members are past theirs. What a paused step took is learned from by nobody.
Status EngineCompute::pass(Worker& worker, Team& team, std::span<engine::Member> members, std::size_t decoding,
                           std::size_t patient) {
  const engine::Model& model = *team.jobs[0]->model;
  const auto clock = [&] {
    const Instant instant = now();
    return instant - still(team, instant);
  };
  if (decoding == members.size()) {
    SEDGE_CHECK(worker.speculation.guess(worker.engine, members, pacers_, clock, &team.control));
  }
  const Instant started = now();
  const std::size_t prompt_rows = pacers_.of(model).prompt_rows(decoding, patient);
  SEDGE_CHECK(worker.batch.step(worker.engine, members, prompt_rows, &team.control));
  const Instant ended = now();
  if (still(team, ended) == Duration{}) {
    pacers_.took(model, worker.batch.token_rows(), worker.batch.prompt_rows(), ended - started);
  }
  return {};
}

// The tokens of the prompt that comes first, where none of those who generate has a deadline; else 0.
std::size_t EngineCompute::patient_prompt(const Team& team, std::span<const Part> parts) {
  const std::lock_guard lock(mutex_);
  std::size_t tokens = 0;
  for (std::size_t i = parts.size(); i-- > 0;) {
    if (parts[i].member.generation == nullptr) continue;
    if (parts[i].report.prefilling) {
      tokens = team.jobs[i]->prompt_tokens;
    } else if (team.jobs[i]->urgency.deadline != kNever) {
      return 0;
    }
  }
  return tokens;
}

void EngineCompute::step(Worker& worker, Team& team) {
  const Instant begun = now();
  std::vector<Part> parts(team.jobs.size());
  std::vector<engine::Member> members;
  std::size_t decoding = 0, recalled_bytes = 0;
  bool embedded = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (Job& job = *team.jobs[i]; job.embedding) {
      parts[i].report.task = job.task;
      parts[i].report.prefilling = true;
      if (std::exchange(embedded, true)) continue;  // one a step: the others' tokens wait for no more
      if (const Status status = embed(worker, team.control, job, parts[i]); !status) {
        parts[i].report.end = env::JobEnd::kFailed;
        parts[i].report.error = status.error();
      }
      continue;
    }
    prepare(*team.jobs[i], parts[i], options_.recall_bytes_max, recalled_bytes);
    if (parts[i].member.generation == nullptr) continue;
    members.push_back(parts[i].member);
    if (!parts[i].report.prefilling) ++decoding;
  }
  Status passed;
  std::size_t prompt_rows = 0;
  if (!members.empty()) {
    passed = pass(worker, team, members, decoding, patient_prompt(team, parts));
    prompt_rows = worker.batch.prompt_rows();
  }
  const Instant ended = now();
  const Duration stood_still = still(team, ended), busy = std::max(ended - begun - stood_still, Duration{});
  auto member = members.begin();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    env::SliceReport& report = parts[i].report;
    std::size_t rows = 0;
    if (parts[i].member.generation != nullptr) {
      parts[i].member = std::move(*member++);
      rows = parts[i].member.rows.ids.size();
      describe(*team.jobs[i], passed, parts[i]);
    }
    report.busy = busy;
    report.batch = static_cast<std::uint32_t>(std::max<std::size_t>(decoding, 1));
    report.mixed = report.prefilling ? decoding > 0 || recalled_bytes > 0 || rows < prompt_rows
                                     : prompt_rows > 0 || decoding < parts.size();
    report.mixed = report.mixed || (embedded && parts.size() > 1) || stood_still > Duration{};
  }
  close(team, parts);
}

// Under one lock, so that a job's reports keep their order whoever steps it next. Who should stand still does so,
// though its step ended before it heard of it: its cores are another's now.
void EngineCompute::close(Team& team, std::vector<Part>& parts) {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return !overtaking_ || overtaking_->waiting != &team; });
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::shared_ptr<Job>& job = team.jobs[i];
    Part& part = parts[i];
    job->team = nullptr;
    if (part.stepped && job->steps > 0) --job->steps;
    if (part.report.end != env::JobEnd::kNone) job->ended = true, job->steps = 0;
    part.report.more = job->steps > 0;
    if (!part.report.more) std::erase(runnable_, job);
    if (part.stepped || !part.report.more) send(job, std::move(part.report));
  }
  wake_.notify_all();
}

void EngineCompute::send(const std::shared_ptr<Job>& job, env::SliceReport report) {
  post_([this, job, report = std::move(report)] {
    if (!job->released) report_(report);
  });
}

}  // namespace sedge::platform
