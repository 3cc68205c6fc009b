// Real worker threads on a small random model: what jobs get when they share steps.
#include "platform/engine_compute.h"

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>

#include <gtest/gtest.h>

#include "engine/random_model.h"
#include "model/lora.h"
#include "platform/packed_store.h"
#include "platform/prefix_store.h"
#include "support/temp_folder.h"

namespace sedge::platform {
namespace {

TaskId task_number(std::uint8_t number) {
  TaskId id;
  id.bytes[0] = number;
  return id;
}

// The event loop: what workers post runs here, one after the other.
class Loop {
 public:
  void post(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    wake_.notify_one();
  }
  void run_one() {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return !queue_.empty(); });
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
};

// Has nothing, and lets the first `held` who ask for something wait until they are let go, the first, the second. So a
// test holds workers in a step.
class Gate final : public engine::BlockStore {
 public:
  explicit Gate(std::size_t held) : held_(held) {}
  engine::BlockValues load(const std::string&, std::span<const std::int32_t>, std::size_t) override {
    std::unique_lock lock(mutex_);
    const std::size_t mine = ++asked_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return mine > held_ || let_go_.contains(mine); });
    return nullptr;
  }
  void save(const std::string&, std::span<const std::int32_t>, engine::BlockValues) override {}
  void wait_for_held() { wait_for_asked(held_); }
  void wait_for_asked(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked_ >= count; });
  }
  void let_go(std::size_t number) {
    const std::lock_guard lock(mutex_);
    let_go_.insert(number);
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t held_, asked_ = 0;
  std::set<std::size_t> let_go_;
};

struct Answer {
  std::string text;
  std::size_t tokens = 0;
  env::JobEnd end = env::JobEnd::kNone;
  std::size_t shared = 0;  // reports of steps with company
  std::size_t slices = 0;
  std::size_t cached = 0;
  std::string error;
};

env::Urgency urgency(std::uint8_t number) { return {.order = number}; }

class EngineComputeTest : public testing::Test {
 protected:
  void open(const EngineComputeOptions& options) {
    write(random_);
    start(options);
  }

  void write(const engine::RandomModel& model) {
    std::ofstream(folder_ / "random.gguf", std::ios::binary)
        .write(reinterpret_cast<const char*>(model.file().data()), static_cast<std::streamsize>(model.file().size()));
  }

  // With the model that is there.
  void start(const EngineComputeOptions& options) {
    compute_.emplace(
        options, [this](std::function<void()> work) { loop_.post(std::move(work)); },
        [this](const env::SliceReport& report) { on_report(report); });
    ASSERT_TRUE(compute_->add_model(folder_ / "random.gguf"));
  }

  // A random adapter's file.
  std::filesystem::path adapter(const std::string& name, std::uint64_t seed) {
    const auto path = folder_ / name;
    EXPECT_TRUE(model::write_random_lora(path, random_.model()->config(), {.rank = 4, .seed = seed}));
    return path;
  }

  static env::JobSpec job(std::uint8_t number) {
    env::JobSpec spec;
    spec.model = "random";
    spec.prompt = std::string(5 + number * 7u, static_cast<char>('a' + number));
    spec.tokens_max = 10u + number;
    spec.sampling.temperature = 1;
    spec.sampling.seed = number;
    return spec;
  }

  void begin(std::uint8_t number, env::JobSpec spec) {
    compute_->start(task_number(number), std::move(spec));
    compute_->run(task_number(number), 1000, urgency(number));
  }

  static env::JobSpec long_job(std::uint8_t number) {
    env::JobSpec spec = job(number);
    spec.tokens_max = spec.tokens_min = 150;
    return spec;
  }

  void on_report(const env::SliceReport& report) {
    Answer& answer = answers_[report.task];
    for (const env::Token& token : report.tokens) answer.text += token.bytes, answer.tokens += token.id >= 0;
    if (report.batch > 1) ++answer.shared;
    if (!report.more) ++answer.slices;
    answer.cached = std::max<std::size_t>(answer.cached, report.cached);
    if (report.end != env::JobEnd::kNone) answer.end = report.end, answer.error = report.error.message;
    if (on_report_) on_report_(report);
    if (!report.more && report.end == env::JobEnd::kNone && again_)
      compute_->run(report.task, 4, urgency(report.task.bytes[0]));
  }

  void run_until_ended(const std::vector<std::uint8_t>& numbers) {
    for (const std::uint8_t number : numbers) {
      while (answers_[task_number(number)].end == env::JobEnd::kNone) loop_.run_one();
    }
  }

  std::map<TaskId, Answer> run(const std::vector<std::uint8_t>& numbers) {
    answers_.clear();
    for (const std::uint8_t number : numbers) {
      compute_->start(task_number(number), job(number));
      compute_->run(task_number(number), 4, urgency(number));
    }
    run_until_ended(numbers);
    for (const std::uint8_t number : numbers) compute_->release(task_number(number));
    return answers_;
  }

  test::TempFolder folder_;
  engine::RandomModel random_{{.context = 256}};
  Loop loop_;
  bool again_ = true;
  std::function<void(const env::SliceReport&)> on_report_;
  std::map<TaskId, Answer> answers_;
  std::optional<EngineCompute> compute_;
};

TEST_F(EngineComputeTest, jobs_that_share_steps_have_the_text_they_have_alone) {
  for (const unsigned workers : {1u, 2u}) {
    open({.workers = workers, .threads_per_worker = 1});
    std::map<TaskId, Answer> alone;
    for (std::uint8_t number = 1; number <= 6; ++number) alone.merge(run({number}));
    const auto overtaken = run({6, 5, 4, 3, 2, 1});
    for (const auto& [task, answer] : overtaken) EXPECT_EQ(answer.text, alone.at(task).text);
    const auto shared = run({1, 2, 3, 4, 5, 6});
    std::size_t in_company = 0;
    for (const auto& [task, answer] : shared) {
      EXPECT_EQ(answer.text, alone.at(task).text);
      EXPECT_EQ(answer.end, alone.at(task).end);
      in_company += answer.shared;
    }
    EXPECT_TRUE(workers > 1 || in_company > 0);
    compute_.reset();
  }
}

TEST_F(EngineComputeTest, adapters_are_models_of_their_own_that_share_steps_with_their_base) {
  open({.threads_per_worker = 1, .prefix_cache_bytes = 1 << 20});
  const auto one = adapter("one.gguf", 5), two = adapter("two.gguf", 6);
  ASSERT_TRUE(compute_->add_adapter({.name = "one", .base = {}, .files = {{one, 1}}}));
  ASSERT_TRUE(compute_->add_adapter({.name = "half", .base = "random", .files = {{one, 0.5f}}}));
  ASSERT_TRUE(compute_->add_adapter({.name = "both", .base = {}, .files = {{one, 1}, {two, 1}}}));
  const std::vector<std::string> models = {"random", "one", "half", "both"};
  const auto asked = [&](std::uint8_t number) {
    env::JobSpec spec = job(6);  // the same prompt, which is long enough to be remembered
    spec.model = models[number];
    return spec;
  };
  std::vector<Answer> alone;
  std::set<std::string> texts;
  for (std::uint8_t number = 0; number < 4; ++number) {
    begin(number, asked(number));
    run_until_ended({number});
    compute_->release(task_number(number));
    alone.push_back(answers_.at(task_number(number)));
    EXPECT_EQ(alone.back().cached, 0u) << "what another adapter made of the prompt is not what this one makes of it";
    texts.insert(alone.back().text);
  }
  EXPECT_EQ(texts.size(), 4u);
  answers_.clear();
  for (std::uint8_t number = 0; number < 4; ++number) begin(number, asked(number));
  run_until_ended({0, 1, 2, 3});
  std::size_t in_company = 0;
  for (std::uint8_t number = 0; number < 4; ++number) {
    EXPECT_EQ(answers_.at(task_number(number)).text, alone[number].text) << models[number];
    EXPECT_EQ(answers_.at(task_number(number)).cached, 32u) << models[number];
    in_company += answers_.at(task_number(number)).shared;
  }
  EXPECT_GT(in_company, 0u);
}

TEST_F(EngineComputeTest, a_job_may_stack_what_is_offered_by_its_models_name) {
  open({.threads_per_worker = 1, .prefix_cache_bytes = 1 << 20});
  const auto one = adapter("one.gguf", 5), two = adapter("two.gguf", 6);
  ASSERT_TRUE(compute_->add_adapter({.name = "one", .base = {}, .files = {{one, 0.5f}}}));
  ASSERT_TRUE(compute_->add_adapter({.name = "two", .base = {}, .files = {{two, 1}}}));
  ASSERT_TRUE(compute_->add_adapter({.name = "stacked", .base = {}, .files = {{two, 0.25f}, {one, 1}}}));
  std::uint8_t number = 0;
  const auto answer = [&](const std::string& model) {
    env::JobSpec spec = job(6);
    spec.model = model;
    begin(++number, spec);
    run_until_ended({number});
    compute_->release(task_number(number));
    return answers_.at(task_number(number));
  };
  const Answer stacked = answer("stacked");
  const Answer asked = answer("two=0.25+one=2");
  EXPECT_EQ(asked.text, stacked.text);
  EXPECT_EQ(asked.cached, 0u) << "another name of the same: remembered apart, and never of another stack";
  EXPECT_EQ(answer("two=0.25+one=2").cached, 32u);
  const Answer other = answer("two=0.25+one=4");
  EXPECT_NE(other.text, stacked.text);
  EXPECT_EQ(other.cached, 0u);
  EXPECT_EQ(answer("one=1").cached, 0u);
  EXPECT_EQ(answer("one").cached, 32u) << "all of it is itself";
}

TEST_F(EngineComputeTest, an_adapters_hash_names_its_base_its_files_their_order_and_how_much_of_each) {
  open({});
  const auto one = adapter("one.gguf", 5), two = adapter("two.gguf", 6), same = adapter("same.gguf", 5);
  const std::vector<std::vector<AdapterOptions::File>> stacks = {
      {{one, 1}}, {{two, 1}}, {{one, 0.5f}}, {{one, 1}, {two, 1}}, {{two, 1}, {one, 1}}, {{same, 1}}};
  for (std::size_t i = 0; i < stacks.size(); ++i) {
    ASSERT_TRUE(compute_->add_adapter({.name = fmt::format("a{}", i), .base = {}, .files = stacks[i]}));
  }
  std::map<std::string, std::string> hashes;
  for (const env::ModelOffer& offer : compute_->offers()) hashes[offer.name] = offer.hash;
  std::set<std::string> different;
  for (const auto& [name, hash] : hashes) {
    EXPECT_EQ(env::weights_of(hash), hashes["random"]);
    different.insert(hash);
  }
  EXPECT_EQ(different.size(), stacks.size()) << "the base, and all but the copy";
  EXPECT_EQ(hashes["a0"], hashes["a5"]);
}

TEST_F(EngineComputeTest, an_adapter_without_a_base_or_with_a_name_that_is_taken_is_refused) {
  open({});
  const auto one = adapter("one.gguf", 5);
  const auto code_of = [&](const AdapterOptions& options) { return compute_->add_adapter(options).error().code; };
  ASSERT_TRUE(compute_->add_adapter({.name = "one", .base = {}, .files = {{one, 1}}}));
  EXPECT_EQ(code_of({.name = "one", .base = {}, .files = {{one, 1}}}), Code::kAlreadyExists);
  EXPECT_EQ(code_of({.name = "random", .base = {}, .files = {{one, 1}}}), Code::kAlreadyExists);
  EXPECT_EQ(code_of({.name = "two", .base = "one", .files = {{one, 1}}}), Code::kNotFound);
  EXPECT_EQ(code_of({.name = "two", .base = {}, .files = {{folder_ / "random.gguf", 1}}}), Code::kInvalidArgument);
  EXPECT_EQ(code_of({.name = "two", .base = {}, .files = {{folder_ / "nothing", 1}}}), Code::kNotFound);
  std::filesystem::copy(folder_ / "random.gguf", folder_ / "another.gguf");
  ASSERT_TRUE(compute_->add_model(folder_ / "another.gguf"));
  EXPECT_EQ(code_of({.name = "two", .base = {}, .files = {{one, 1}}}), Code::kInvalidArgument);
  EXPECT_TRUE(compute_->add_adapter({.name = "two", .base = "another", .files = {{one, 1}}}));
}

TEST_F(EngineComputeTest, a_draft_model_changes_no_text_and_one_that_fits_no_model_is_refused) {
  const auto answers = [&](bool drafted) {
    open({.threads_per_worker = 2});
    if (drafted) {
      EXPECT_TRUE(compute_->add_draft(folder_ / "random.gguf"));
    }
    EXPECT_EQ(compute_->offers().size(), 1u) << "the draft model is not offered";
    EXPECT_EQ(compute_->loaded_bytes(), random_.file().size() * (drafted ? 2 : 1));
    for (std::uint8_t number = 1; number < 4; ++number) begin(number, long_job(number));
    run_until_ended({1, 2, 3});
    std::string all;
    for (const auto& [task, answer] : answers_) all += answer.text + "\n";
    answers_.clear();
    compute_.reset();
    return all;
  };
  const std::string without = answers(false);
  EXPECT_EQ(answers(true), without);
  const engine::RandomModel other({.control_tokens = {"<a>"}}), another({.control_tokens = {"<b>"}});
  for (const auto& [name, model] : {std::pair{"one.gguf", &other}, std::pair{"two.gguf", &another}}) {
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(model->file().data()), static_cast<std::streamsize>(model->file().size()));
  }
  EngineCompute fresh({}, [](const auto&) {}, [](const auto&) {});
  EXPECT_EQ(fresh.add_draft(folder_ / "one.gguf").error().code, Code::kInvalidArgument) << "no model at all";
  ASSERT_TRUE(fresh.add_model(folder_ / "one.gguf"));
  const auto refused = fresh.add_draft(folder_ / "two.gguf");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("two.gguf: a draft model needs the model's vocabulary"), std::string::npos)
      << refused.error().message;
}

TEST_F(EngineComputeTest, a_prompt_that_was_read_is_remembered_even_by_another_process) {
  PrefixStore store({.folder = folder_ / "prefixes", .bytes_max = 1 << 20});
  open({.prefix_cache_bytes = 1 << 20, .prefix_store = &store});
  const auto first = run({6});  // 48 tokens: one block and some more
  EXPECT_EQ(first.at(task_number(6)).cached, 0u);
  const auto again = run({6});
  EXPECT_EQ(again.at(task_number(6)).cached, 32u);
  EXPECT_EQ(again.at(task_number(6)).text, first.at(task_number(6)).text);
  compute_.reset();
  open({.prefix_cache_bytes = 1 << 20, .prefix_store = &store});
  const auto later = run({6});
  EXPECT_EQ(later.at(task_number(6)).cached, 32u);
  EXPECT_EQ(later.at(task_number(6)).text, first.at(task_number(6)).text);
}

TEST_F(EngineComputeTest, a_model_that_was_packed_before_writes_the_same_and_has_the_same_hash) {
  write(engine::RandomModel({.type = kernels::DType::kQ8_0, .context = 256}));
  const auto life = [&] {
    const auto in_an_hour = [] { return std::chrono::system_clock::now().time_since_epoch() + std::chrono::hours(1); };
    PackedStore store({.folder = folder_ / "packed", .wall_clock = in_an_hour});
    start({.packed_store = &store});
    const std::string text = run({6}).at(task_number(6)).text + compute_->offers().at(0).hash;
    compute_->keep_packed();
    store.flush();
    compute_.reset();
    return text;
  };
  const std::string first = life();
  ASSERT_TRUE(std::filesystem::exists(folder_ / "packed"));
  EXPECT_EQ(life(), first);
}

TEST_F(EngineComputeTest, what_texts_and_beginnings_take_is_counted_and_a_prompt_that_never_fits_fails_alone) {
  const auto memory = std::make_shared<engine::MemoryBudget>(100 * 768u);  // a position takes 768
  open({.prefix_cache_bytes = 1 << 20, .memory = memory});
  std::size_t taken = 0;
  on_report_ = [&](const env::SliceReport& report) {
    if (report.end == env::JobEnd::kLength) taken = memory->taken();
  };
  const auto both = run({6, 18});  // 48 tokens, 132 tokens
  EXPECT_EQ(both.at(task_number(6)).end, env::JobEnd::kLength);
  EXPECT_EQ(both.at(task_number(6)).tokens, 16u);
  EXPECT_EQ(both.at(task_number(18)).end, env::JobEnd::kFailed);
  EXPECT_EQ(taken, (48 + 16 + 32) * 768u) << "a text, and the block of it that is remembered";
  on_report_ = nullptr;
  compute_.reset();
  EXPECT_EQ(memory->taken(), 0u);
}

// A model that generates embeds as well: both kinds of jobs in the same steps.
TEST_F(EngineComputeTest, embeddings_come_a_token_a_text_beside_jobs_that_generate_and_go_on_where_others_stopped) {
  open({.workers = 1, .threads_per_worker = 1});
  const auto alone = run({1, 2});
  env::JobSpec texts;
  texts.model = "random";
  for (int i = 0; i < 12; ++i) texts.texts.push_back(std::string(80, static_cast<char>('a' + i)));
  std::vector<std::vector<std::int32_t>> ids;
  for (const std::string& text : texts.texts) {
    ids.push_back(engine::encode_for_embedding(*random_.model(), text).value());
  }
  engine::Engine engine;
  std::string wanted;
  const auto vectors = engine::embed_texts(engine, *random_.model(), ids).value();
  for (const std::vector<float>& vector : vectors) {
    wanted.append(reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float));
  }
  answers_.clear();
  begin(3, texts);
  texts.resume = {0, 1, 2, 3, 4};
  begin(4, texts);
  begin(1, job(1)), begin(2, job(2));
  run_until_ended({1, 2, 3, 4});
  EXPECT_EQ(answers_.at(task_number(3)).text, wanted);
  EXPECT_EQ(answers_.at(task_number(3)).end, env::JobEnd::kStop);
  EXPECT_EQ(answers_.at(task_number(3)).tokens, 12u);
  EXPECT_EQ(answers_.at(task_number(4)).text, wanted.substr(wanted.size() / 12 * 5));
  for (const std::uint8_t number : {std::uint8_t{1}, std::uint8_t{2}}) {
    EXPECT_EQ(answers_.at(task_number(number)).text, alone.at(task_number(number)).text);
  }
  texts.texts.push_back(std::string(300, 'z')), texts.resume.clear();
  begin(5, texts);
  run_until_ended({5});
  EXPECT_EQ(answers_.at(task_number(5)).end, env::JobEnd::kFailed);
  EXPECT_TRUE(answers_.at(task_number(5)).error.contains("text 12")) << answers_.at(task_number(5)).error;
}

TEST_F(EngineComputeTest, what_vectors_take_is_counted_while_they_are_made) {
  const auto memory = std::make_shared<engine::MemoryBudget>(64 * 768u);  // of 64 positions
  open({.memory = memory});
  env::JobSpec texts;
  texts.model = "random";
  texts.texts = {std::string(40, 'a')};
  begin(1, texts);
  texts.texts = {std::string(100, 'b')};
  begin(2, texts);
  run_until_ended({1, 2});
  EXPECT_EQ(answers_.at(task_number(1)).end, env::JobEnd::kStop);
  EXPECT_EQ(answers_.at(task_number(2)).end, env::JobEnd::kFailed);
  EXPECT_EQ(memory->taken(), 0u);
}

TEST_F(EngineComputeTest, no_job_waits_for_ever_while_others_of_its_model_go_on) {
  Gate gate(2);
  open({.workers = 2, .threads_per_worker = 1, .prefix_store = &gate});
  begin(8, long_job(8));
  begin(9, long_job(9));
  gate.wait_for_held();  // a worker each
  for (std::uint8_t number = 10; number <= 12; ++number) begin(number, long_job(number));
  std::set<TaskId> reported;
  std::size_t ended = 0;
  on_report_ = [&](const env::SliceReport& report) {
    if (ended == 0) reported.insert(report.task);
    ended += report.end != env::JobEnd::kNone ? 1 : 0;
  };
  gate.let_go(1);
  run_until_ended({10, 11, 12});
  gate.let_go(2);
  run_until_ended({8, 9});
  for (std::uint8_t number = 10; number <= 12; ++number)
    EXPECT_TRUE(reported.contains(task_number(number))) << int{number};
}

TEST_F(EngineComputeTest, a_newcomer_takes_one_step_in_the_midst_of_one_of_less_urgent_jobs_alone) {
  open({.workers = 1, .threads_per_worker = 1});
  const auto alone = run({1, 2, 5, 6});
  compute_.reset();
  Gate gate(1);
  open({.workers = 1, .threads_per_worker = 1, .prefix_store = &gate});
  answers_.clear();
  std::string order;
  on_report_ = [&](const env::SliceReport& report) { order += static_cast<char>('0' + report.task.bytes[0]); };
  again_ = false;
  begin(5, long_job(5));
  gate.wait_for_held();
  begin(6, job(6));  // less urgent: waits for the step
  begin(1, job(1));
  while (order.empty()) loop_.run_one();
  begin(2, job(2));  // the next newcomer, as the first one waits for the step now
  while (order.size() < 2) loop_.run_one();
  EXPECT_EQ(order, "12");
  gate.let_go(1);
  run_until_ended({1, 2, 5, 6});
  for (const std::uint8_t number : {std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{6}}) {
    EXPECT_EQ(answers_.at(task_number(number)).text, alone.at(task_number(number)).text);
  }
}

TEST_F(EngineComputeTest, who_comes_while_another_overtakes_does_so_after_it_if_it_is_more_urgent_than_those_who_wait) {
  Gate gate(2);
  open({.workers = 1, .threads_per_worker = 1, .prefix_store = &gate});
  std::string order;
  on_report_ = [&](const env::SliceReport& report) { order += static_cast<char>('0' + report.task.bytes[0]); };
  begin(9, long_job(9));
  gate.wait_for_asked(1);
  begin(6, long_job(6));
  gate.wait_for_held();
  begin(10, long_job(10)), begin(4, long_job(4));
  gate.let_go(2);
  while (order.size() < 2) loop_.run_one();
  EXPECT_EQ(order, "64");
  compute_->release(task_number(6));
  gate.let_go(1);
  run_until_ended({4, 9, 10});
}

TEST_F(EngineComputeTest, a_step_that_is_released_while_it_pauses_ends_and_so_does_everything) {
  Gate gate(2);
  open({.workers = 1, .threads_per_worker = 1, .prefix_store = &gate});
  begin(9, long_job(9));
  gate.wait_for_asked(1);
  begin(6, long_job(6));
  gate.wait_for_held();
  compute_->release(task_number(9));
  compute_->release(task_number(6));
  gate.let_go(1), gate.let_go(2);
  begin(4, job(4));
  run_until_ended({4});
}

TEST_F(EngineComputeTest, a_step_of_the_others_lies_between_two_beginnings) {
  Gate gate(1);
  open({.workers = 1, .threads_per_worker = 1, .prefix_store = &gate});
  begin(6, long_job(6));
  gate.wait_for_held();
  for (const std::uint8_t number : std::vector<std::uint8_t>{7, 8, 9}) {
    env::JobSpec endless = job(number);
    endless.prompt.assign(5000, 'x');
    begin(number, endless);
  }
  std::string order;
  on_report_ = [&](const env::SliceReport& report) {
    if (order.size() < 7) order += static_cast<char>('0' + report.task.bytes[0]);
  };
  gate.let_go(1);
  run_until_ended({6, 7, 8, 9});
  EXPECT_EQ(order, "6768696");
}

TEST_F(EngineComputeTest, what_a_step_recalls_is_bounded_for_all_in_it_together) {
  open({.workers = 1, .threads_per_worker = 1, .prefix_cache_bytes = 1 << 20, .recall_bytes_max = 1});
  const auto prompt = [&](std::uint8_t number) {
    env::JobSpec spec = long_job(number);
    spec.prompt.assign(100, static_cast<char>('a' + number));
    return spec;
  };
  on_report_ = [](const env::SliceReport& report) { EXPECT_FALSE(report.mixed) << "all of its time is the prompt's"; };
  for (const std::uint8_t number : std::vector<std::uint8_t>{1, 2}) {
    begin(number, prompt(number));
    run_until_ended({number});
    compute_->release(task_number(number));
  }
  answers_.clear();
  std::vector<std::pair<int, std::size_t>> recalled;
  std::map<TaskId, std::size_t> before;
  on_report_ = [&](const env::SliceReport& report) {
    if (std::exchange(before[report.task], report.cached) != report.cached) {
      EXPECT_TRUE(report.mixed) << "no rate of reading is learned from it";
      recalled.emplace_back(report.task.bytes[0], report.cached);
    }
  };
  begin(1, prompt(1));
  begin(2, prompt(2));
  run_until_ended({1, 2});
  const std::vector<std::pair<int, std::size_t>> one_block_a_step = {{1, 32}, {1, 64}, {1, 96},
                                                                     {2, 32}, {2, 64}, {2, 96}};
  EXPECT_EQ(recalled, one_block_a_step);
}

TEST_F(EngineComputeTest, a_slice_of_no_steps_ends_the_one_under_way_and_says_so_once) {
  open({});
  again_ = false;
  compute_->start(task_number(1), job(1));
  compute_->run(task_number(1), 1000, urgency(0));
  loop_.run_one();
  compute_->run(task_number(1), 0, urgency(0));
  Answer& answer = answers_[task_number(1)];
  while (answer.slices == 0) loop_.run_one();
  if (answer.end == env::JobEnd::kNone) {
    EXPECT_LT(answer.tokens, 11u);
    compute_->run(task_number(1), 0, urgency(0));  // rests already: nothing is said
    again_ = true;
    compute_->run(task_number(1), 1000, urgency(0));
    run_until_ended({1});
    EXPECT_EQ(answer.slices, 2u);
  }
  EXPECT_GT(answer.tokens, 0u);
}

TEST_F(EngineComputeTest, a_released_job_is_not_heard_of_again_and_the_others_go_on) {
  open({});
  const auto alone = run({3});
  answers_.clear();
  bool gone = false;
  on_report_ = [&](const env::SliceReport& report) {
    EXPECT_FALSE(gone && report.task == task_number(2));
    if (report.task == task_number(2)) {
      gone = true;
      compute_->release(task_number(2));
    }
  };
  for (const std::uint8_t number : std::vector<std::uint8_t>{2, 3}) {
    compute_->start(task_number(number), job(number));
    compute_->run(task_number(number), 4, urgency(number));
  }
  run_until_ended({3});
  EXPECT_EQ(answers_.at(task_number(3)).text, alone.at(task_number(3)).text);
}

TEST_F(EngineComputeTest, a_job_that_cannot_begin_fails_by_itself) {
  open({});
  env::JobSpec endless = job(1);
  endless.prompt.assign(5000, 'x');
  compute_->start(task_number(9), endless);
  compute_->run(task_number(9), 4, urgency(0));
  for (const std::uint8_t number : std::vector<std::uint8_t>{1, 2}) {
    compute_->start(task_number(number), job(number));
    compute_->run(task_number(number), 4, urgency(number));
  }
  run_until_ended({9, 1, 2});
  EXPECT_EQ(answers_.at(task_number(9)).end, env::JobEnd::kFailed);
  EXPECT_NE(answers_.at(task_number(9)).error.find("shorten the prompt"), std::string::npos);
  EXPECT_NE(answers_.at(task_number(1)).end, env::JobEnd::kFailed);
}

}  // namespace
}  // namespace sedge::platform
