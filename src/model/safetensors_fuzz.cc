// Any bytes are safetensors or an error; the tensors tile the data behind the header.
#include "base/assert.h"
#include "model/safetensors.h"

using namespace sedge;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = model::SafetensorsFile::parse(Bytes(data, size));
  if (!file) return 0;
  std::size_t total = 0;
  for (const auto& tensor : file->tensors()) {
    total += tensor.data.size();
    SEDGE_ASSERT(tensor.data.empty() ||
                 (tensor.data.data() >= data + 8 && tensor.data.data() + tensor.data.size() <= data + size));
    SEDGE_ASSERT(file->find(tensor.name) == &tensor);
  }
  SEDGE_ASSERT(total <= size);
  return 0;
}
