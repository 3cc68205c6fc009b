// Any bytes as a tensor's manifest: what decodes has one encoding, and its chunks add up.
#include "base/assert.h"
#include "mesh/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge;
  const auto manifest = mesh::decode_manifest({data, size});
  if (!manifest) return 0;
  SEDGE_ASSERT(mesh::encode_manifest(*manifest) == Buffer(data, data + size));
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < manifest->chunks.size(); ++i) bytes += manifest->name(i).bytes;
  SEDGE_ASSERT(bytes == manifest->bytes);
  return 0;
}
