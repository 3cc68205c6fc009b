// Fewer bytes for what repeats itself: where the network costs more than the processor.
//
// On a radio a byte is airtime and battery, and what robots say (JSON, paths, numbers that hardly change) repeats
// itself; on a cable between two processes the same work only delays the message. So a payload is packed where it is
// large enough to hold repetition, goes over a link whose round trip is no cable's, and where packing lately paid:
// after pictures and other random bytes it is tried on fewer and fewer payloads. zstd, level 1. LZ4 was rejected: it is
// faster than any radio needs, and leaves more bytes.
// What is packed is packed by its origin and then signed: relays pass it on as it is, and nobody packs it twice.
// Sources: RFC 8878 (frames with their size). Threads: each thread has buffers of its own, 0.7 MB once used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"

namespace sedge::mesh {

inline constexpr std::size_t kPackBytesMin = 512;
inline constexpr Duration kCableRoundTrip = 500us;  // loopback stays far below; Ethernet and radios were not measured

struct PackStats {
  std::uint64_t packed = 0;       // payloads
  std::uint64_t bytes_plain = 0;  // of these
  std::uint64_t bytes_packed = 0;
};

class Packer {
 public:
  // None: too small, or it did not pay, or has not lately.
  std::optional<Buffer> pack(Bytes plain);
  const PackStats& stats() const { return stats_; }

 private:
  std::uint32_t pause_ = 0;  // after the last one that did not pay: payloads
  std::uint32_t skips_ = 0;  // of these still to come
  PackStats stats_;
};

// Errors: DataLoss: no packed payload, or of more than `bytes_max`. Never allocates more than that.
Result<Buffer> unpack(Bytes packed, std::size_t bytes_max);

}  // namespace sedge::mesh
