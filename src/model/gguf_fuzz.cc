// Any bytes are a GGUF or an error; of a GGUF every view lies inside the file, every value decodes, and writing
// what was read gives a file that reads the same.
#include <cstdlib>

#include "base/assert.h"
#include "model/gguf.h"
#include "model/llama.h"

using namespace sedge;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input(data, size);
  const auto file = model::GgufFile::parse(input);
  if (!file) return 0;
  const auto inside = [&](Bytes view) {
    return view.empty() || (view.data() >= data && view.data() + view.size() <= data + size);
  };
  model::GgufWriter writer;
  for (const auto& entry : file->metadata()) {
    SEDGE_ASSERT(inside(entry.payload) && file->find(entry.key) == &entry);
    (void)entry.describe();
    (void)file->get_uint(entry.key), (void)file->get_int(entry.key), (void)file->get_float(entry.key);
    (void)file->get_string(entry.key), (void)file->get_bool(entry.key), (void)file->get_strings(entry.key);
    (void)file->get_ints(entry.key), (void)file->get_floats(entry.key);
    writer.copy(entry);
  }
  for (const auto& tensor : file->tensors()) {
    SEDGE_ASSERT(inside(tensor.data) && file->find_tensor(tensor.name) == &tensor);
    SEDGE_ASSERT(tensor.data.size() == tensor.rows() * *model::row_bytes(tensor.type, tensor.cols()));
    if (tensor.name.size() < 64) writer.add_tensor(tensor.name, tensor.type, tensor.shape, tensor.data);
  }
  (void)model::load_llama(*file);
  const auto written = writer.to_bytes();
  SEDGE_ASSERT(written.has_value());
  SEDGE_ASSERT(model::GgufFile::parse(*written).has_value());
  return 0;
}
