// Any bytes as a file that an earlier process left: nothing, or what writing the same again gives. What was written
// comes back, and with a byte changed or more it does not.
#include <algorithm>
#include <string>

#include "base/assert.h"
#include "base/bytes.h"
#include "platform/packed_store.h"
#include "platform/prefix_store.h"

using namespace sedge;

namespace {

constexpr trust::Digest kKey{1, 2, 3};

void check_block(Bytes bytes) {
  if (const auto values = platform::read_prefix_block(kKey, bytes)) {
    const Buffer header = platform::prefix_block_header(kKey, *values);
    SEDGE_ASSERT(std::ranges::equal(header, bytes.first(header.size())));
  }
  Buffer file = platform::prefix_block_header(kKey, bytes);
  file.insert(file.end(), bytes.begin(), bytes.end());
  const auto again = platform::read_prefix_block(kKey, file);
  SEDGE_ASSERT(again && std::ranges::equal(*again, bytes));
  file.back() ^= 1;
  SEDGE_ASSERT(!platform::read_prefix_block(kKey, file));
}

void check_header(Bytes bytes) {
  if (const auto hash = platform::read_packed_header(kKey, bytes)) {
    const Buffer header = platform::packed_header(kKey, bytes.size() - platform::kPackedHeaderBytes, *hash);
    SEDGE_ASSERT(std::ranges::equal(header, bytes.first(header.size())));
  }
  const std::string hash(as_text(bytes.first(std::min<std::size_t>(bytes.size(), 128))));
  Buffer file = platform::packed_header(kKey, bytes.size(), hash);
  file.insert(file.end(), bytes.begin(), bytes.end());
  SEDGE_ASSERT(platform::read_packed_header(kKey, file) == hash);
  file.push_back(0);
  SEDGE_ASSERT(!platform::read_packed_header(kKey, file));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check_block({data, size});
  check_header({data, size});
  return 0;
}
