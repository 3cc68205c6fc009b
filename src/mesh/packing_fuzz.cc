// Any bytes as a packed payload: it unpacks to no more than is allowed, or is refused; what it unpacks to can be packed
// again, where that pays, and comes back.
#include "base/assert.h"
#include "mesh/packing.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge;
  constexpr std::size_t kMax = 64u << 10;
  const auto plain = mesh::unpack({data, size}, kMax);
  if (!plain) return 0;
  SEDGE_ASSERT(plain->size() <= kMax);
  mesh::Packer packer;
  const auto packed = packer.pack(*plain);
  if (packed) SEDGE_ASSERT(*mesh::unpack(*packed, kMax) == *plain);
  return 0;
}
