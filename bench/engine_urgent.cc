#include "engine_urgent.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "engine/prefix_cache.h"
#include "engine_sharing.h"
#include "kernels/kernels.h"
#include "platform/engine_compute.h"

namespace sedge::bench {
namespace {

using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

// Remembers nothing. Each step asks it for the beginning of a prompt before its pass: so it sees when the first step of
// an urgent text begins, which does not say one word again and again.
class Witness final : public engine::BlockStore {
 public:
  engine::BlockValues load(const std::string&, std::span<const std::int32_t> tokens, std::size_t) override {
    const auto later = tokens.last(tokens.size() / 2), earlier = tokens.subspan(later.data() - tokens.data() - 2);
    if (!std::ranges::equal(later, earlier.first(later.size())) && asked_.load() == Clock::time_point{}) {
      asked_ = Clock::now();
    }
    return nullptr;
  }
  void save(const std::string&, std::span<const std::int32_t>, engine::BlockValues) override {}
  // When it first did, since forget().
  Clock::time_point asked() const { return asked_; }
  void forget() { asked_ = Clock::time_point{}; }

 private:
  std::atomic<Clock::time_point> asked_{};
};

// A node's event loop, as far as its workers see it.
class Loop {
 public:
  void post(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
    wake_.notify_one();
  }
  void run_until(Clock::time_point end, const std::function<bool()>& done) {
    while (!done()) {
      std::unique_lock lock(mutex_);
      if (!wake_.wait_until(lock, end, [this] { return !queue_.empty(); })) return;
      const auto work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      work();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
};

class Measurement {
 public:
  Measurement(const UrgentOptions& options, const std::string& model)
      : options_(options),
        model_(model),
        compute_(
            {.model = options.model, .workers = 1, .threads_per_worker = options.threads, .prefix_store = &witness_},
            [this](std::function<void()> work) { loop_.post(std::move(work)); },
            [this](const env::SliceReport& report) { heard(report); }) {}

  Result<json::Object> run(const std::filesystem::path& path) {
    SEDGE_CHECK(compute_.add_model(path));
    Prng prng(1);
    json::Object out{{"isa", kernels::active_kernels().isa}, {"threads", options_.threads}};
    for (const bool beside : {false, true}) {
      std::vector<double> starts, answers;
      if (beside) read_on();
      for (std::size_t i = 0; i < options_.texts && !failed_; ++i) {
        loop_.run_until(Clock::now() + std::chrono::milliseconds(30 + prng.below(100)), [this] { return failed_; });
        const Clock::time_point begin = Clock::now();
        ask(prng);
        loop_.run_until(Clock::time_point::max(), [this] { return answered_ || failed_; });
        answers.push_back(ms_between(begin, Clock::now()));
        starts.push_back(ms_between(begin, witness_.asked()));
      }
      const std::string prefix = beside ? "beside_" : "alone_";
      for (const auto& [name, values] : {std::pair("start_ms", &starts), std::pair("answer_ms", &answers)}) {
        out[prefix + name + "_p50"] = percentile(*values, 0.5);
        out[prefix + name + "_p99"] = percentile(*values, 0.99);
      }
    }
    if (failed_) return fail(Code::kInternal, "a text failed: {}", error_);
    out["beside"] = prompt_tokens_;
    out["prompts_read"] = prompts_read_;
    return out;
  }

 private:
  static constexpr std::uint8_t kReader = 1, kUrgent = 2;
  static TaskId task(std::uint8_t number) {
    TaskId id;
    id.bytes[0] = number;
    return id;
  }

  void begin(std::uint8_t number, std::string prompt) {
    env::JobSpec spec;
    spec.model = model_;
    spec.prompt = std::move(prompt);
    spec.tokens_max = spec.tokens_min = 1;
    compute_.start(task(number), std::move(spec));
    compute_.run(task(number), 1 << 20, {.deadline = number == kUrgent ? Instant{} : kNever});
  }

  void read_on() {
    std::string prompt;
    for (std::size_t i = 0; i < options_.beside; ++i) prompt += " a";
    begin(kReader, std::move(prompt));
  }

  void ask(Prng& prng) {
    std::string prompt;
    for (int i = 0; i < 40; ++i) prompt += " " + std::string(1, static_cast<char>('a' + prng.below(26)));
    answered_ = false;
    witness_.forget();
    begin(kUrgent, std::move(prompt));
  }

  void heard(const env::SliceReport& report) {
    if (report.task == task(kReader)) prompt_tokens_ = report.prompt_tokens;
    if (report.end == env::JobEnd::kNone) return;
    if (report.end == env::JobEnd::kFailed) failed_ = true, error_ = report.error.message;
    compute_.release(report.task);
    if (report.task == task(kUrgent)) {
      answered_ = true;
    } else if (!failed_) {
      ++prompts_read_;
      read_on();
    }
  }

  UrgentOptions options_;
  std::string model_, error_;
  bool answered_ = false, failed_ = false;
  std::size_t prompts_read_ = 0, prompt_tokens_ = 0;
  Witness witness_;
  Loop loop_;
  platform::EngineCompute compute_;
};

}  // namespace

Result<json::Object> measure_urgent(const std::filesystem::path& path, const UrgentOptions& options) {
  return Measurement(options, path.stem().string()).run(path);
}

}  // namespace sedge::bench
