#include "place/placement.h"

#include <algorithm>
#include <tuple>

#include "env/model_name.h"

namespace sedge::place {
namespace {

constexpr Duration kDialCost = 50ms;       // a handshake and its round trips, of unknown length
constexpr int kDialRoundTrips = 2;         // where it is known: until both sides have confirmed
constexpr Duration kSuspectCost = 5000ms;  // only when nobody else can

Duration seconds(double value) { return Duration(static_cast<std::int64_t>(std::clamp(value, 0.0, 1e6) * 1e9)); }

std::optional<env::ModelOffer> offer_for(const NodeView& view, const Request& request) {
  auto offer = env::find_offer(view.offers, request.model);
  if (!offer || (request.hash && offer->hash != *request.hash)) return {};
  if (request.numeric_class && offer->numeric_class != *request.numeric_class) return {};
  return offer;
}

}  // namespace

std::vector<Candidate> rank(const std::map<NodeId, NodeView>& nodes, const Request& request) {
  std::vector<Candidate> candidates;
  for (const auto& [id, view] : nodes) {
    auto offer = offer_for(view, request);
    if (!offer) continue;
    const Duration work = seconds(request.prompt_tokens / std::max(offer->prefill_tok_s, 1e-3) +
                                  request.tokens_max / std::max(offer->decode_tok_s, 1e-3));
    Duration cost = view.round_trip + view.load.backlog + view.promised + work;
    if (!view.linked) cost += view.round_trip > Duration::zero() ? kDialRoundTrips * view.round_trip : kDialCost;
    if (view.suspect) cost += kSuspectCost;
    candidates.push_back({id, cost, work, *std::move(offer)});
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return std::tie(a.cost, a.node) < std::tie(b.cost, b.node); });
  return candidates;
}

}  // namespace sedge::place
