#include "trust/quorum.h"

#include <algorithm>
#include <functional>

#include "wire/codec.h"

namespace sedge::trust {
namespace {

constexpr std::string_view kDomain = "sedge.quorum.1";
constexpr std::uint64_t kNumberMax = std::uint64_t{1} << 32;  // nobody forces that many

Buffer signed_bytes(const QuorumOrder& order) { return wire::encode(order.quorum); }

bool well_formed(const wire::ForcedQuorum& quorum) {
  const bool ascending = std::ranges::adjacent_find(quorum.voters, std::greater_equal<>()) == quorum.voters.end();
  return quorum.number > 0 && quorum.number <= kNumberMax && quorum.former.value > 0 && quorum.group.value > 0 &&
         quorum.former != quorum.group && !quorum.voters.empty() && quorum.voters.size() <= kQuorumVotersMax &&
         ascending;
}

}  // namespace

void sign_quorum(QuorumOrder& order, const SecretKey& root) {
  order.signature = sign(root, kDomain, signed_bytes(order));
}

Buffer encode_quorum(const QuorumOrder& order) { return wire::encode(order); }

Result<QuorumOrder> open_quorum(const PublicKey& root, Bytes bytes) {
  SEDGE_TRY(QuorumOrder order, wire::decode<QuorumOrder>(bytes));
  if (!well_formed(order.quorum)) return fail(Code::kDataLoss, "a forced quorum that is not well formed");
  if (!verify(root, kDomain, signed_bytes(order), order.signature)) {
    return fail(Code::kUnauthenticated, "a forced quorum that the root did not sign");
  }
  return order;
}

}  // namespace sedge::trust
