// The frame reader on any bytes, cut into packets in two ways: it gives the same frames either way, or refuses.
#include <cstdlib>
#include <vector>

#include "quic/streams.h"

namespace {

std::vector<sedge::Buffer> frames(sedge::Bytes bytes, std::size_t packet) {
  sedge::quic::FrameReader reader;
  std::vector<sedge::Buffer> out;
  sedge::Buffer frame;
  while (!bytes.empty()) {
    sedge::Bytes in = bytes.first(std::min(packet, bytes.size()));
    bytes = bytes.subspan(in.size());
    while (!in.empty()) {
      const auto whole = reader.next(in, frame);
      if (!whole) return out;
      if (*whole) out.push_back(frame);
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (frames({data, size}, 7) != frames({data, size}, 1200)) std::abort();
  return 0;
}
