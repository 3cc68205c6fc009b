// The root's order that those who are left of the consensus group go on without the others (consensus/raft.h). It takes
// the offline root, because whoever can name a quorum decides everything that the fleet has agreed on. Travels as an
// element of the set at kQuorumPath; anybody can check it alone. Grammar: docs/formats/consensus.md.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "trust/keys.h"
#include "wire/consensus_messages.h"

namespace sedge::trust {

inline constexpr std::string_view kQuorumPath = "sys/quorum";
inline constexpr std::size_t kQuorumVotersMax = 5;

struct QuorumOrder {
  wire::ForcedQuorum quorum;
  Signature signature;  // by the root, over the bytes before it, domain "sedge.quorum.1"
  friend bool operator==(const QuorumOrder&, const QuorumOrder&) = default;

  template <class V>
  void fields(V& visit) {
    visit("quorum", quorum);
    visit("signature", signature);
  }
};

void sign_quorum(QuorumOrder& order, const SecretKey& root);
Buffer encode_quorum(const QuorumOrder& order);
// Errors: DataLoss: not one: no number, no groups or one twice, voters that are not 1 to 5 different ones in order.
// Unauthenticated: not the root's.
Result<QuorumOrder> open_quorum(const PublicKey& root, Bytes bytes);

}  // namespace sedge::trust
