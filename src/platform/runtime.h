// A node in the real world: one event-loop thread that runs node::Node and its QUIC endpoint, a storage thread, engine
// workers, and sockets. Everything else in the process (HTTP, the control socket, a robot's own threads) reaches the
// node only through post().
//
// One turn of the loop: hand what came (datagrams, timers, durable writes, slices, posted calls) to the cores; then
// move what they want: node -> endpoint, records -> storage, beacons -> multicast, packets -> socket; then sleep until
// the earliest of their deadlines.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "env/endpoint.h"
#include "env/link.h"
#include "mesh/overlay.h"
#include "node/node.h"
#include "platform/adapter_options.h"
#include "platform/energy.h"

namespace boost::asio {
class io_context;
}

namespace sedge::platform {

inline constexpr std::uint16_t kDefaultPort = 7334;  // S-E-D-G on a phone's keys

struct RuntimeOptions {
  std::filesystem::path home;
  std::string listen = "0.0.0.0:7334";  // HOST:PORT; port 0: any
  std::vector<std::string> seeds;       // HOST:PORT
  std::vector<std::filesystem::path> models;
  std::vector<AdapterOptions> adapters;
  std::vector<std::filesystem::path> drafts;  // small models that guess for those of their vocabulary
  unsigned engine_workers = 1;
  unsigned engine_threads = 0;          // a worker; 0: all cores divided by the workers
  std::string kv = "f32";               // how texts' keys and values are kept: engine::cache_format_of
  bool long_context = false;            // engine::ModelOptions
  std::size_t prefix_memory_bytes = 0;  // of remembered beginnings of prompts; 0: an eighth of memory, at most 512 MiB
  std::uint64_t packed_disk_bytes = std::uint64_t{8} << 30;  // of packed weights kept over a restart; 0: none
  std::uint64_t prefix_disk_bytes = std::uint64_t{1} << 30;  // of those kept over a restart; 0: none
  bool beacons = true;
  double privacy_budget = 10;  // epsilon of each topic (node/privacy.h)
  std::size_t tensor_bytes_max = node::NodeOptions().tensor_bytes_max;
  mesh::OverlayPolicy overlay;                // which links this node wants
  std::string zone;                           // of a hierarchy; empty: where round trips place it
  std::optional<std::uint16_t> gateway_rank;  // 0 to mesh::kGatewayRankMax; not set: by its cores
  // Where packets or published messages come in quick succession (within twice this), the loop stays awake for so long
  // after each: a wake-up costs 20 to 60 us, half of a message's whole way. Zero: never; nor on a single core.
  Duration spin = 200us;
  std::function<void(const std::string&)> log;  // one line for people; may be empty
};

struct TransportStats {
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t datagrams_in = 0;
  std::uint64_t datagrams_out = 0;
  std::uint64_t handshakes_refused = 0;
  std::uint64_t frames_dropped = 0;  // best-effort ones whose link's queue was full
  std::size_t links = 0;
};

class Runtime {
 public:
  // Takes the home, opens the store, counts this start, loads models, listens.
  // Errors: FailedPrecondition (no fleet yet; home in use), those of the store, the models and the socket.
  static Result<std::unique_ptr<Runtime>> open(RuntimeOptions options);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Runs the loop on this thread until stop() has drained the node, or the disk failed (the error).
  Status run();

  // From any thread: runs on the loop, in order.
  using Call = std::function<void(node::Node&, Instant)>;
  void post(Call call);

  // From any thread: publishes without waiting for the loop. What was published before a post() is so before its call
  // runs. Errors: InvalidArgument, PermissionDenied; ResourceExhausted: a neighbour does not keep up, and too much
  // waits here already; nothing was taken, try again a little later.
  Status publish(std::string_view topic, Bytes payload, const mesh::PublishOptions& options);

  // From any thread or a signal handler's continuation: leave gracefully, then end run(). A second call ends it at
  // once.
  void stop();

  // For servers that live on the same loop (api/). Only on the loop, or before run().
  boost::asio::io_context& io();
  node::Node& node();
  TransportStats transport() const;
  Energy energy();  // since it was opened
  env::LinkStats link_stats(NodeId peer) const;
  // Work for the node done within one of the loop's own handlers ends with this, so that its effects leave.
  void turn();

  env::Endpoint listening() const;
  const std::filesystem::path& home() const;

 private:
  class Loop;
  explicit Runtime(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace sedge::platform
