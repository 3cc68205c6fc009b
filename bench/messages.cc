// What a message costs between two robots: two processes of this program, each a node of one fleet through the C++
// library, on loopback. Measured from where a robot's program stands: publish() and the subscriber's callback. What is
// measured, and how, is in measure.h. Besides:
//
//   urgent       the same ping-pong between callbacks, urgent, while bulk messages fill the link.
//   window       without one a publisher fills its link's queue (4 MiB) and is refused, again and again: that would be
//                timed, not delivery.
//   memory       resident set of `sedge up` with no model and nobody to talk to.
//   frames       with --frames, and then nothing else: what frames.h says.
//   relayed      with --relayed a third process stands between the two, which have no link of their own: each message
//                is verified and passed on by it. One of the two may not vote, since voters are always linked.
// A message that is lost or comes twice makes the exit status 1.
// Rejected: two nodes in one process (no second scheduler, no second socket), and a Unix pipe as a yardstick (it has
// neither identity nor repair).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <sys/prctl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/json.h"
#include "base/result.h"
#include "frames.h"
#include "measure.h"
#include "process.h"
#include "sedge/sedge.h"

namespace sedge::bench {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::size_t kBulkBytes = 32'000;
constexpr auto kPatience = 10s;
constexpr auto kIdle = 3s;
constexpr auto kParting = 60s;  // links that nobody wants go after 10 s, one by one
constexpr std::string_view kAddress = "address ";

struct Options {
  Load load;  // 64-byte messages on topics as short as ours are 81 bytes each in a batch: a window is 1.3 MB
  bool json = false;
  bool relayed = false;
  bool frames = false;
  std::string peer_home;  // set in the other processes
  std::string peer_seed;
  bool between = false;  // it only passes on

  // One gateway holds all: the node between, whatever this machine is.
  robot::Options node(std::string home) const {
    robot::Options node{.home = std::move(home), .listen = "127.0.0.1:0", .beacons = false};
    if (relayed) node.overlay = "star:1";
    node.gateway_rank = between ? 15 : 0;
    return node;
  }
};

Status own(const robot::Status& status) {
  if (!status) return fail(static_cast<Code>(status.error().code), "{}", status.error().message);
  return {};
}

template <class T>
Result<T> own(robot::Result<T> result) {
  if (!result) return fail(static_cast<Code>(result.error().code), "{}", result.error().message);
  return *std::move(result);
}

class FleetChannel : public Channel {
 public:
  FleetChannel(robot::Fleet& fleet, robot::Urgency urgency) : fleet_(fleet), urgency_(urgency) {}

  Status start(Side side, Receive receive) override {
    to_ = topic_to(side == Side::kNear ? Side::kFar : Side::kNear);
    SEDGE_TRY([[maybe_unused]] const auto id,
              own(fleet_.subscribe(topic_to(side), [receive = std::move(receive)](const robot::Message& message) {
                receive(message.payload);
              })));
    return {};
  }

  Status send(std::string_view payload) override {
    return own(fleet_.publish(to_, payload, {.urgency = urgency_.load()}));
  }
  Status stream(std::string_view payload) override { return own(fleet_.publish(to_, payload)); }
  void set_urgency(robot::Urgency urgency) { urgency_ = urgency; }

 private:
  robot::Fleet& fleet_;
  std::atomic<robot::Urgency> urgency_;  // of send()
  std::string_view to_;
};

Status be_the_peer(const Options& options) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // whatever ends the parent ends this process too
  robot::Options node = options.node(options.peer_home);
  node.seeds = {options.peer_seed};
  node.log = [](const auto& line) { fmt::print("{}\n", line); };
  SEDGE_TRY(robot::Fleet fleet, own(robot::Fleet::open(std::move(node))));
  fmt::print("{}{}\n", kAddress, fleet.address());
  std::fflush(stdout);
  while (options.between) ::pause();
  std::uint64_t bulk = 0;
  SEDGE_TRY([[maybe_unused]] const auto bulks,
            own(fleet.subscribe("bench/bulk", [&](const robot::Message&) { ++bulk; })));
  SEDGE_TRY([[maybe_unused]] const auto ask, own(fleet.subscribe("bench/bulk/ask", [&](const robot::Message&) {
              (void)fleet.publish("bench/bulk/came", std::to_string(bulk));
            })));
  // Urgent, as some pings are; beside the others' answers nothing else is under way.
  FleetChannel channel(fleet, robot::Urgency::kUrgent);
  Echo echo(channel);
  SEDGE_CHECK(echo.start());
  FrameSink frames(fleet);
  SEDGE_CHECK(frames.start());
  for (;;) ::pause();  // its parent ends it
}

struct Urgent {
  Latency latency;
  double bulk_mb_per_s = 0;  // beside it
};

// Fills the link with messages of the lowest but one urgency, and learns how many came.
class Bulk {
 public:
  explicit Bulk(robot::Fleet& fleet) : fleet_(fleet) {}

  Status start() {
    SEDGE_TRY([[maybe_unused]] const auto id, own(fleet_.subscribe("bench/bulk/came", [this](const auto& message) {
                const std::lock_guard lock(mutex_);
                came_ = std::strtoull(std::string(message.payload).c_str(), nullptr, 10);
                changed_.notify_one();
              })));
    return {};
  }

  Result<Urgent> beside(Meter& meter, FleetChannel& channel) {
    SEDGE_TRY(const std::uint64_t before, ask());
    std::atomic<bool> over = false;
    const auto begun = Clock::now();
    std::thread publisher([&] {
      const std::string message(kBulkBytes, '.');
      while (!over) {
        if (!fleet_.publish("bench/bulk", message, {.urgency = robot::Urgency::kBulk}))
          std::this_thread::sleep_for(100us);
      }
    });
    channel.set_urgency(robot::Urgency::kUrgent);
    const Result<Latency> latency = meter.ping_pong(From::kCallbacks);
    channel.set_urgency(robot::Urgency::kNormal);
    over = true;
    publisher.join();
    const double took = std::chrono::duration<double>(Clock::now() - begun).count();
    if (!latency) return std::unexpected(latency.error());
    SEDGE_TRY(const std::uint64_t after, ask());
    return Urgent{*latency, static_cast<double>(after - before) * kBulkBytes / took / 1e6};
  }

 private:
  // How many the other process has had.
  Result<std::uint64_t> ask() {
    {
      const std::lock_guard lock(mutex_);
      came_.reset();
    }
    SEDGE_CHECK(own(fleet_.publish("bench/bulk/ask", "")));
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [&] { return came_.has_value(); })) {
      return fail(Code::kDeadlineExceeded, "nobody said how much of the bulk came");
    }
    return *came_;
  }

  robot::Fleet& fleet_;
  std::mutex mutex_;  // of the next two
  std::condition_variable changed_;
  std::optional<std::uint64_t> came_;
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

// Makes homes of one fleet with the commands that a person would use; says what the idle node that invites takes.
Result<std::uint64_t> make_fleet(const std::string& sedge, const fs::path& folder, bool relayed) {
  const std::string one = folder / "one";
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
  std::vector<std::string> names{"two"};
  if (relayed) names.emplace_back("between");  // else the two would not be all there are, and their messages not direct
  for (const std::string& name : names) {
    std::vector<std::string> invite{sedge, "fleet", "invite", "--home", one, "--name", name};
    if (relayed && name == "two") invite.insert(invite.end(), {"--grant", "pub:bench/#", "--grant", "sub:bench/#"});
    SEDGE_TRY(const std::string invitation, demo::Process::output_of(invite));
    SEDGE_TRY([[maybe_unused]] const std::string joined,
              demo::Process::output_of({sedge, "fleet", "join", "--home", folder / name, invitation}));
  }
  up.signal(SIGTERM);
  up.wait();
  return *resident;
}

void report(const Options& options, std::uint64_t idle_kib, const Figures& figures, const Urgent& urgent) {
  const auto& [threads, latency, thread, callbacks] = figures;
  const Load& load = options.load;
  if (options.json) {
    json::Object object = json_of(load, figures);
    object["urgent_p50_us"] = urgent.latency.p50_us;
    object["urgent_p99_us"] = urgent.latency.p99_us;
    object["bulk_mb_per_s"] = urgent.bulk_mb_per_s;
    object["idle_rss_kib"] = idle_kib;
    object["relayed"] = options.relayed;
    fmt::print("{}\n", json::write(object));
    return;
  }
  fmt::print("two processes on loopback{}, reliable messages of {} bytes\n",
             options.relayed ? ", a third between them" : "", kMessageBytes);
  for (const auto& [between, each] : {std::pair("callbacks", latency), std::pair("threads  ", threads)}) {
    fmt::print("  latency between {}  p50 {:6.0f} us   p99 {:6.0f} us   ({} round trips, halved)\n", between,
               each.p50_us, each.p99_us, load.rounds);
  }
  fmt::print("  urgent beside bulk         p50 {:6.0f} us   p99 {:6.0f} us   (bulk: {:.0f} MB/s)\n",
             urgent.latency.p50_us, urgent.latency.p99_us, urgent.bulk_mb_per_s);
  for (const auto& [from, flood] : {std::pair("a thread   ", thread), std::pair("callbacks  ", callbacks)}) {
    fmt::print("  one way from {}{:9.0f} messages/s       ({} of {} came, {} twice, window {})\n", from,
               flood.messages_per_s, flood.came, load.messages, flood.again, load.window);
  }
  fmt::print("  an idle node's memory  {:9.1f} MiB resident     ({} s after start, no model, no HTTP)\n",
             static_cast<double>(idle_kib) / 1024, kIdle.count());
}

void report(const Options& options, const FrameFigures& figures) {
  for (const auto& [how, each] : {std::pair("lent", figures.lent), std::pair("cut", figures.cut)}) {
    if (options.json) {
      fmt::print("{}\n", json::write(json::Object{{"frame_bytes", figures.bytes},
                                                  {"how", how},
                                                  {"latency_p50_us", each.latency.p50_us},
                                                  {"latency_p99_us", each.latency.p99_us},
                                                  {"gb_per_s", each.gb_per_s}}));
    } else {
      fmt::print("  frames of {:7} bytes, {:4}   p50 {:6.0f} us   p99 {:6.0f} us   {:5.2f} GB/s\n", figures.bytes, how,
                 each.latency.p50_us, each.latency.p99_us, each.gb_per_s);
    }
  }
}

Status measure_frames(const Options& options, FrameSource& source) {
  SEDGE_CHECK(source.start());
  for (const auto& [bytes, rounds] : {std::pair{1'000'000, 400}, std::pair{8'000'000, 100}}) {
    SEDGE_TRY(const FrameFigures figures,
              source.measure(static_cast<std::size_t>(bytes), static_cast<std::uint64_t>(rounds)));
    report(options, figures);
  }
  return {};
}

// A figure stands only beside a full count.
Result<Flood> flood_all(Meter& meter, From from, robot::Fleet& fleet) {
  SEDGE_TRY(const Flood flood, meter.flood(from));
  if (flood.again != 0) return fail(Code::kDataLoss, "{} messages came more than once", flood.again);
  if (flood.messages_per_s > 0) return flood;
  const auto members = fleet.members();
  const bool linked = members && std::ranges::any_of(*members, &robot::Member::linked);
  return fail(Code::kDataLoss, "from {}: of {} messages sent {} came; the link is {}",
              from == From::kThread ? "a thread" : "callbacks", flood.sent, flood.came, linked ? "up" : "down");
}

// Where a process of ours listens, as its log says once it does.
Result<std::string> address_in(const fs::path& log) {
  const auto until = Clock::now() + kPatience;
  do {
    const std::string said = text_of(log);
    const std::size_t at = said.find(kAddress);
    const std::size_t end = said.find('\n', at);
    if (at != std::string::npos && end != std::string::npos) {
      return said.substr(at + kAddress.size(), end - at - kAddress.size());
    }
    std::this_thread::sleep_for(10ms);
  } while (Clock::now() < until);
  return fail(Code::kDeadlineExceeded, "{} does not say where its node listens", log.string());
}

// Until the one link is to the node between. Errors: DeadlineExceeded.
Status await_relay(robot::Fleet& fleet) {
  const auto until = Clock::now() + kParting;
  do {
    const auto members = fleet.members();
    const auto linked = [&](std::string_view name, bool whether) {
      return members && std::ranges::any_of(*members, [&](const robot::Member& member) {
               return member.name == name && member.linked == whether;
             });
    };
    if (linked("between", true) && linked("two", false)) return {};
    std::this_thread::sleep_for(50ms);
  } while (Clock::now() < until);
  return fail(Code::kDeadlineExceeded, "the two are not linked by the third alone");
}

Status measure(const Options& options, const fs::path& folder) {
  const fs::path self = fs::read_symlink("/proc/self/exe");
  SEDGE_TRY(const std::uint64_t idle_kib, make_fleet(self.parent_path() / "sedge", folder, options.relayed));
  std::ofstream log(folder / "one.log");
  robot::Options node = options.node(folder / "one");
  node.log = [&](const auto& line) { log << line << std::endl; };
  SEDGE_TRY(robot::Fleet fleet, own(robot::Fleet::open(std::move(node))));
  const auto start = [&](const std::string& name, const std::string& seed, std::vector<std::string> more) {
    more.insert(more.begin(), {self, "--peer-home", folder / name, "--peer-seed", seed});
    if (options.relayed) more.emplace_back("--relayed");
    return demo::Process::start(more, folder / (name + ".log"));
  };
  std::string seed = fleet.address();
  std::optional<demo::Process> between;
  if (options.relayed) {
    SEDGE_TRY(between, start("between", seed, {"--between"}));
    SEDGE_TRY(seed, address_in(folder / "between.log"));
  }
  SEDGE_TRY(demo::Process peer, start("two", seed, {}));
  FleetChannel channel(fleet, robot::Urgency::kNormal);
  Bulk bulk(fleet);
  Meter meter(channel, options.load);
  FrameSource frames(fleet);
  const Status done = [&]() -> Status {
    SEDGE_CHECK(bulk.start());
    SEDGE_CHECK(meter.start());
    SEDGE_CHECK(meter.meet());
    if (options.relayed) SEDGE_CHECK(await_relay(fleet));
    if (options.frames) return measure_frames(options, frames);
    Figures figures;
    SEDGE_TRY(figures.thread_latency, meter.ping_pong(From::kThread));
    SEDGE_TRY(figures.latency, meter.ping_pong(From::kCallbacks));
    SEDGE_TRY(figures.thread, flood_all(meter, From::kThread, fleet));
    SEDGE_TRY(figures.callbacks, flood_all(meter, From::kCallbacks, fleet));
    SEDGE_TRY(const Urgent urgent, bulk.beside(meter, channel));
    if (options.relayed) SEDGE_CHECK(await_relay(fleet));  // it still is
    report(options, idle_kib, figures, urgent);
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
  for (const char* log : {"one.log", "between.log", "two.log"})
    fmt::print(stderr, "--- {}\n{}", log, text_of(scratch.path / log));
  return 1;
}

}  // namespace sedge::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Messages between two processes on this machine: latency, throughput, memory. Exit status 1 when one "
      "was lost or came twice.");
  sedge::bench::Options options;
  app.add_option("--rounds", options.load.rounds, "ping-pongs")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  app.add_option("--messages", options.load.messages, "one way")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  app.add_option("--window", options.load.window, "messages under way at most; the acknowledgements come every 1024")
      ->check(CLI::Range(2048, 100'000'000))
      ->capture_default_str();
  app.add_flag("--json", options.json, "one JSON object, of frames one a line");
  app.add_flag("--frames", options.frames,
               "only frames of 1 and 8 MB (400 and 100 rounds), lent and cut into messages");
  app.add_flag("--relayed", options.relayed, "the two have no link: a third process passes everything on");
  app.add_option("--peer-home", options.peer_home)->group("");
  app.add_flag("--between", options.between)->group("");
  app.add_option("--peer-seed", options.peer_seed)->group("");
  app.footer("Example:\n  sedge-bench --messages 1000000");
  CLI11_PARSE(app, argc, argv);
  return sedge::bench::run(options);
}
