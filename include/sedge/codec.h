// Values of your own types as the bytes of messages and entries: Codec<T>, and one description that gives both ways.
//
//   struct Pose {
//     double x_m = 0, y_m = 0;
//     std::optional<float> heading_rad;
//     std::uint8_t battery_percent = 100;  // since version 2
//     template <class V>
//     void fields(V& visit) {
//       visit("x_m", x_m);
//       visit("y_m", y_m);
//       visit("heading_rad", heading_rad);
//       visit.added("battery_percent", battery_percent);
//     }
//   };
//
// Which types: bool, integers, char, float, double, enums, std::string, std::chrono::duration, std::vector,
// std::array and std::optional of these, and structs that list their fields as above, at any depth up to 16. For any
// other, or for another form (JSON, protobuf), specialise Codec. Bytes are the same on every machine: little-endian, of
// fixed width, IEEE 754 (docs/formats/typed.md). Give integers by width (std::int32_t): `long` is not one size
// everywhere.
//
// Structs grow at their end. A field that a later version appends is visited by `added`: who reads an older message
// keeps that field's default, and who reads a newer one skips what it does not know; nested structs likewise. Any other
// change (a field removed, reordered, of another type) is another type: give it another topic. That every field may be
// missing, as in protobuf, was rejected: a struct that was cut short or is not of this type would be read as one full
// of zeros, and a robot would drive by it. Memory images (memcpy) were rejected for padding, byte order and pointers.
//
// Decoding is total: any bytes give a value or an error that names the field and the offset; nothing is allocated
// before the bytes that fill it are known to be there. Threads: re-entrant.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "sedge/sedge.h"

namespace sedge::robot {

// Specialise it for a type of yours that cannot list its fields:
//   template <>
//   struct sedge::robot::Codec<Picture> {
//     static void encode(const Picture& picture, std::string& out);         // appends
//     static Result<Picture> decode(std::string_view bytes);                // of any bytes; DataLoss: they are none
//   };
template <class T>
struct Codec;

template <class T>
concept Encodable = std::default_initializable<T> && std::movable<T> &&
                    requires(const T& value, std::string& out, std::string_view in) {
                      { Codec<T>::encode(value, out) } -> std::same_as<void>;
                      { Codec<T>::decode(in) } -> std::same_as<Result<T>>;
                    };

class Encoder;
class Decoder;

template <class T>
concept ListsFields = std::is_class_v<T> && requires(T& value, Encoder& encoder, Decoder& decoder) {
  value.fields(encoder);
  value.fields(decoder);
};

// An enum may declare its last value, to be found by ADL: `constexpr Gait last_value(Gait) { return Gait::kTrot; }`.
// Then what lies outside of 0 to that value is malformed; else any value of its underlying type comes through, and a
// switch over it needs a default.
template <class T>
concept BoundedEnum = std::is_enum_v<T> && requires(T value) {
  { last_value(value) } -> std::same_as<T>;
};

namespace detail {

struct BuiltIn {};  // base of the Codecs of this header

// Declared elsewhere than here: nested, it is a string of bytes to us.
template <class T>
concept OwnCodec = Encodable<T> && !std::derived_from<Codec<T>, BuiltIn>;

template <class T>
concept Scalar = (std::integral<T> && !std::same_as<T, wchar_t>) || std::same_as<T, float> || std::same_as<T, double>;

// An enum without a fixed underlying type has no defined value for most of its bytes.
template <class T>
concept FixedEnum =
    std::is_enum_v<T> && Scalar<std::underlying_type_t<T>> && requires { T{std::underlying_type_t<T>{}}; };

template <class T>
struct Shape {
  static constexpr bool kKnown = Scalar<T> || FixedEnum<T> || ListsFields<T> || std::same_as<T, std::string>;
};
template <class Rep, class Period>
struct Shape<std::chrono::duration<Rep, Period>> {
  static constexpr bool kKnown = Scalar<Rep>;
};
template <class T>
struct Shape<std::vector<T>> {
  static constexpr bool kKnown = Encodable<T> && !std::same_as<T, bool>;  // of bool it has no elements
};
template <class T, std::size_t N>
struct Shape<std::array<T, N>> {
  static constexpr bool kKnown = Encodable<T>;
  static_assert(N > 0, "Sedge: an array without elements takes no bytes, so a count of them says nothing");
};
template <class T>
struct Shape<std::optional<T>> {
  static constexpr bool kKnown = Encodable<T>;
};

template <class T>
concept Known = Shape<T>::kKnown;

template <class T>
concept Byte = std::same_as<T, std::byte> || std::same_as<T, std::uint8_t>;

// Bytes that are the whole message as they are.
template <class T>
concept Raw = std::same_as<T, std::string> || std::same_as<T, std::vector<std::byte>> ||
              std::same_as<T, std::vector<std::uint8_t>>;

template <std::size_t Bytes>
using Bits = std::conditional_t<
    Bytes == 1, std::uint8_t,
    std::conditional_t<Bytes == 2, std::uint16_t, std::conditional_t<Bytes == 4, std::uint32_t, std::uint64_t>>>;

}  // namespace detail

// What fields() is given to write with. For fields(), not for calling.
class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  template <class T>
  void operator()(const char* /*name*/, const T& value) {
    static_assert(Encodable<T>,
                  "Sedge: this field's type has no Codec: give it fields(visit), or specialise sedge::robot::Codec");
    put(value);
  }
  template <class T>
  void added(const char* name, const T& value) {
    (*this)(name, value);
  }

  template <class T>
  void put(const T& value) {
    if constexpr (detail::OwnCodec<T>)
      sized([&] { Codec<T>::encode(value, out_); });
    else if constexpr (std::is_enum_v<T>)
      put(static_cast<std::underlying_type_t<T>>(value));
    else if constexpr (detail::Scalar<T>)
      scalar(value);
    else
      sized([&] { fields_of(value); });
  }
  void put(const std::string& text) {
    sized([&] { out_ += text; });
  }
  template <class Rep, class Period>
    requires(!detail::OwnCodec<std::chrono::duration<Rep, Period>>)
  void put(const std::chrono::duration<Rep, Period>& time) {
    put(time.count());
  }
  template <class T>
    requires(!detail::OwnCodec<std::vector<T>>)
  void put(const std::vector<T>& items) {
    put(static_cast<std::uint32_t>(items.size()));
    each(items);
  }
  template <class T, std::size_t N>
    requires(!detail::OwnCodec<std::array<T, N>>)
  void put(const std::array<T, N>& items) {
    each(items);
  }
  template <class T>
    requires(!detail::OwnCodec<std::optional<T>>)
  void put(const std::optional<T>& item) {
    put(item.has_value());
    if (item) put(*item);
  }

  template <ListsFields T>
  void fields_of(const T& value) {
    const_cast<T&>(value).fields(*this);  // fields() is shared with decoding; an Encoder only reads
  }

 private:
  template <class T>
  void scalar(T value) {
    detail::Bits<sizeof(T)> bits{};
    if constexpr (std::same_as<T, bool>)
      bits = value ? 1 : 0;
    else
      bits = std::bit_cast<detail::Bits<sizeof(T)>>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i)
      out_.push_back(static_cast<char>(static_cast<std::uint8_t>(std::uint64_t{bits} >> (8 * i))));
  }
  template <class Items>
  void each(const Items& items) {
    if constexpr (detail::Byte<typename Items::value_type>)
      out_.append(reinterpret_cast<const char*>(items.data()), items.size());
    else
      for (const auto& item : items) put(item);
  }
  // What `write` appends, behind its length. A length that 32 bits cannot tell is of a message that no call takes.
  template <class Write>
  void sized(Write write) {
    const std::size_t at = out_.size();
    out_.append(4, '\0');
    write();
    const auto size = static_cast<std::uint32_t>(out_.size() - at - 4);
    for (std::size_t i = 0; i < 4; ++i) out_[at + i] = static_cast<char>(static_cast<std::uint8_t>(size >> (8 * i)));
  }

  std::string& out_;
};

// What fields() is given to read with. For fields(), not for calling.
class Decoder {
 public:
  static constexpr int kDepthMax = 16;

  explicit Decoder(std::string_view in) : in_(in), end_(in.size()) {}

  // After the first failure every field keeps what it has, and finish() tells the first failure.
  template <class T>
  void operator()(const char* name, T& value) {
    static_assert(Encodable<T>,
                  "Sedge: this field's type has no Codec: give it fields(visit), or specialise sedge::robot::Codec");
    if (failed_) return;
    const char* const outer = std::exchange(field_, name);
    get(value);
    if (!failed_) field_ = outer;
  }
  template <class T>
  void added(const char* name, T& value) {
    if (at_ < end_) (*this)(name, value);  // else the writer knew of no such field
  }

  template <class T>
  void get(T& value) {
    if constexpr (detail::OwnCodec<T>)
      own(value);
    else if constexpr (std::is_enum_v<T>)
      enumerator(value);
    else if constexpr (detail::Scalar<T>)
      scalar(value);
    else
      within([&] { value.fields(*this); });
  }
  void get(std::string& text) { text = raw(count()); }
  template <class Rep, class Period>
    requires(!detail::OwnCodec<std::chrono::duration<Rep, Period>>)
  void get(std::chrono::duration<Rep, Period>& time) {
    Rep ticks{};
    get(ticks);
    time = std::chrono::duration<Rep, Period>(ticks);
  }
  template <class T>
    requires(!detail::OwnCodec<std::vector<T>>)
  void get(std::vector<T>& items) {
    const std::uint32_t size = count();
    if (size > left()) return refuse("more items than bytes");  // every item takes a byte or more
    items.clear();
    if constexpr (detail::Byte<T>) {
      items.resize(size);
      copy(items.data(), size);
    } else {
      for (std::uint32_t i = 0; i < size && !failed_; ++i) get(items.emplace_back());
    }
  }
  template <class T, std::size_t N>
    requires(!detail::OwnCodec<std::array<T, N>>)
  void get(std::array<T, N>& items) {
    if constexpr (detail::Byte<T>)
      copy(items.data(), N);
    else
      for (T& item : items) get(item);
  }
  template <class T>
    requires(!detail::OwnCodec<std::optional<T>>)
  void get(std::optional<T>& item) {
    bool there = false;
    get(there);
    item.reset();
    if (there && !failed_) get(item.emplace());
  }

  // `grown`: a struct, whose end may hold fields that this version does not know.
  Status finish(bool grown) {
    if (!failed_ && !grown && at_ != end_) refuse("bytes after the value's end");
    if (!failed_) return {};
    return std::unexpected(
        Error{Code::kDataLoss, "field '" + std::string(field_) + "' at byte " + std::to_string(at_) + ": " + why_});
  }

 private:
  std::size_t left() const { return end_ - at_; }
  void refuse(const char* why) {
    if (std::exchange(failed_, true)) return;
    why_ = why;
  }

  std::string_view raw(std::size_t size) {
    if (failed_) return {};
    if (size > left()) return refuse("cut short"), std::string_view{};
    return in_.substr(std::exchange(at_, at_ + size), size);
  }
  void copy(void* to, std::size_t size) {
    const std::string_view from = raw(size);
    if (!from.empty()) std::memcpy(to, from.data(), from.size());
  }
  std::uint32_t count() {
    std::uint32_t size = 0;
    scalar(size);
    return size;
  }

  template <class T>
  void scalar(T& value) {
    const std::string_view bytes = raw(sizeof(T));
    if (failed_) return;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) bits |= std::uint64_t{static_cast<std::uint8_t>(bytes[i])} << (8 * i);
    if constexpr (std::same_as<T, bool>) {
      if (bits > 1) return refuse("neither 0 nor 1");
      value = bits == 1;
    } else {
      value = std::bit_cast<T>(static_cast<detail::Bits<sizeof(T)>>(bits));
    }
  }
  template <class T>
  void enumerator(T& value) {
    std::underlying_type_t<T> number{};
    get(number);
    if (failed_) return;
    if constexpr (BoundedEnum<T>) {
      const auto last = static_cast<std::underlying_type_t<T>>(last_value(T{}));
      if (number < std::underlying_type_t<T>{} || number > last) return refuse("unknown value");
    }
    value = static_cast<T>(number);
  }
  template <class T>
  void own(T& value) {
    const std::size_t from = at_;
    auto decoded = Codec<T>::decode(raw(count()));
    if (failed_) return;
    if (decoded) return static_cast<void>(value = *std::move(decoded));
    at_ = from;
    refuse(decoded.error().message.c_str());
  }
  // A nested struct: it ends where its length says, whatever this version knows of it.
  template <class Read>
  void within(Read read) {
    const std::uint32_t size = count();
    if (size > left()) return refuse("cut short");
    if (++depth_ > kDepthMax) return refuse("nested too deep");
    const std::size_t outer = std::exchange(end_, at_ + size);
    read();
    if (failed_) return;
    at_ = std::exchange(end_, outer);
    --depth_;
  }

  std::string_view in_;
  std::size_t at_ = 0;
  std::size_t end_;  // of the struct that is read
  int depth_ = 0;
  const char* field_ = "value";
  bool failed_ = false;
  std::string why_;
};

// The Codec of the types of this header. Errors (decode): DataLoss: drop it, count it.
template <detail::Known T>
struct Codec<T> : detail::BuiltIn {
  static void encode(const T& value, std::string& out) {
    if constexpr (detail::Raw<T>) {
      out.append(reinterpret_cast<const char*>(value.data()), value.size());
    } else if constexpr (ListsFields<T>) {
      Encoder(out).fields_of(value);
    } else {
      Encoder(out).put(value);
    }
  }
  static Result<T> decode(std::string_view bytes) {
    T value{};
    if constexpr (detail::Raw<T>) {
      value.resize(bytes.size());
      if (!bytes.empty()) std::memcpy(value.data(), bytes.data(), bytes.size());
    } else {
      Decoder decoder(bytes);
      if constexpr (ListsFields<T>)
        value.fields(decoder);
      else
        decoder.get(value);
      if (auto whole = decoder.finish(ListsFields<T>); !whole) return std::unexpected(std::move(whole.error()));
    }
    return value;
  }
};

template <class T>
std::string encode(const T& value) {
  static_assert(Encodable<T>,
                "Sedge: this type has no Codec: give it fields(visit), or specialise sedge::robot::Codec");
  std::string bytes;
  Codec<T>::encode(value, bytes);
  return bytes;
}
// Errors: DataLoss: they are no T.
template <class T>
Result<T> decode(std::string_view bytes) {
  static_assert(Encodable<T>,
                "Sedge: this type has no Codec: give it fields(visit), or specialise sedge::robot::Codec");
  return Codec<T>::decode(bytes);
}

}  // namespace sedge::robot
