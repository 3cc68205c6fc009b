// Any bytes as a signed write, then what a node does with them.
#include "base/assert.h"
#include "crdt/replica.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge;
  const auto op = crdt::decode_op({data, size});
  if (!op) return 0;
  SEDGE_ASSERT(crdt::encode_op(*op) == Buffer(data, data + size));
  crdt::Replica replica;
  SEDGE_ASSERT(replica.apply(*op).has_value());
  SEDGE_ASSERT(replica.apply(*op)->outcome == crdt::Merge::kDuplicate);
  (void)replica.read(op->path);
  return 0;
}
