// Any bytes are a llama2.c checkpoint or an error; its tensors lie inside the file.
#include "base/assert.h"
#include "model/import_source.h"

using namespace sedge;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto checkpoint = model::parse_llama2c(Bytes(data, size));
  if (!checkpoint) return 0;
  SEDGE_ASSERT(model::check_llama_config(checkpoint->config).has_value());
  for (const auto& tensor : checkpoint->tensors) {
    for (const Bytes piece : tensor.pieces) {
      SEDGE_ASSERT(piece.data() >= data && piece.data() + piece.size() <= data + size);
    }
  }
  return 0;
}
