// Any bytes cut into files are the parts of one model or an error; of a model every tensor lies inside one part, is
// found by its name, and there are as many as the parts say.
//
// The input: how many parts (a byte), the size of each but the last (four bytes, little-endian), the parts.
#include <algorithm>
#include <vector>

#include "base/assert.h"
#include "model/gguf.h"
#include "model/llama.h"

using namespace sedge;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kPartsMax = 8;
  Bytes rest(data, size);
  const auto take = [&](std::size_t bytes) {
    const Bytes taken = rest.first(std::min(bytes, rest.size()));
    rest = rest.subspan(taken.size());
    return taken;
  };
  const Bytes first = take(1);
  const std::size_t count = first.empty() ? 0 : first[0] % (kPartsMax + 1);
  std::vector<std::size_t> sizes;
  for (std::size_t i = 1; i < count; ++i) {
    std::size_t bytes = 0;
    const Bytes text = take(4);
    for (std::size_t k = text.size(); k-- > 0;) bytes = bytes << 8 | text[k];
    sizes.push_back(bytes);
  }
  std::vector<Bytes> parts;
  for (const std::size_t bytes : sizes) parts.push_back(take(bytes));
  if (count > 0) parts.push_back(rest);

  const auto file = model::GgufFile::parse(parts);
  if (!file) return 0;
  SEDGE_ASSERT(!parts.empty());
  for (const auto& tensor : file->tensors()) {
    const auto inside = [&](Bytes part) {
      return tensor.data.data() >= part.data() && tensor.data.data() + tensor.data.size() <= part.data() + part.size();
    };
    SEDGE_ASSERT(std::ranges::any_of(parts, inside));
    SEDGE_ASSERT(file->find_tensor(tensor.name) == &tensor);
  }
  SEDGE_ASSERT(!file->has("split.tensors.count") ||
               file->get_uint("split.tensors.count").value_or(0) == file->tensors().size());
  std::size_t bytes = 0;
  for (const Bytes part : parts) bytes += part.size();
  SEDGE_ASSERT(file->file_bytes() == bytes);
  (void)model::load_llama(*file);
  return 0;
}
