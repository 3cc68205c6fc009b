// sedge up: runs this machine's node until it is told to stop.
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include <fmt/chrono.h>
#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "api/control_server.h"
#include "api/http_server.h"
#include "apps/adapter_option.h"
#include "apps/command.h"
#include "engine/model.h"
#include "mesh/overlay.h"
#include "platform/runtime.h"
#include "platform/system.h"

namespace sedge::apps {
namespace {

struct UpOptions {
  std::string home = default_home();
  std::string listen = fmt::format("0.0.0.0:{}", platform::kDefaultPort);
  std::vector<std::string> seeds;
  std::vector<std::string> models;
  std::vector<std::string> adapters;  // parse_offered_adapters
  std::vector<std::string> drafts;
  std::string http = "127.0.0.1:7335";
  std::string http_token;
  unsigned workers = 1;
  unsigned threads = 0;
  std::string kv = platform::RuntimeOptions().kv;
  bool long_context = false;
  std::size_t prefix_mib = 0;
  std::size_t prefix_disk_mib = platform::RuntimeOptions().prefix_disk_bytes >> 20;
  std::size_t packed_disk_mib = platform::RuntimeOptions().packed_disk_bytes >> 20;
  double privacy_budget = 10;
  std::size_t tensor_mib = node::NodeOptions().tensor_bytes_max >> 20;
  std::string overlay = "partial";
  std::string zone;
  std::optional<std::uint16_t> gateway_rank;
  bool no_beacon = false;
  bool quiet = false;
};

Status up(const UpOptions& options) {
  platform::RuntimeOptions runtime_options;
  runtime_options.home = options.home;
  runtime_options.listen = options.listen;
  runtime_options.seeds = options.seeds;
  runtime_options.models.assign(options.models.begin(), options.models.end());
  SEDGE_TRY(runtime_options.adapters, parse_offered_adapters(options.adapters));
  runtime_options.drafts.assign(options.drafts.begin(), options.drafts.end());
  runtime_options.engine_workers = options.workers;
  runtime_options.engine_threads = options.threads;
  runtime_options.kv = options.kv;
  runtime_options.long_context = options.long_context;
  runtime_options.prefix_memory_bytes = options.prefix_mib << 20;
  runtime_options.prefix_disk_bytes = std::uint64_t{options.prefix_disk_mib} << 20;
  runtime_options.packed_disk_bytes = std::uint64_t{options.packed_disk_mib} << 20;
  runtime_options.tensor_bytes_max = options.tensor_mib << 20;
  runtime_options.beacons = !options.no_beacon;
  runtime_options.privacy_budget = options.privacy_budget;
  SEDGE_TRY(runtime_options.overlay, mesh::parse_overlay(options.overlay));
  runtime_options.zone = options.zone;
  runtime_options.gateway_rank = options.gateway_rank;
  if (!options.quiet) {
    runtime_options.log = [](const std::string& line) {
      const std::time_t seconds = platform::wall_seconds();
      fmt::print(stderr, "{:%H:%M:%S} {}\n", fmt::localtime(seconds), line);
    };
  }
  SEDGE_TRY(const auto runtime, platform::Runtime::open(runtime_options));
  SEDGE_TRY(const auto control, api::ControlServer::start(*runtime));
  std::unique_ptr<api::HttpServer> http;
  if (options.http != "off") {
    SEDGE_TRY(http, api::HttpServer::start(*runtime, {.listen = options.http, .bearer_token = options.http_token}));
  }
  boost::asio::signal_set signals(runtime->io(), SIGTERM, SIGINT);
  const std::function<void()> await_signal = [&] {
    signals.async_wait([&](const boost::system::error_code& error, int) {
      if (error) return;
      runtime->stop();
      await_signal();  // the second one ends it at once
    });
  };
  await_signal();
  if (runtime_options.log) {
    runtime_options.log(fmt::format("node {} ({}) listens on {}{}", runtime->node().options().name,
                                    runtime->node().id().short_hex(), runtime->listening().text(),
                                    http ? ", HTTP on " + http->endpoint().text() : ""));
  }
  return runtime->run();
}

}  // namespace

void add_up(Commands& commands) {
  auto options = std::make_shared<UpOptions>();
  CLI::App* command = commands.add(commands.root(), "up", "Run this machine's node",
                                   "sedge up --model models/heron/heron.gguf --seed 192.168.1.7:7334");
  command->add_option("--home", options->home, "folder of the node's identity and state")->capture_default_str();
  command->add_option("--listen", options->listen, "UDP address for other nodes")->capture_default_str();
  command->add_option("--seed", options->seeds, "address of a running node; only needed where multicast is dead");
  command->add_option("--model", options->models, "GGUF file to load and offer; may be given several times");
  command
      ->add_option(
          "--lora", options->adapters,
          "NAME=FILE, such as polite=polite.gguf: offer the model with this LoRA adapter as NAME; FILE=0.5: "
          "half of it; NAME@BASE: of that model, where there are several; several of one NAME are stacked, and a "
          "request may stack names: polite=0.5+terse")
      ->allow_extra_args(false);
  command
      ->add_option("--draft", options->drafts,
                   "GGUF file of a small model that guesses ahead for those of its vocabulary, where it makes them "
                   "faster; what they say stays the same")
      ->allow_extra_args(false);
  command->add_option("--http", options->http, "address of the HTTP API, or 'off'")->capture_default_str();
  command->add_option("--http-token", options->http_token, "bearer token; needed where HTTP listens off loopback");
  command->add_option("--workers", options->workers, "passes that run at once, each of several sequences")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "engine threads a worker; 0: all cores")->capture_default_str();
  command
      ->add_option(
          "--kv", options->kv,
          fmt::format("how texts' keys and values are kept: {}, of half, a good quarter and a seventh of f32's "
                      "memory; only nodes with the same go on with each other's texts",
                      engine::kCacheFormats))
      ->capture_default_str();
  command->add_flag("--long-context", options->long_context, std::string(kLongContextHelp));
  command
      ->add_option("--prefix-mib", options->prefix_mib,
                   "memory for beginnings of prompts, so that they are computed once; 0: an eighth of all, up to 512")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--prefix-disk-mib", options->prefix_disk_mib, "disk for the same, over a restart; 0: none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--packed-disk-mib", options->packed_disk_mib,
                   "disk for models' packed weights, so that the next start does not pack them; 0: none")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  command
      ->add_option("--privacy-budget", options->privacy_budget,
                   "epsilon that the private messages of one topic may spend together, for ever (`sedge pub "
                   "--private`)")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  command
      ->add_option("--tensor-mib", options->tensor_mib,
                   "memory and disk for the fleet's tensors; a writer's part is half")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  std::string overlays;
  for (const mesh::OverlayRow& row : mesh::kOverlays)
    overlays += fmt::format("{}{}", overlays.empty() ? "" : ", ", row.name);
  command->add_option("--overlay", options->overlay, "which links this node wants, NAME or NAME:K: " + overlays)
      ->capture_default_str();
  command->add_option("--zone", options->zone, "zone of this node in a hierarchy; else where round trips place it");
  command
      ->add_option("--gateway-rank", options->gateway_rank,
                   "how fit this node is to be a gateway, where the overlay has some; else by its cores")
      ->check(CLI::Range(0, int{mesh::kGatewayRankMax}));
  command->add_flag("--no-beacon", options->no_beacon, "do not announce this node by multicast");
  command->add_flag("--quiet", options->quiet, "say nothing but errors");
  commands.on(command, [options] { return up(*options); });
}

}  // namespace sedge::apps
