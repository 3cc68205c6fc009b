// The demo: five real node processes on this machine become a fleet, obey forty sentences, and lose one of them to
// SIGKILL in the middle of an answer. Everything is measured from outside, through the same control socket that the
// command line uses; the summary and build/demo.json hold what was measured, and the exit status is 0 only if
// nothing was lost.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "apps/control_client.h"
#include "base/json.h"
#include "base/prng.h"
#include "process.h"

namespace sedge::demo {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kNodes = 5;
constexpr double kDeadlineMs = 500;
constexpr int kLongTokens = 400;  // of the interrupted answer
constexpr int kKillAtToken = 20;

struct Member {
  std::string name;
  fs::path home;
  std::string address;
  bool has_model = true;
  Process process;
};

struct Sentence {
  std::string text;
  json::Value action;
};

struct Report {
  int right = 0;
  int deadlines_met = 0;
  std::vector<double> latencies_ms;
  double detection_ms = -1;
  double recovery_ms = -1;
  bool identical = false;
  double converged_after_kill_ms = -1;
  double converged_after_rejoin_ms = -1;
  int lost_actions = 0;
  double bytes_per_node_per_s = 0;
};

double ms_since(Clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
}

void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

void headline(const std::string& text) {
  fmt::print("\n\033[1m{}\033[0m\n", text);
  std::fflush(stdout);
}

// Everybody's orders, as each node received them: the demo's agents.
class Listener {
 public:
  Listener(const fs::path& home, std::string filter)
      : thread_([this, home, filter = std::move(filter)] { listen(home, filter); }) {}
  ~Listener() {
    stop_ = true;
    thread_.join();
  }
  bool ready() const { return ready_; }
  std::multiset<std::string> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  void listen(const fs::path& home, const std::string& filter) {
    while (!stop_) {
      (void)apps::ask(home, {{"op", "sub"}, {"filter", filter}}, [this](const json::Object& line) {
        if (line.contains("subscribed")) ready_ = true;
        if (line.contains("payload")) {
          const std::lock_guard lock(mutex_);
          seen_.insert(std::string(line.at("payload").as_string()));
        }
        return !stop_;
      });
      ready_ = false;
      pause_ms(50);
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<bool> ready_{false};
  mutable std::mutex mutex_;
  std::multiset<std::string> seen_;
  std::thread thread_;
};

class Demo {
 public:
  Demo(fs::path sedge, fs::path repository, fs::path folder)
      : sedge_(std::move(sedge)), repository_(std::move(repository)), folder_(std::move(folder)), prng_(7) {}

  // The nodes end first: a listener waits for its node's next word.
  ~Demo() {
    for (Member& member : members_) member.process = Process();
  }
  Demo(const Demo&) = delete;
  Demo& operator=(const Demo&) = delete;

  Status run() {
    begun_ = Clock::now();
    SEDGE_CHECK(read_sentences());
    SEDGE_CHECK(make_fleet());
    SEDGE_CHECK(obey());
    SEDGE_CHECK(survive());
    return finish();
  }

 private:
  Status read_sentences() {
    std::ifstream file(repository_ / "models/heron/eval/demo.jsonl");
    for (std::string line; std::getline(file, line);) {
      SEDGE_TRY(const json::Value value, json::parse(line, "models/heron/eval/demo.jsonl"));
      SEDGE_TRY(const json::Object* object, json::as_object(value, "a demo sentence"));
      SEDGE_TRY(const std::string text, json::get_string(*object, "sentence"));
      SEDGE_TRY(const json::Value* action, json::member(*object, "action"));
      sentences_.push_back({text, *action});
    }
    if (sentences_.empty())
      return fail(Code::kNotFound, "no sentences in {}", (repository_ / "models/heron/eval/demo.jsonl").string());
    return {};
  }

  Result<std::string> sedge(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), sedge_.string());
    return Process::output_of(arguments);
  }

  Status start(Member& member) {
    std::vector<std::string> command = {sedge_.string(), "up",
                                        "--home",        member.home.string(),
                                        "--listen",      member.address.empty() ? "127.0.0.1:0" : member.address,
                                        "--http",        "off",
                                        "--threads",     "1"};
    if (member.has_model) {
      command.insert(command.end(), {"--model", (repository_ / "models/heron/heron.gguf").string()});
    }
    if (&member != &members_.front()) command.insert(command.end(), {"--seed", members_.front().address});
    SEDGE_TRY(member.process, Process::start(command, (folder_ / (member.name + ".log")).string()));
    const auto began = Clock::now();
    while (!apps::node_runs(member.home)) {
      if (ms_since(began) > 15000)
        return fail(Code::kUnavailable, "{} did not start: see {}", member.name,
                    (folder_ / (member.name + ".log")).string());
      pause_ms(2);
    }
    SEDGE_TRY(const json::Object status, apps::ask_once(member.home, {{"op", "status"}}));
    SEDGE_TRY(member.address, json::get_string(status, "listening"));
    return {};
  }

  Status make_fleet() {
    headline("A fleet of five processes");
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    const char* const names[kNodes] = {"gateway", "scout-1", "scout-2", "sprayer-1", "mule-1"};
    for (const char* name : names)
      members_.push_back({.name = name, .home = folder_ / name, .address = "", .has_model = true, .process = {}});
    members_.front().has_model = false;  // a gateway with no room for models: its tasks run elsewhere
    const auto began = Clock::now();
    SEDGE_CHECK(sedge({"fleet", "create", "--home", members_[0].home.string(), "--name", members_[0].name}));
    SEDGE_CHECK(start(members_[0]));
    fmt::print("  {:<10} created the fleet, listens on {}, runs no model\n", members_[0].name, members_[0].address);
    for (std::size_t i = 1; i < members_.size(); ++i) {
      SEDGE_TRY(const std::string invitation, sedge({"fleet", "invite", "--home", members_[0].home.string()}));
      SEDGE_CHECK(
          sedge({"fleet", "join", invitation, "--home", members_[i].home.string(), "--name", members_[i].name}));
      SEDGE_CHECK(start(members_[i]));
      fmt::print("  {:<10} joined by invitation, listens on {}\n", members_[i].name, members_[i].address);
      std::fflush(stdout);
    }
    SEDGE_CHECK(wait_until("every node sees all five", 10000, [&] { return all_see(kNodes); }));
    SEDGE_CHECK(
        wait_until("the gateway knows who runs heron", 10000, [&] { return offers_at(members_[0]) == kNodes - 1; }));
    fmt::print("  all five see each other after {:.0f} ms\n", ms_since(began));
    for (const Member& member : members_) listeners_.push_back(std::make_unique<Listener>(member.home, "agents/#"));
    return wait_until("everybody listens for orders", 5000, [&] {
      return std::all_of(listeners_.begin(), listeners_.end(), [](const auto& each) { return each->ready(); });
    });
  }

  Result<json::Object> status(const Member& member) { return apps::ask_once(member.home, {{"op", "status"}}); }

  bool all_see(std::uint64_t alive) {
    return std::all_of(members_.begin(), members_.end(), [&](const Member& member) {
      if (!member.process.running()) return true;
      const auto report = status(member);
      return report && report->contains("alive") && json::get_uint(*report, "alive").value_or(0) == alive;
    });
  }

  int offers_at(const Member& member) {
    const auto report = status(member);
    int offers = 0;
    if (!report) return 0;
    for (const json::Value& each : report->at("members").as_array())
      offers += each.at("models").as_array().empty() ? 0 : 1;
    return offers;
  }

  // One digest at all running nodes.
  bool converged() {
    std::set<std::string> digests;
    for (const Member& member : members_) {
      if (!member.process.running()) continue;
      const auto report = status(member);
      if (!report) return false;
      digests.insert(std::string(report->at("state").at("digest").as_string()));
    }
    return digests.size() == 1;
  }

  Status wait_until(const std::string& what, double limit_ms, const std::function<bool()>& holds) {
    const auto began = Clock::now();
    while (!holds()) {
      if (ms_since(began) > limit_ms)
        return fail(Code::kDeadlineExceeded, "waited {:.0f} s in vain until {}; logs: {}", limit_ms / 1000, what,
                    folder_.string());
      pause_ms(5);
    }
    return {};
  }

  static std::vector<std::string> topics_of(const json::Value& action) {
    std::vector<std::string> topics;
    const auto add = [&](const json::Value& who) {
      if (who.is_string()) topics.push_back("agents/" + std::string(who.as_string()) + "/orders");
    };
    if (const auto* object = action.if_object(); object != nullptr && object->contains("who")) {
      const json::Value& who = object->at("who");
      if (who.is_array())
        for (const json::Value& each : who.as_array()) add(each);
      else
        add(who);
    }
    if (topics.empty()) topics.emplace_back("agents/all/orders");
    return topics;
  }

  Status obey() {
    headline(
        fmt::format("{} sentences, each to a random node, {:.0f} ms for an answer", sentences_.size(), kDeadlineMs));
    int number = 0;
    for (const Sentence& sentence : sentences_) {
      ++number;
      Member& entry = members_[prng_.below(members_.size())];
      const auto began = Clock::now();
      json::Object result;
      SEDGE_CHECK(apps::ask(entry.home,
                            {{"op", "run"},
                             {"model", "heron"},
                             {"prompt", sentence.text + "\n"},
                             {"max_tokens", 160},
                             {"deadline_ms", kDeadlineMs}},
                            [&](const json::Object& line) {
                              if (line.contains("result")) result = line.at("result").as_object();
                              return true;
                            }));
      report_.latencies_ms.push_back(ms_since(began));
      const std::string text(result.at("text").as_string());
      const bool met = result.at("deadline_met").as_bool();
      const auto action = json::parse(text, "the model's answer");
      const bool right = met && action && *action == sentence.action;
      report_.deadlines_met += met ? 1 : 0;
      report_.right += right ? 1 : 0;
      fmt::print("  {} {:>4.0f} ms  {:<10} via {:<10} {}\n",
                 right ? "ok "
                 : met ? "BAD"
                       : "LATE",
                 report_.latencies_ms.back(), std::string(result.at("served_by").as_string()), entry.name,
                 sentence.text);
      if (!right) fmt::print("      got      {}\n      expected {}\n", text, json::write(sentence.action));
      std::fflush(stdout);
      if (action) SEDGE_CHECK(give_order(entry, number, std::string(result.at("task").as_string()), *action));
    }
    SEDGE_CHECK(wait_until("all orders arrived", 5000, [&] { return missing_orders() == 0; }));
    return close_missions();
  }

  // To the agents' topics, once for the task, and onto the mission board, which every node holds.
  Status give_order(const Member& entry, int number, const std::string& task, const json::Value& action) {
    const std::string order = json::write(json::Object{{"order", number}, {"action", action}});
    for (const std::string& topic : topics_of(action)) {
      SEDGE_CHECK(apps::ask_once(entry.home, {{"op", "pub"}, {"topic", topic}, {"payload", order}, {"once", task}}));
      published_.insert(order);
    }
    SEDGE_CHECK(apps::ask_once(
        entry.home,
        {{"op", "set"}, {"path", "board/open"}, {"kind", "insert"}, {"value", fmt::format("order {}", number)}}));
    ++open_orders_;
    return {};
  }

  int missing_orders() {
    int missing = 0;
    for (const auto& listener : listeners_) {
      const auto seen = listener->seen();
      for (const std::string& order : std::set<std::string>(published_.begin(), published_.end())) {
        const auto wanted = published_.count(order);
        missing += static_cast<int>(wanted - std::min(wanted, seen.count(order)));
      }
    }
    return missing;
  }

  // Each node reports a share of the orders done: out of the open set, into the counter.
  Status close_missions() {
    for (int number = 1; number <= open_orders_ - 2; ++number) {  // two stay open, to be seen after the crash
      const Member& agent = members_[static_cast<std::size_t>(number) % members_.size()];
      SEDGE_CHECK(wait_until("the board reached " + agent.name, 3000, [&] { return board_has(agent, number); }));
      SEDGE_CHECK(apps::ask_once(
          agent.home,
          {{"op", "set"}, {"path", "board/open"}, {"kind", "remove"}, {"value", fmt::format("order {}", number)}}));
      SEDGE_CHECK(apps::ask_once(agent.home, {{"op", "set"}, {"path", "board/done"}, {"kind", "counter"}, {"by", 1}}));
      ++done_orders_;
    }
    SEDGE_CHECK(wait_until("the mission board is the same everywhere", 5000, [&] { return converged(); }));
    fmt::print("  mission board: {} orders done, {} open, the same on all five nodes\n", done_orders_,
               open_orders_ - done_orders_);
    return {};
  }

  bool board_has(const Member& member, int number) {
    const auto board = apps::ask_once(member.home, {{"op", "get"}, {"path", "board/open"}});
    if (!board || !board->contains("values")) return false;
    const auto& values = board->at("values").as_array();
    return std::any_of(values.begin(), values.end(),
                       [&](const json::Value& each) { return each == json::Value(fmt::format("order {}", number)); });
  }

  // The long answer's text; with a victim to find, calls `on_token` with the server's name and the token's number.
  Result<json::Object> long_answer(const std::function<void(const std::string&, int)>& on_token) {
    json::Object result;
    SEDGE_CHECK(apps::ask(members_[0].home,
                          {{"op", "run"},
                           {"model", "heron"},
                           {"prompt", "all scouts, report your battery, then your position\n"},
                           {"max_tokens", kLongTokens},
                           {"min_tokens", kLongTokens},
                           {"deadline_ms", 10000}},
                          [&](const json::Object& line) {
                            if (line.contains("result")) result = line.at("result").as_object();
                            if (line.contains("token") && on_token) {
                              on_token(std::string(line.at("served_by").as_string()),
                                       static_cast<int>(line.at("index").to_number<int>()));
                            }
                            return true;
                          }));
    return result;
  }

  Status survive() {
    headline(fmt::format("An answer of {} tokens through the gateway; its server is killed after token {}", kLongTokens,
                         kKillAtToken));
    SEDGE_TRY(const json::Object undisturbed, long_answer({}));
    Member* victim = nullptr;
    Clock::time_point killed;
    SEDGE_TRY(const json::Object answer, long_answer([&](const std::string& server, int index) {
                if (victim == nullptr && index + 1 >= kKillAtToken) {
                  const auto found = std::find_if(members_.begin() + 1, members_.end(),
                                                  [&](const Member& each) { return each.name == server; });
                  if (found == members_.end()) return;
                  victim = &*found;
                  killed = Clock::now();
                  victim->process.signal(SIGKILL);
                } else if (victim != nullptr && server != victim->name && report_.recovery_ms < 0) {
                  report_.recovery_ms = ms_since(killed);
                }
              }));
    if (victim == nullptr) return fail(Code::kInternal, "the answer had no {} tokens", kKillAtToken);
    victim->process.wait();
    report_.identical = answer.at("text") == undisturbed.at("text") && answer.at("tokens") == undisturbed.at("tokens");
    fmt::print("  {} killed; the stream went on from {} after {:.0f} ms, text {} an undisturbed run's\n", victim->name,
               std::string(answer.at("served_by").as_string()), report_.recovery_ms,
               report_.identical ? "identical to" : "DIFFERENT from");
    SEDGE_CHECK(wait_until("every survivor knows that it is dead", 10000, [&] { return all_see(kNodes - 1); }));
    report_.detection_ms = ms_since(killed);
    const auto wrote = Clock::now();
    SEDGE_CHECK(apps::ask_once(
        members_[0].home,
        {{"op", "set"}, {"path", "board/notice"}, {"kind", "register"}, {"value", victim->name + " is down"}}));
    SEDGE_CHECK(wait_until("the survivors agree", 5000, [&] { return converged(); }));
    report_.converged_after_kill_ms = ms_since(wrote);
    fmt::print(
        "  last survivor's verdict after {:.0f} ms; a new write is the same on all four {:.0f} ms after it was made\n",
        report_.detection_ms, report_.converged_after_kill_ms);
    return rejoin(*victim);
  }

  Status rejoin(Member& victim) {
    headline(victim.name + " comes back");
    const auto began = Clock::now();
    SEDGE_CHECK(start(victim));
    const double up_ms = ms_since(began);
    SEDGE_CHECK(wait_until("all five agree", 10000, [&] { return all_see(kNodes) && converged(); }));
    report_.converged_after_rejoin_ms = ms_since(began);
    fmt::print("  process up after {:.0f} ms, one state on all five after {:.0f} ms\n", up_ms,
               report_.converged_after_rejoin_ms);
    for (const Member& member : members_) {
      SEDGE_TRY(const json::Object done, apps::ask_once(member.home, {{"op", "get"}, {"path", "board/done"}}));
      SEDGE_TRY(const json::Object open, apps::ask_once(member.home, {{"op", "get"}, {"path", "board/open"}}));
      const auto counted = json::get_int(done, "value").value_or(-1);
      const auto left = static_cast<int>(open.at("values").as_array().size());
      if (counted != done_orders_ || left != open_orders_ - done_orders_) {
        report_.lost_actions +=
            static_cast<int>(std::abs(counted - done_orders_)) + std::abs(left - (open_orders_ - done_orders_));
        fmt::print("  {} holds {} done and {} open orders: WRONG\n", member.name, counted, left);
      }
    }
    return {};
  }

  double bytes_out() {
    double total = 0;
    for (const Member& member : members_) {
      if (const auto report = status(member)) total += report->at("transport").at("bytes_out").to_number<double>();
    }
    return total;
  }

  static double percentile(std::vector<double> values, double fraction) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0
                          : values[std::min(values.size() - 1,
                                            static_cast<std::size_t>(fraction * static_cast<double>(values.size())))];
  }

  Status finish() {
    const double seconds = ms_since(begun_) / 1000;
    report_.bytes_per_node_per_s = bytes_out() / kNodes / seconds;
    report_.lost_actions += missing_orders();
    const double p50 = percentile(report_.latencies_ms, 0.5);
    const double p99 = percentile(report_.latencies_ms, 0.99);
    const auto total = static_cast<int>(sentences_.size());
    const json::Object summary{{"sentences_total", total},
                               {"sentences_right", report_.right},
                               {"deadlines_met", report_.deadlines_met},
                               {"latency_p50_ms", p50},
                               {"latency_p99_ms", p99},
                               {"detection_ms", report_.detection_ms},
                               {"recovery_ms", report_.recovery_ms},
                               {"interrupted_text_identical", report_.identical},
                               {"converged_after_kill_ms", report_.converged_after_kill_ms},
                               {"converged_after_rejoin_ms", report_.converged_after_rejoin_ms},
                               {"lost_actions", report_.lost_actions},
                               {"bytes_per_node_per_s", report_.bytes_per_node_per_s}};
    std::ofstream(folder_.parent_path() / "demo.json") << json::write(summary) << '\n';
    headline(fmt::format("Summary, {:.0f} s", seconds));
    fmt::print("  sentences       {} of {} right, {} of {} in time, latency p50 {:.0f} ms, p99 {:.0f} ms\n",
               report_.right, total, report_.deadlines_met, total, p50, p99);
    fmt::print(
        "  node killed     stream resumed after {:.0f} ms, text identical: {}, all survivors knew after {:.0f} ms\n",
        report_.recovery_ms, report_.identical ? "yes" : "NO", report_.detection_ms);
    fmt::print("  node back       state equal everywhere {:.0f} ms after its start\n",
               report_.converged_after_rejoin_ms);
    fmt::print("  lost            {} actions\n", report_.lost_actions);
    fmt::print("  network         {:.1f} KB a node a second\n", report_.bytes_per_node_per_s / 1000);
    for (Member& member : members_) member.process.signal(SIGTERM);
    int unclean = 0;
    for (Member& member : members_) unclean += member.process.wait() != 0 ? 1 : 0;
    listeners_.clear();  // their connections ended with the nodes
    if (unclean > 0)
      return fail(Code::kInternal, "{} nodes did not end cleanly on SIGTERM: see {}", unclean, folder_.string());
    if (report_.lost_actions > 0 || !report_.identical)
      return fail(Code::kDataLoss, "something was lost: the lines above say what");
    return {};
  }

  fs::path sedge_;
  fs::path repository_;
  fs::path folder_;
  Prng prng_;
  Clock::time_point begun_;
  std::vector<Sentence> sentences_;
  std::vector<Member> members_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::multiset<std::string> published_;
  int open_orders_ = 0;
  int done_orders_ = 0;
  Report report_;
};

}  // namespace
}  // namespace sedge::demo

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  if (argc > 1 && std::string(argv[1]) == "--help") {
    std::puts(
        "sedge-demo [FOLDER]: five nodes on this machine; FOLDER for their homes, build/demo by default\nExample:\n  "
        "./dev demo");
    return 0;
  }
  const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path repository = SEDGE_SOURCE_DIR;
  const fs::path folder = argc > 1 ? fs::absolute(argv[1]) : repository / "build" / "demo";
  const sedge::Status done = sedge::demo::Demo(here / "sedge", repository, folder).run();
  if (done) return 0;
  std::fprintf(stderr, "\nsedge-demo: %s\n", done.error().message.c_str());
  return 1;
}
