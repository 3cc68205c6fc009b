// What a message costs between two robots: two processes of this program, each a node of one fleet through the C++
// library, on loopback. Measured from where a robot's program stands: publish() and the subscriber's callback.
//
//   latency      half of a ping-pong's round trip, one message under way at a time. Two clocks need not agree. Once
//   from
//                callback to callback, once from thread to thread, which is woken for each.
//   throughput   messages one way, with a window: at most so many are under way that the other process has not
//                acknowledged. Without one a publisher fills its link's queue (4 MiB) and is refused for a while again
//                and again: that would time our own queue, not delivery. Once from a thread (publish() puts it into a
//                queue that the loop empties) and once from the library's callbacks (they are on the loop).
//   memory       resident set of `sedge up` with no model and nobody to talk to.
// A message that is lost or comes twice makes the exit status 1; so a figure stands only beside a full count.
// Rejected: two nodes in one process (no second scheduler, no second socket), and a Unix pipe as a yardstick (it has
// neither identity nor repair).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/prctl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/json.h"
#include "base/result.h"
#include "process.h"
#include "sedge/sedge.h"

namespace sedge::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kMessageBytes = 64;
constexpr std::uint64_t kAckEvery = 1024;
constexpr std::uint64_t kWarmUp = 200;               // pings before the first that counts
constexpr std::uint64_t kRally = ~std::uint64_t{0};  // the run whose pings callbacks send each other
constexpr std::size_t kBulkBytes = 32'000;
constexpr auto kPatience = 10s;  // without any progress
constexpr auto kIdle = 3s;

struct Options {
  std::uint64_t rounds = 2000;
  std::uint64_t messages = 200'000;
  std::uint64_t window = 16'384;  // 64-byte messages on the topic below are 83 bytes each in a batch: 1.4 MB
  bool json = false;
  std::string peer_home;  // set in the other process
  std::string peer_seed;
};

// What every message says, padded to kMessageBytes. An answer's numbers are what its topic makes of them.
struct Words {
  std::uint64_t run = 0;
  std::uint64_t number = 0;  // of the message in its run; bench/ack: how many came
  std::uint64_t total = 0;   // of the run; bench/ack: how many came twice or more, each time counted
};

std::string encode(const Words& words) {
  std::string text(kMessageBytes, '.');
  std::memcpy(text.data(), &words, sizeof words);
  return text;
}

Words decode(std::string_view payload) {
  Words words;
  if (payload.size() == kMessageBytes) std::memcpy(&words, payload.data(), sizeof words);
  return words;
}

Status own(const robot::Status& status) {
  if (!status) return fail(static_cast<Code>(status.error().code), "{}", status.error().message);
  return {};
}

template <class T>
Result<T> own(robot::Result<T> result) {
  if (!result) return fail(static_cast<Code>(result.error().code), "{}", result.error().message);
  return *std::move(result);
}

// ---- the other process -------------------------------------------------------------------------------------------

// Counts a run. On the library's loop only.
struct Tally {
  std::uint64_t run = 0;
  std::vector<bool> seen;
  std::uint64_t came = 0;
  std::uint64_t again = 0;

  void count(const Words& words) {
    if (words.run != run) *this = {.run = words.run, .seen = std::vector<bool>(words.total), .came = 0, .again = 0};
    if (words.number >= seen.size() || seen[words.number]) {
      ++again;
    } else {
      seen[words.number] = true;
      ++came;
    }
  }
};

Status be_the_peer(const Options& options) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // whatever ends the parent ends this process too
  SEDGE_TRY(robot::Fleet fleet, own(robot::Fleet::open({.home = options.peer_home,
                                                        .listen = "127.0.0.1:0",
                                                        .seeds = {options.peer_seed},
                                                        .beacons = false,
                                                        .log = [](const auto& line) { fmt::print("{}\n", line); }})));
  Tally tally;
  const auto acknowledge = [&] {
    (void)fleet.publish("bench/ack", encode({.run = tally.run, .number = tally.came, .total = tally.again}));
  };
  std::uint64_t bulk = 0;
  SEDGE_TRY([[maybe_unused]] const auto bulks,
            own(fleet.subscribe("bench/bulk", [&](const robot::Message&) { ++bulk; })));
  SEDGE_TRY([[maybe_unused]] const auto ask, own(fleet.subscribe("bench/bulk/ask", [&](const robot::Message&) {
              (void)fleet.publish("bench/bulk/came", encode({.run = 0, .number = bulk, .total = 0}));
            })));
  // Urgent, as some pings are; of the others nothing else is under way.
  SEDGE_TRY([[maybe_unused]] const auto pings, own(fleet.subscribe("bench/ping", [&](const robot::Message& ping) {
              (void)fleet.publish("bench/pong", ping.payload, {.urgency = robot::Urgency::kUrgent});
            })));
  SEDGE_TRY([[maybe_unused]] const auto flood, own(fleet.subscribe("bench/flood", [&](const robot::Message& message) {
              tally.count(decode(message.payload));
              if (tally.came % kAckEvery == 0 || tally.came == tally.seen.size()) acknowledge();
            })));
  SEDGE_TRY([[maybe_unused]] const auto asked,
            own(fleet.subscribe("bench/tally", [&](const robot::Message&) { acknowledge(); })));
  for (;;) ::pause();  // its parent ends it
}

// ---- this process ------------------------------------------------------------------------------------------------

struct Latency {
  double p50_us = 0;
  double p99_us = 0;
};

struct Urgent {
  Latency latency;
  double bulk_mb_per_s = 0;  // beside it
};

struct Flood {
  double messages_per_s = 0;
  std::uint64_t came = 0;
  std::uint64_t again = 0;
};

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

class Meter {
 public:
  Meter(robot::Fleet& fleet, const Options& options) : fleet_(fleet), options_(options) {}

  Status start() {
    SEDGE_TRY([[maybe_unused]] const auto pongs,
              own(fleet_.subscribe("bench/pong", [this](const auto& message) { on_pong(decode(message.payload)); })));
    SEDGE_TRY([[maybe_unused]] const auto acks,
              own(fleet_.subscribe("bench/ack", [this](const auto& message) { on_ack(decode(message.payload)); })));
    SEDGE_TRY([[maybe_unused]] const auto bulks, own(fleet_.subscribe("bench/bulk/came", [this](const auto& message) {
                const std::lock_guard lock(mutex_);
                bulk_ = decode(message.payload).number;
                changed_.notify_one();
              })));
    // Heard by ourselves alone: what publishes from a callback needs a first one.
    SEDGE_TRY([[maybe_unused]] const auto kicks,
              own(fleet_.subscribe("bench/kick", [this](const auto&) { fill_window(); })));
    return {};
  }

  Result<Latency> ping_pong() {
    for (int tries = 0;; ++tries) {  // until the two have met
      if (ping(0, 100ms)) break;
      if (tries == 200) return fail(Code::kUnavailable, "the other process never answered");
    }
    std::vector<double> half_us;
    for (std::uint64_t number = 1; number <= kWarmUp + options_.rounds; ++number) {
      SEDGE_TRY(const Clock::duration round_trip, ping(number, kPatience));
      if (number > kWarmUp) half_us.push_back(seconds(round_trip) * 1e6 / 2);
    }
    std::ranges::sort(half_us);
    return Latency{half_us[half_us.size() / 2], half_us[half_us.size() * 99 / 100]};
  }

  // Each ping published by the callback that got the pong before: no thread is woken on the way.
  Result<Latency> ping_pong_in_callbacks(robot::Urgency urgency = robot::Urgency::kNormal) {
    {
      const std::lock_guard lock(mutex_);
      urgency_ = urgency;
      rallies_us_.clear();
      rallying_ = true;
    }
    SEDGE_CHECK(
        own(fleet_.publish("bench/ping", encode({.run = kRally, .number = 0, .total = 0}), {.urgency = urgency})));
    std::unique_lock lock(mutex_);
    const std::size_t wanted = kWarmUp + options_.rounds;
    while (rallying_) {
      const std::size_t before = rallies_us_.size();
      if (!changed_.wait_for(lock, kPatience, [&] { return !rallying_ || rallies_us_.size() != before; })) {
        return fail(Code::kDeadlineExceeded, "ping {} of {} was not answered", before, wanted);
      }
    }
    std::vector<double> half_us(rallies_us_.begin() + kWarmUp, rallies_us_.end());
    std::ranges::sort(half_us);
    return Latency{half_us[half_us.size() / 2], half_us[half_us.size() * 99 / 100]};
  }

  // Urgent pings while bulk messages fill the link as fast as it takes them.
  Result<Urgent> ping_pong_beside_bulk() {
    SEDGE_TRY(const std::uint64_t before, ask_bulk());
    std::atomic<bool> over = false;
    const auto begun = Clock::now();
    std::thread bulk([&] {
      const std::string message(kBulkBytes, '.');
      while (!over) {
        if (!fleet_.publish("bench/bulk", message, {.urgency = robot::Urgency::kBulk}))
          std::this_thread::sleep_for(100us);
      }
    });
    const Result<Latency> latency = ping_pong_in_callbacks(robot::Urgency::kUrgent);
    over = true;
    bulk.join();
    const double took = seconds(Clock::now() - begun);
    if (!latency) return std::unexpected(latency.error());
    SEDGE_TRY(const std::uint64_t after, ask_bulk());
    return Urgent{*latency, static_cast<double>(after - before) * kBulkBytes / took / 1e6};
  }

  Result<Flood> flood(bool from_callbacks) {
    {
      const std::lock_guard lock(mutex_);
      ++run_;
      acked_ = {};
      refused_ = {};
    }
    sent_ = 0;
    from_callbacks_ = from_callbacks;
    const auto begun = Clock::now();
    if (from_callbacks) {
      SEDGE_CHECK(own(fleet_.publish("bench/kick", "")));
      SEDGE_CHECK(await_acked(options_.messages));
    } else {
      for (; sent_ < options_.messages; ++sent_) {
        if (sent_ >= options_.window) SEDGE_CHECK(await_acked(sent_ - options_.window + 1));
        SEDGE_CHECK(publish(sent_));
      }
      SEDGE_CHECK(await_acked(options_.messages));
    }
    const double took = seconds(acked_at_ - begun);
    std::this_thread::sleep_for(500ms);  // a copy that lags would come now
    SEDGE_CHECK(own(fleet_.publish("bench/tally", "")));
    std::this_thread::sleep_for(500ms);
    const std::lock_guard lock(mutex_);
    if (acked_.total != 0) return fail(Code::kDataLoss, "{} messages came more than once", acked_.total);
    return Flood{static_cast<double>(options_.messages) / took, acked_.number, acked_.total};
  }

 private:
  Result<Clock::duration> ping(std::uint64_t number, Clock::duration patience) {
    const auto begun = Clock::now();
    SEDGE_CHECK(own(fleet_.publish("bench/ping", encode({.run = 1, .number = number, .total = 0}))));
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, patience, [&] { return pong_.run == 1 && pong_.number == number; })) {
      return fail(Code::kDeadlineExceeded, "ping {} was not answered", number);
    }
    return pong_at_ - begun;
  }

  void on_pong(const Words& words) {
    const std::lock_guard lock(mutex_);
    if (words.run == kRally) {
      if (rallying_) rally(words.number);
      return;
    }
    pong_ = words;
    pong_at_ = Clock::now();
    changed_.notify_one();
  }

  void rally(std::uint64_t number) {
    const auto at = Clock::now();
    if (number > 0) rallies_us_.push_back(seconds(at - pinged_at_) * 1e6 / 2);
    rallying_ = rallies_us_.size() < kWarmUp + options_.rounds;
    if (!rallying_) return changed_.notify_one();
    pinged_at_ = at;
    (void)fleet_.publish("bench/ping", encode({.run = kRally, .number = number + 1, .total = 0}),
                         {.urgency = urgency_});
  }

  // How many bulk messages the other process has had.
  Result<std::uint64_t> ask_bulk() {
    {
      const std::lock_guard lock(mutex_);
      bulk_.reset();
    }
    SEDGE_CHECK(own(fleet_.publish("bench/bulk/ask", "")));
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [&] { return bulk_.has_value(); })) {
      return fail(Code::kDeadlineExceeded, "nobody said how much of the bulk came");
    }
    return *bulk_;
  }

  // A node that is full says so; then it is asked again, for as long as anything may move.
  Status publish(std::uint64_t number) {
    const std::string message = encode({.run = run_, .number = number, .total = options_.messages});
    for (const auto begun = Clock::now();; std::this_thread::sleep_for(1ms)) {
      Status sent = own(fleet_.publish("bench/flood", message));
      if (sent || sent.error().code != Code::kResourceExhausted || Clock::now() - begun > kPatience) return sent;
    }
  }

  // On the loop.
  void fill_window() {
    for (; sent_ < std::min(options_.messages, acked_.number + options_.window); ++sent_) {
      const robot::Status sent =
          fleet_.publish("bench/flood", encode({.run = run_, .number = sent_, .total = options_.messages}));
      if (sent) continue;
      if (sent.error().code == robot::Code::kResourceExhausted) return;  // the next acknowledgement goes on
      const std::lock_guard lock(mutex_);
      refused_ = own(sent);
      return changed_.notify_one();
    }
  }

  void on_ack(const Words& words) {
    {
      const std::lock_guard lock(mutex_);
      if (words.run != run_ || words.number < acked_.number) return;
      if (words.number > acked_.number) acked_at_ = Clock::now();
      acked_ = words;
      changed_.notify_one();
    }
    if (from_callbacks_) fill_window();
  }

  // Errors: DeadlineExceeded when nothing moves; it says how far it came and what became of the link.
  Status await_acked(std::uint64_t number) {
    std::unique_lock lock(mutex_);
    while (acked_.number < number) {
      const std::uint64_t before = acked_.number;
      if (changed_.wait_for(lock, kPatience, [&] { return acked_.number != before || !refused_; })) {
        SEDGE_CHECK(refused_);
        continue;
      }
      lock.unlock();
      const auto members = fleet_.members();
      const bool linked = members && std::ranges::any_of(*members, &robot::Member::linked);
      return fail(Code::kDeadlineExceeded,
                  "from {}: {} of {} messages were acknowledged, then nothing for {} s; the link is {}",
                  from_callbacks_ ? "callbacks" : "a thread", before, options_.messages, kPatience.count(),
                  linked ? "up" : "down");
    }
    return {};
  }

  robot::Fleet& fleet_;
  const Options& options_;
  std::mutex mutex_;  // of the next eleven
  std::condition_variable changed_;
  Words pong_;
  Clock::time_point pong_at_;
  bool rallying_ = false;
  robot::Urgency urgency_ = robot::Urgency::kNormal;
  std::optional<std::uint64_t> bulk_;
  Clock::time_point pinged_at_;
  std::vector<double> rallies_us_;
  Words acked_;
  Clock::time_point acked_at_;
  Status refused_;
  std::uint64_t run_ = 0;
  bool from_callbacks_ = false;  // set between runs; then who publishes, this thread or the loop, owns sent_
  std::uint64_t sent_ = 0;
};

// A folder of its own, gone at the end.
struct Scratch {
  Scratch() {
    std::string name = (fs::temp_directory_path() / "sedge-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) path = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }
  fs::path path;
};

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

Result<std::uint64_t> resident_kib(const std::string& pid) {
  const std::string status = text_of(fs::path("/proc") / pid / "status");
  const std::size_t at = status.find("VmRSS:");
  if (at == std::string::npos) return fail(Code::kUnavailable, "process {} has no VmRSS: it has ended", pid);
  return std::strtoull(status.c_str() + at + 6, nullptr, 10);
}

// Makes two homes of one fleet with the commands that a person would use; says what the idle node between them takes.
Result<std::uint64_t> make_fleet(const std::string& sedge, const fs::path& folder) {
  const std::string one = folder / "one";
  const std::string two = folder / "two";
  const fs::path log = folder / "up.log";
  SEDGE_TRY([[maybe_unused]] const std::string created,
            demo::Process::output_of({sedge, "fleet", "create", "--home", one, "--name", "one"}));
  // The shell tells its process id, then becomes the node.
  SEDGE_TRY(demo::Process up,
            demo::Process::start({"/bin/sh", "-c", "echo $$ && exec \"$@\"", "sh", sedge, "up", "--home", one,
                                  "--listen", "127.0.0.1:0", "--http", "off", "--no-beacon"},
                                 log));
  std::this_thread::sleep_for(kIdle);
  const std::string said = text_of(log);
  const auto resident = resident_kib(said.substr(0, said.find('\n')));
  if (!resident) return fail(Code::kUnavailable, "the idle node did not start: {}", said);
  SEDGE_TRY(const std::string invitation,
            demo::Process::output_of({sedge, "fleet", "invite", "--home", one, "--name", "two"}));
  SEDGE_TRY([[maybe_unused]] const std::string joined,
            demo::Process::output_of({sedge, "fleet", "join", "--home", two, invitation}));
  up.signal(SIGTERM);
  up.wait();
  return *resident;
}

void report(const Options& options, std::uint64_t idle_kib, const Latency& latency, const Latency& threads,
            const Urgent& urgent, const Flood& thread, const Flood& callbacks) {
  if (options.json) {
    fmt::print("{}\n", json::write(json::Object{{"message_bytes", kMessageBytes},
                                                {"rounds", options.rounds},
                                                {"latency_p50_us", latency.p50_us},
                                                {"latency_p99_us", latency.p99_us},
                                                {"thread_latency_p50_us", threads.p50_us},
                                                {"thread_latency_p99_us", threads.p99_us},
                                                {"urgent_p50_us", urgent.latency.p50_us},
                                                {"urgent_p99_us", urgent.latency.p99_us},
                                                {"bulk_mb_per_s", urgent.bulk_mb_per_s},
                                                {"messages", options.messages},
                                                {"window", options.window},
                                                {"thread_messages_per_s", thread.messages_per_s},
                                                {"callback_messages_per_s", callbacks.messages_per_s},
                                                {"lost", options.messages * 2 - thread.came - callbacks.came},
                                                {"duplicates", thread.again + callbacks.again},
                                                {"idle_rss_kib", idle_kib}}));
    return;
  }
  fmt::print("two processes on loopback, reliable messages of {} bytes\n", kMessageBytes);
  for (const auto& [between, each] : {std::pair("callbacks", latency), std::pair("threads  ", threads)}) {
    fmt::print("  latency between {}  p50 {:6.0f} us   p99 {:6.0f} us   ({} round trips, halved)\n", between,
               each.p50_us, each.p99_us, options.rounds);
  }
  fmt::print("  urgent beside bulk         p50 {:6.0f} us   p99 {:6.0f} us   (bulk: {:.0f} MB/s)\n",
             urgent.latency.p50_us, urgent.latency.p99_us, urgent.bulk_mb_per_s);
  for (const auto& [from, flood] : {std::pair("a thread   ", thread), std::pair("callbacks  ", callbacks)}) {
    fmt::print("  one way from {}{:9.0f} messages/s       ({} of {} came, {} twice, window {})\n", from,
               flood.messages_per_s, flood.came, options.messages, flood.again, options.window);
  }
  fmt::print("  an idle node's memory  {:9.1f} MiB resident     ({} s after start, no model, no HTTP)\n",
             static_cast<double>(idle_kib) / 1024, kIdle.count());
}

Status measure(const Options& options, const fs::path& folder) {
  const fs::path self = fs::read_symlink("/proc/self/exe");
  SEDGE_TRY(const std::uint64_t idle_kib, make_fleet(self.parent_path() / "sedge", folder));
  std::ofstream log(folder / "one.log");
  SEDGE_TRY(robot::Fleet fleet,
            own(robot::Fleet::open(
                {.home = folder / "one", .listen = "127.0.0.1:0", .beacons = false, .log = [&](const auto& line) {
                   log << line << std::endl;
                 }})));
  SEDGE_TRY(
      demo::Process peer,
      demo::Process::start({self, "--peer-home", folder / "two", "--peer-seed", fleet.address()}, folder / "two.log"));
  Meter meter(fleet, options);
  const Status done = [&]() -> Status {
    SEDGE_CHECK(meter.start());
    SEDGE_TRY(const Latency threads, meter.ping_pong());
    SEDGE_TRY(const Latency latency, meter.ping_pong_in_callbacks());
    SEDGE_TRY(const Flood thread, meter.flood(false));
    SEDGE_TRY(const Flood callbacks, meter.flood(true));
    SEDGE_TRY(const Urgent urgent, meter.ping_pong_beside_bulk());
    report(options, idle_kib, latency, threads, urgent, thread, callbacks);
    return {};
  }();
  (void)fleet.close();  // before what the callbacks remember goes
  return done;
}

}  // namespace

int run(const Options& options) {
  if (!options.peer_home.empty()) {
    const Status ended = be_the_peer(options);
    fmt::print(stderr, "sedge-bench, the other process: {}\n", ended.error().message);
    return 1;
  }
  const Scratch scratch;
  if (scratch.path.empty()) return fmt::print(stderr, "sedge-bench: cannot make a temporary folder\n"), 1;
  const Status done = measure(options, scratch.path);
  if (done) return 0;
  fmt::print(stderr, "sedge-bench: {}\n", done.error().message);
  for (const char* log : {"one.log", "two.log"}) fmt::print(stderr, "--- {}\n{}", log, text_of(scratch.path / log));
  return 1;
}

}  // namespace sedge::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Messages between two processes on this machine: latency, throughput, memory. Exit status 1 when one "
      "was lost or came twice.");
  sedge::bench::Options options;
  app.add_option("--rounds", options.rounds, "ping-pongs")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  app.add_option("--messages", options.messages, "one way")->check(CLI::Range(1, 100'000'000))->capture_default_str();
  app.add_option("--window", options.window, "messages under way at most; the acknowledgements come every 1024")
      ->check(CLI::Range(2048, 100'000'000))
      ->capture_default_str();
  app.add_flag("--json", options.json, "one JSON object");
  app.add_option("--peer-home", options.peer_home)->group("");
  app.add_option("--peer-seed", options.peer_seed)->group("");
  app.footer("Example:\n  sedge-bench --messages 1000000");
  CLI11_PARSE(app, argc, argv);
  return sedge::bench::run(options);
}
