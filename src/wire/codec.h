// Messages to bytes and back, from one description. A message lists its fields once:
//
//   struct Ping {
//     std::uint64_t number = 0;
//     NodeId target;
//     template <class V> void fields(V& visit) { visit("number", number); visit("target", target); }
//   };
//
// and encode(ping) / decode<Ping>(bytes) follow. Two hand-written functions a message were rejected: they drift apart.
// Numbers are LEB128 varints (signed ones zigzag), floats little-endian IEEE, ids and arrays raw, strings and lists
// prefixed by their count. Decoding is total: any bytes give a value or an error that names the field and the
// offset; nothing is allocated before the bytes that fill it are known to be there; trailing bytes are an error,
// so each value has one encoding (non-canonical varints are refused too).
// Grammar: docs/formats/wire.md.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"

namespace sedge::wire {

template <class T, class Visitor>
concept HasFields = requires(T& value, Visitor& visit) { value.fields(visit); };

// An enum on the wire declares its last value: `constexpr Kind wire_last(Kind) { return Kind::kLast; }`, found by ADL.
template <class T>
concept WireEnum = std::is_enum_v<T> && requires(T value) {
  { wire_last(value) } -> std::same_as<T>;
};

class Encoder {
 public:
  // What is encoded goes behind `before`.
  explicit Encoder(Buffer before = {}) : out_(std::move(before)) {}

  template <class T>
  void operator()(const char* /*name*/, const T& value) {
    put(value);
  }

  Buffer take() { return std::move(out_); }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<std::uint8_t>(value | 0x80));
    out_.push_back(static_cast<std::uint8_t>(value));
  }
  void raw(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }

  void put(bool value) { out_.push_back(value ? 1 : 0); }
  template <std::unsigned_integral T>
  void put(T value) {
    varint(value);
  }
  template <std::signed_integral T>
  void put(T value) {
    const auto wide = static_cast<std::int64_t>(value);
    varint(static_cast<std::uint64_t>(wide) << 1 ^ static_cast<std::uint64_t>(wide >> 63));
  }
  void put(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    for (int shift = 0; shift < 64; shift += 8) out_.push_back(static_cast<std::uint8_t>(bits >> shift));
  }
  template <WireEnum T>
  void put(T value) {
    varint(static_cast<std::uint64_t>(value));
  }
  void put(Duration value) { put(static_cast<std::int64_t>(value.count())); }
  template <class Tag>
  void put(Number<Tag> value) {
    varint(value.value);
  }
  template <class Tag>
  void put(const Id128<Tag>& id) {
    raw(id.bytes);
  }
  template <std::size_t N>
  void put(const std::array<std::uint8_t, N>& bytes) {
    raw(bytes);
  }
  void put(const std::string& text) { put(as_bytes(text)); }
  void put(std::string_view text) { put(as_bytes(text)); }
  void put(const Buffer& bytes) { put(Bytes(bytes)); }
  void put(Bytes bytes) {
    varint(bytes.size());
    raw(bytes);
  }
  template <class T>
  void put(std::span<const T> items) {
    varint(items.size());
    for (const T& item : items) put(item);
  }
  template <class T>
  void put(const std::vector<T>& items) {
    put(std::span<const T>(items));
  }
  template <class T>
  void put(const std::optional<T>& item) {
    put(item.has_value());
    if (item) put(*item);
  }
  template <class T>
    requires HasFields<T, Encoder>
  void put(const T& value) {
    const_cast<T&>(value).fields(*this);  // fields() is shared with decoding; an Encoder only reads
  }

  Buffer out_;
};

class Decoder {
 public:
  explicit Decoder(Bytes in) : in_(in) {}

  // After the first failure every field keeps its default, and finish() tells the first failure.
  template <class T>
  void operator()(const char* name, T& value) {
    if (failed()) return;
    const char* const outer = field_;
    field_ = name;
    get(value);
    if (!failed()) field_ = outer;
  }

  Status finish() {
    if (failed()) return std::unexpected(error_);
    if (at_ != in_.size()) {
      return fail(Code::kDataLoss, "{} bytes after the message's end, at offset {}", in_.size() - at_, at_);
    }
    return {};
  }

 private:
  bool failed() const { return !error_.message.empty(); }
  std::size_t left() const { return in_.size() - at_; }
  void refuse(const char* why) {
    if (!failed()) error_ = {Code::kDataLoss, fmt::format("field '{}' at offset {}: {}", field_, at_, why)};
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (left() == 0) return refuse("cut short"), 0;
      const std::uint8_t byte = in_[at_++];
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if ((byte == 0 && shift > 0) || (shift == 63 && byte > 1)) return refuse("not a canonical varint"), 0;
        return value;
      }
    }
    return refuse("a varint longer than 10 bytes"), 0;
  }
  Bytes raw(std::uint64_t count) {
    if (count > left()) return refuse("longer than the message"), Bytes{};
    const Bytes bytes = in_.subspan(at_, static_cast<std::size_t>(count));
    at_ += static_cast<std::size_t>(count);
    return bytes;
  }

  void get(bool& value) {
    const std::uint64_t raw_value = varint();
    if (raw_value > 1) refuse("neither 0 nor 1");
    value = raw_value == 1;
  }
  template <std::unsigned_integral T>
  void get(T& value) {
    const std::uint64_t wide = varint();
    if (wide > std::numeric_limits<T>::max()) return refuse("number out of range");
    value = static_cast<T>(wide);
  }
  template <std::signed_integral T>
  void get(T& value) {
    const std::uint64_t zigzag = varint();
    const auto wide = static_cast<std::int64_t>(zigzag >> 1 ^ (0 - (zigzag & 1)));
    if (wide < std::numeric_limits<T>::min() || wide > std::numeric_limits<T>::max()) {
      return refuse("number out of range");
    }
    value = static_cast<T>(wide);
  }
  void get(double& value) {
    const Bytes bytes = raw(8);
    if (failed()) return;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 8; ++i) bits |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
    value = std::bit_cast<double>(bits);
  }
  template <WireEnum T>
  void get(T& value) {
    const std::uint64_t wide = varint();
    if (wide > static_cast<std::uint64_t>(wire_last(T{}))) return refuse("unknown value");
    value = static_cast<T>(wide);
  }
  void get(Duration& value) {
    std::int64_t count = 0;
    get(count);
    value = Duration(count);
  }
  template <class Tag>
  void get(Number<Tag>& value) {
    value.value = varint();
  }
  template <class Tag>
  void get(Id128<Tag>& id) {
    get(id.bytes);
  }
  template <std::size_t N>
  void get(std::array<std::uint8_t, N>& bytes) {
    const Bytes from = raw(N);
    if (!failed()) std::memcpy(bytes.data(), from.data(), N);
  }
  void get(std::string& text) { text = as_text(raw(varint())); }
  void get(Buffer& bytes) { bytes = to_buffer(raw(varint())); }
  // Views of the bytes that are decoded, for what is read on the spot.
  void get(std::string_view& text) { text = as_text(raw(varint())); }
  void get(Bytes& bytes) { bytes = raw(varint()); }
  template <class T>
  void get(std::vector<T>& items) {
    const std::uint64_t count = varint();
    if (count > left()) return refuse("more items than bytes");  // every item takes a byte or more
    items.clear();
    for (std::uint64_t i = 0; i < count && !failed(); ++i) get(items.emplace_back());
  }
  template <class T>
  void get(std::optional<T>& item) {
    bool there = false;
    get(there);
    if (there && !failed()) get(item.emplace());
  }
  template <class T>
    requires HasFields<T, Decoder>
  void get(T& value) {
    if (++depth_ > 16) return refuse("nested too deep");
    value.fields(*this);
    --depth_;
  }

  Bytes in_;
  std::size_t at_ = 0;
  int depth_ = 0;
  const char* field_ = "message";
  Error error_;
};

// `before`: bytes that the message is appended to.
template <class T>
Buffer encode(const T& message, Buffer before = {}) {
  Encoder encoder(std::move(before));
  const_cast<T&>(message).fields(encoder);
  return encoder.take();
}

// Errors: DataLoss: drop the message, count it against the peer.
template <class T>
Result<T> decode(Bytes bytes) {
  T message;
  Decoder decoder(bytes);
  message.fields(decoder);
  SEDGE_CHECK(decoder.finish());
  return message;
}

}  // namespace sedge::wire
