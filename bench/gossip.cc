// One node of a fleet that hears one topic: `./dev bench gossip` starts many, and as many of another system
// (bench/peers/gossip.mjs), which are told the same things in the same words.
//
//   sedge-bench-gossip HOME [SEED]  says {"address"}, then answers each line of its input with one of JSON:
//   publish BYTES COUNT PERIOD_MS   {"refused"}, after so many messages to everybody, one a period
//   count   {"peers", "links", "bytes_out", "duplicates", "cpu_s"}: others known and linked now; counts since the start
//   heard   {"came_us": [...]}: how old each message was that came since the last `heard`
//
// A message carries the time of its publishing, on the one clock that all processes of a machine have, and noise, since
// a node may pack what repeats. Who asks ends the input, and the node with it. It is a runtime as `sedge up` has one,
// and not the C++ library, which does not tell these counts.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <future>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/result.h"
#include "mesh/membership.h"
#include "node/node.h"
#include "platform/runtime.h"
#include "platform/system.h"

namespace sedge::bench {
namespace {

using Clock = std::chrono::steady_clock;
using platform::Runtime;

constexpr std::string_view kTopic = "bench/gossip";

std::int64_t microseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
}

class Bench {
 public:
  explicit Bench(Runtime& runtime) : runtime_(runtime) {}

  // Before the loop runs.
  Status start() {
    node::Node& node = runtime_.node();
    SEDGE_TRY([[maybe_unused]] const auto id, node.subscribe(
                                                  kTopic,
                                                  [this, self = node.id()](const mesh::Message& message) {
                                                    if (message.origin != self) hear(message.payload);
                                                  },
                                                  {}, platform::now()));
    return {};
  }

  // Errors: InvalidArgument: no request.
  Result<json::Object> answer(const std::string& line) {
    std::istringstream words(line);
    std::string request;
    std::size_t bytes = 0, count = 0, period_ms = 0;
    words >> request >> bytes >> count >> period_ms;
    if (request == "publish" && bytes >= sizeof(std::int64_t)) return publish(bytes, count, period_ms);
    if (request == "count") return on_loop([this](node::Node& node) { return counts(node); });
    if (request == "heard")
      return on_loop([this](node::Node&) { return json::Object{{"came_us", std::exchange(came_us_, {})}}; });
    return fail(Code::kInvalidArgument, "'{}' is no request: publish BYTES COUNT PERIOD_MS, count, heard", line);
  }

 private:
  void hear(Bytes payload) {
    std::int64_t sent = 0;
    std::memcpy(&sent, payload.data(), std::min(sizeof sent, payload.size()));
    came_us_.emplace_back(microseconds() - sent);
  }

  json::Object publish(std::size_t bytes, std::size_t count, std::size_t period_ms) {
    std::uint64_t refused = 0;
    platform::SystemEntropy entropy;
    Buffer payload(bytes);
    entropy.fill(payload);
    auto next = Clock::now();
    for (std::size_t i = 0; i < count; ++i) {
      std::this_thread::sleep_until(next);
      next += std::chrono::milliseconds(period_ms);
      const std::int64_t now = microseconds();
      std::memcpy(payload.data(), &now, sizeof now);
      if (!runtime_.publish(kTopic, payload, {})) ++refused;
    }
    return {{"refused", refused}};
  }

  json::Object counts(const node::Node& node) {
    const auto members = node.membership().members();
    const auto alive = std::ranges::count(members, mesh::MemberState::kAlive, &mesh::Member::state);
    const platform::TransportStats transport = runtime_.transport();
    return {{"peers", alive - 1},
            {"links", transport.links},
            {"bytes_out", transport.bytes_out},
            {"duplicates", node.broadcast().stats().duplicates},
            {"cpu_s", static_cast<double>(std::clock()) / CLOCKS_PER_SEC}};
  }

  template <class Call>
  json::Object on_loop(Call call) {
    std::promise<json::Object> promise;
    runtime_.post([&](node::Node& node, Instant) { promise.set_value(call(node)); });
    return promise.get_future().get();
  }

  Runtime& runtime_;
  json::Array came_us_;  // the loop's
};

Status run(int argc, char** argv) {
  if (argc < 2) return fail(Code::kInvalidArgument, "usage: sedge-bench-gossip HOME [SEED]");
  platform::RuntimeOptions options{.home = argv[1], .listen = "127.0.0.1:0", .beacons = false};
  if (argc > 2) options.seeds = {argv[2]};
  SEDGE_TRY(const auto runtime, Runtime::open(std::move(options)));
  Bench bench(*runtime);
  SEDGE_CHECK(bench.start());
  Status end;
  std::thread loop([&] { end = runtime->run(); });
  fmt::print("{}\n", json::write(json::Object{{"address", runtime->listening().text()}}));
  std::fflush(stdout);
  Status asked;
  for (std::string line; asked && std::getline(std::cin, line);) {
    const auto answer = bench.answer(line);
    if (answer) fmt::print("{}\n", json::write(*answer));
    if (!answer) asked = std::unexpected(answer.error());
    std::fflush(stdout);
  }
  runtime->stop();
  loop.join();
  SEDGE_CHECK(asked);
  return end;
}

}  // namespace
}  // namespace sedge::bench

int main(int argc, char** argv) {
  const sedge::Status status = sedge::bench::run(argc, argv);
  if (!status) fmt::print(stderr, "sedge-bench-gossip: {}\n", status.error().message);
  return status ? 0 : 1;
}
