// Any bytes as a forced quorum: nothing but the root's own counts, and what decodes has one encoding.
#include <cstdlib>

#include "trust/quorum.h"
#include "trust/testing.h"
#include "wire/comes_back.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge;
  static const trust::testing::Fleet kFleet(1);
  const Bytes bytes(data, size);
  const auto order = trust::open_quorum(kFleet.root.public_key, bytes);
  if (!wire::comes_back<trust::QuorumOrder>(bytes) && order) std::abort();
  return 0;
}
