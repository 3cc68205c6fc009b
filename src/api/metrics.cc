#include "api/metrics.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace sedge::api {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;

class Families {
 public:
  using Labels = std::vector<ClientMetric::Label>;

  // Begins a family; samples follow.
  Families& counter(std::string name, std::string help) { return begin(name, help, MetricType::Counter); }
  Families& gauge(std::string name, std::string help) { return begin(name, help, MetricType::Gauge); }

  template <class Number>
  Families& sample(Number value, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    auto& family = families_.back();
    (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
    family.metric.push_back(std::move(metric));
    return *this;
  }

  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  Families& begin(std::string& name, std::string& help, MetricType type) {
    families_.push_back({std::move(name), std::move(help), type, {}});
    return *this;
  }

  std::vector<prometheus::MetricFamily> families_;
};

void add_tasks(Families& out, const node::Node& node) {
  const node::NodeStats& stats = node.stats();
  out.counter("sedge_tasks_total", "Tasks this node owned, by how they ended.")
      .sample(stats.tasks_answered, {{"outcome", "answered"}})
      .sample(stats.tasks_refused, {{"outcome", "refused"}})
      .sample(stats.tasks_fallback, {{"outcome", "fallback"}})
      .sample(stats.tasks_failed, {{"outcome", "failed"}});
  out.counter("sedge_tasks_resumed_total", "Tasks that moved to another node after a loss.")
      .sample(stats.tasks_resumed);
  out.counter("sedge_tokens_streamed_total", "Tokens handed to clients of this node.").sample(stats.tokens_streamed);
  out.gauge("sedge_tasks_open", "Tasks this node owns now.").sample(node.owner().open());
  out.counter("sedge_frames_refused_total", "Messages of peers that were malformed or forbidden.")
      .sample(stats.frames_refused);
}

void add_engine(Families& out, const node::WorkerStats& stats) {
  out.counter("sedge_engine_tokens_total", "Tokens that this node's engines made.").sample(stats.tokens);
  out.counter("sedge_engine_prompt_tokens_total", "Tokens of prompts, by whether they were computed or remembered.")
      .sample(stats.prompt_tokens - std::min(stats.prompt_tokens, stats.cached_tokens), {{"how", "computed"}})
      .sample(stats.cached_tokens, {{"how", "remembered"}});
  out.counter("sedge_engine_drafted_tokens_total", "Tokens guessed ahead, by whether the model said the same.")
      .sample(stats.accepted_tokens, {{"outcome", "accepted"}})
      .sample(stats.drafted_tokens - std::min(stats.drafted_tokens, stats.accepted_tokens), {{"outcome", "rejected"}});
}

void add_transport(Families& out, const platform::TransportStats& stats) {
  out.counter("sedge_transport_bytes_total", "Bytes in UDP payloads.")
      .sample(stats.bytes_in, {{"direction", "in"}})
      .sample(stats.bytes_out, {{"direction", "out"}});
  out.counter("sedge_transport_datagrams_total", "UDP datagrams.")
      .sample(stats.datagrams_in, {{"direction", "in"}})
      .sample(stats.datagrams_out, {{"direction", "out"}});
  out.counter("sedge_handshakes_refused_total", "Peers that could not prove to be of this fleet.")
      .sample(stats.handshakes_refused);
  out.counter("sedge_transport_datagrams_dropped_total", "Best-effort frames that found a link's queue full.")
      .sample(stats.frames_dropped);
  out.gauge("sedge_links", "Open links to other nodes.").sample(stats.links);
}

std::array<std::pair<std::string, mesh::PackStats>, 2> packed_by(const node::Node& node) {
  return {{{"batches", node.broadcast().pack_stats()}, {"state", node.state().pack_stats()}}};
}

void add_mesh(Families& out, const node::Node& node) {
  std::size_t states[4] = {};
  for (const mesh::Member& member : node.membership().members()) {
    if (const auto at = static_cast<std::size_t>(member.state); at < std::size(states)) ++states[at];
  }
  static_assert(static_cast<std::size_t>(mesh::MemberState::kAlive) == 0);
  static constexpr const char* kStates[] = {"alive", "suspect", "dead", "left"};
  out.gauge("sedge_members", "Members of the fleet as this node sees them, itself included.");
  for (std::size_t i = 0; i < std::size(states); ++i) out.sample(states[i], {{"state", kStates[i]}});

  const mesh::BroadcastStats& broadcast = node.broadcast().stats();
  out.counter("sedge_broadcast_batches_total", "Batches of the broadcast tree.")
      .sample(broadcast.sent, {{"event", "sent"}})
      .sample(broadcast.delivered, {{"event", "delivered"}})
      .sample(broadcast.duplicates, {{"event", "duplicate"}})
      .sample(broadcast.grafts, {{"event", "graft"}})
      .sample(broadcast.refused, {{"event", "refused"}})
      .sample(broadcast.given_up, {{"event", "given_up"}});

  const mesh::PubSubStats& pubsub = node.pubsub().stats();
  out.counter("sedge_messages_total", "Messages of this node's programs, published and heard.")
      .sample(pubsub.published, {{"event", "published"}})
      .sample(pubsub.delivered, {{"event", "delivered"}});
  out.counter("sedge_messages_dropped_total", "Batches and messages that were not taken or not delivered, and why.")
      .sample(broadcast.shed, {{"why", "link_full"}})
      .sample(broadcast.left_behind, {{"why", "neighbour_too_slow"}})
      .sample(broadcast.too_old, {{"why", "older_than_this_start"}})
      .sample(pubsub.expired, {{"why", "lifespan"}})
      .sample(pubsub.refused, {{"why", "no_grant"}})
      .sample(pubsub.repeated, {{"why", "known_already"}});
  out.counter("sedge_slowdowns_total", "Times that a neighbour asked this node to wait before it sends more.")
      .sample(broadcast.slowdowns);
  out.counter("sedge_deadlines_missed_total", "Topics silent for longer than was promised or asked for.")
      .sample(pubsub.late);

  const mesh::CausalStats& causal = node.pubsub().causal().stats();
  out.counter("sedge_causal_messages_total",
              "Causal messages that came before a cause, and those delivered without one.")
      .sample(causal.held, {{"event", "held"}})
      .sample(causal.given_up, {{"event", "given_up"}});

  out.counter("sedge_packed_payloads_total", "Payloads that were packed before they were sent.");
  const auto packed = packed_by(node);
  for (const auto& [of, stats] : packed) out.sample(stats.packed, {{"of", of}});
  out.counter("sedge_packed_bytes_total", "Bytes of these payloads, before and after.");
  for (const auto& [of, stats] : packed) {
    out.sample(stats.bytes_plain, {{"of", of}, {"size", "plain"}});
    out.sample(stats.bytes_packed, {{"of", of}, {"size", "packed"}});
  }
}

void add_state(Families& out, const node::Node& node) {
  const mesh::StateStats& state = node.state().stats();
  out.counter("sedge_state_writes_received_total", "Writes of other nodes, by what became of them.");
  for (std::size_t i = 0; i < mesh::kStateVerdicts; ++i) {
    const auto verdict = static_cast<mesh::StateVerdict>(i);
    out.sample(state.of(verdict), {{"verdict", std::string(mesh::verdict_name(verdict))}});
  }
  out.counter("sedge_state_writes_total", "Writes of this node.").sample(state.written);
  out.counter("sedge_state_withdrawn_total", "Writes of revoked nodes, taken back.").sample(state.withdrawn);
  out.counter("sedge_state_collected_total", "Tombstones collected.").sample(state.collected);
  out.counter("sedge_state_reset_total", "Writes dropped when this node came back: others had erased them.")
      .sample(state.reset);
  out.counter("sedge_state_revived_total", "Erased entries that the other side of a long split had kept.")
      .sample(state.revived);
  out.gauge("sedge_state_tombstones", "Erased entries not collected yet.").sample(node.state().replica().tombstones());
  out.counter("sedge_state_pulls_total", "Anti-entropy exchanges begun.").sample(state.pulls);
  out.counter("sedge_state_writes_sent_total", "Writes sent by anti-entropy.").sample(state.ops_sent);
  out.gauge("sedge_state_quarantined", "Writes stamped ahead of the fleet clock, held back.")
      .sample(state.in_quarantine);
  out.gauge("sedge_state_unacknowledged", "Writes of this node not yet durable.").sample(node.state().unacknowledged());
  out.gauge("sedge_state_living", "Writes that hold a value now.").sample(node.state().replica().living().size());
}

// Joules are the whole machine's, and there only where it says what it takes.
void add_energy(Families& out, const platform::Energy& energy) {
  out.counter("process_cpu_seconds_total", "CPU time of this process.").sample(energy.cpu_s);
  if (!energy.joules) return;
  out.counter("sedge_energy_joules_total", "Energy that this machine took since the node started.")
      .sample(*energy.joules, {{"source", std::string(platform::source_name(energy.source))}});
}

void add_http(Families& out, const HttpStats& stats) {
  out.counter("sedge_http_requests_total", "HTTP requests begun.").sample(stats.requests);
  out.counter("sedge_http_errors_total", "HTTP answers with a status of 400 or more.").sample(stats.errors);
  out.counter("sedge_http_disconnects_total", "HTTP clients that went before their answer was whole.")
      .sample(stats.disconnects);
  out.gauge("sedge_http_connections", "Open HTTP connections.").sample(stats.connections);
}

}  // namespace

std::string metrics_text(const node::Node& node, const platform::TransportStats& transport,
                         const platform::Energy& energy, const HttpStats& http) {
  Families out;
  out.gauge("sedge_node_info", "Who this node is; always 1.")
      .sample(1, {{"node", node.id().hex()}, {"name", node.options().name}});
  out.gauge("sedge_boot_epoch", "Starts of this node so far.").sample(node.options().epoch.value);
  add_tasks(out, node);
  add_engine(out, node.worker().stats());
  add_transport(out, transport);
  add_mesh(out, node);
  add_state(out, node);
  add_energy(out, energy);
  add_http(out, http);
  return out.text();
}

}  // namespace sedge::api
