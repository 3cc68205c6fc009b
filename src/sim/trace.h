// A number for everything that happened: every delivery, link change and membership event, with its time and bytes.
// Two runs with equal traces are the same run. Not cryptographic: nobody attacks a simulation.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/bytes.h"
#include "base/time.h"

namespace sedge::sim {

class Trace {
 public:
  void add(std::uint64_t word) {
    hash_ = (hash_ ^ word) * 0x9E3779B97F4A7C15ULL;
    hash_ ^= hash_ >> 29;
  }
  void add(Instant at) { add(static_cast<std::uint64_t>(at.time_since_epoch().count())); }
  void add(Bytes bytes) {
    add(bytes.size());
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), 8);
      add(word);
    }
    for (const std::uint8_t byte : bytes) add(byte);
  }
  void add(std::string_view text) { add(as_bytes(text)); }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0x5ED6E;
};

}  // namespace sedge::sim
