// Ids as types, so that swapped arguments do not compile.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "base/bytes.h"

namespace sedge {

// A number with a name: Incarnation, BootEpoch, Sequence. The tag is any type, never defined.
template <class Tag>
struct Number {
  std::uint64_t value = 0;
  friend auto operator<=>(const Number&, const Number&) = default;
  Number& operator++() {
    ++value;
    return *this;
  }
};

// Random or hashed 128 bits: NodeId, TaskId. 128 bits make an accidental collision impossible in practice;
// a node id is a hash of its key, so a chosen collision costs 2^64 enrolments.
template <class Tag>
struct Id128 {
  std::array<std::uint8_t, 16> bytes{};
  friend bool operator==(const Id128&, const Id128&) = default;
  // Byte by byte, as memcmp; by halves, because tables of a thousand nodes spend their time in here.
  friend std::strong_ordering operator<=>(const Id128& a, const Id128& b) {
    const auto [a0, a1] = a.halves();
    const auto [b0, b1] = b.halves();
    return a0 != b0 ? a0 <=> b0 : a1 <=> b1;
  }
  bool is_zero() const { return *this == Id128{}; }
  Bytes view() const { return bytes; }
  std::string hex() const { return to_hex(bytes); }
  // The first eight hex digits: what people see in a table.
  std::string short_hex() const { return to_hex(Bytes(bytes).first(4)); }

 private:
  std::array<std::uint64_t, 2> halves() const {  // as big-endian numbers
    auto both = std::bit_cast<std::array<std::uint64_t, 2>>(bytes);
    if constexpr (std::endian::native == std::endian::little) {
      for (std::uint64_t& half : both) half = std::byteswap(half);
    }
    return both;
  }
};

template <class IdType>
Result<IdType> id_from_bytes(Bytes bytes) {
  IdType id;
  if (bytes.size() != id.bytes.size()) {
    return fail(Code::kInvalidArgument, "an id has {} bytes, this has {}", id.bytes.size(), bytes.size());
  }
  std::memcpy(id.bytes.data(), bytes.data(), bytes.size());
  return id;
}

using NodeId = Id128<struct NodeIdTag>;             // first 16 bytes of BLAKE2b-256 of the node's public key
using TaskId = Id128<struct TaskIdTag>;             // random, drawn by the client
using Incarnation = Number<struct IncarnationTag>;  // SWIM's refutation counter
using BootEpoch = Number<struct BootEpochTag>;      // counts starts of a node; persisted before first use
using Sequence = Number<struct SequenceTag>;        // counts a node's writes within one boot epoch, from 1

}  // namespace sedge

template <class Tag>
struct std::hash<sedge::Id128<Tag>> {
  std::size_t operator()(const sedge::Id128<Tag>& id) const noexcept {
    std::uint64_t low = 0;
    std::memcpy(&low, id.bytes.data(), sizeof low);  // already uniformly distributed
    return static_cast<std::size_t>(low);
  }
};

template <class Tag>
struct std::hash<sedge::Number<Tag>> {
  std::size_t operator()(const sedge::Number<Tag>& number) const noexcept {
    return static_cast<std::size_t>(number.value * 0x9E3779B97F4A7C15ULL);
  }
};
