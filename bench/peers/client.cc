// Two processes of one program: this one measures, and starts the other, which echoes and counts. Prints one JSON
// object with the names that `sedge-bench --json` has, so that figures stand side by side.
#include "client.h"

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>

#include <sys/prctl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/json.h"
#include "process.h"

namespace sedge::bench {
namespace {

struct Options {
  Endpoint endpoint;
  Load load;
  std::string log = "far.log";
  bool far = false;
};

Status be_far(const Options& options) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // whatever ends the parent ends this process too
  SEDGE_TRY(const auto channel, open_channel(options.endpoint));
  Echo echo(*channel);
  SEDGE_CHECK(echo.start());
  for (;;) ::pause();  // its parent ends it
}

Status measure(const Options& options) {
  const Endpoint& endpoint = options.endpoint;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  SEDGE_TRY(const demo::Process far,
            demo::Process::start({self, "--far", "--port", std::to_string(endpoint.port), "--qos",
                                  std::to_string(endpoint.qos), "--folder", endpoint.folder},
                                 options.log));
  SEDGE_TRY(auto channel, open_channel(endpoint));
  Meter meter(*channel, options.load);
  const Status done = [&]() -> Status {
    SEDGE_CHECK(meter.start());
    SEDGE_CHECK(meter.meet());
    Figures figures;
    SEDGE_TRY(figures.thread_latency, meter.ping_pong(From::kThread));
    SEDGE_TRY(figures.latency, meter.ping_pong(From::kCallbacks));
    SEDGE_TRY(figures.thread, meter.flood(From::kThread));
    SEDGE_TRY(figures.callbacks, meter.flood(From::kCallbacks));
    json::Object object = json_of(options.load, figures);
    object["version"] = library_version();
    fmt::print("{}\n", json::write(object));
    return {};
  }();
  channel.reset();  // before what its callbacks remember goes
  return done;
}

}  // namespace

int run(const Options& options) {
  const Status done = options.far ? be_far(options) : measure(options);
  if (done) return 0;
  fmt::print(stderr, "{}\n", done.error().message);
  return 1;
}

}  // namespace sedge::bench

int main(int argc, char** argv) {
  CLI::App app("Measures one messaging system between two processes on loopback; prints one JSON object.");
  sedge::bench::Options options;
  auto& [endpoint, load, log, far] = options;
  app.add_option("--port", endpoint.port, "the broker's, on 127.0.0.1");
  app.add_option("--qos", endpoint.qos, "MQTT's")->check(CLI::Range(0, 1))->capture_default_str();
  app.add_option("--folder", endpoint.folder, "of ca.pem, client.pem and client.key");
  app.add_option("--rounds", load.rounds, "ping-pongs")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  app.add_option("--messages", load.messages, "one way")
      ->check(CLI::Range(std::uint64_t{1}, sedge::bench::kMessagesMax))
      ->capture_default_str();
  app.add_option("--window", load.window, "messages under way at most")->capture_default_str();
  app.add_option("--log", log, "the other process's")->capture_default_str();
  app.add_flag("--far", far)->group("");
  app.footer("Example: run by bench/peers/run.py");
  CLI11_PARSE(app, argc, argv);
  return sedge::bench::run(options);
}
