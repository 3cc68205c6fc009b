#include "wire/codec.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "wire/message_type.h"

namespace sedge::wire {
namespace {

enum class Colour : std::uint8_t { kRed, kGreen };
constexpr Colour wire_last(Colour) { return Colour::kGreen; }

struct Inner {
  std::int32_t small = 0;
  std::string text;
  friend bool operator==(const Inner&, const Inner&) = default;
  template <class V>
  void fields(V& visit) {
    visit("small", small);
    visit("text", text);
  }
};

struct Everything {
  bool flag = false;
  std::uint64_t big = 0;
  std::int64_t negative = 0;
  std::uint16_t port = 0;
  double real = 0;
  Colour colour = Colour::kRed;
  NodeId node;
  Sequence sequence;
  Duration pause{};
  Buffer bytes;
  std::vector<Inner> inners;
  std::optional<Inner> maybe;
  friend bool operator==(const Everything&, const Everything&) = default;
  template <class V>
  void fields(V& visit) {
    visit("flag", flag);
    visit("big", big);
    visit("negative", negative);
    visit("port", port);
    visit("real", real);
    visit("colour", colour);
    visit("node", node);
    visit("sequence", sequence);
    visit("pause", pause);
    visit("bytes", bytes);
    visit("inners", inners);
    visit("maybe", maybe);
  }
};

struct List {
  std::vector<std::uint64_t> items;
  template <class V>
  void fields(V& visit) {
    visit("items", items);
  }
};

Everything any_message() {
  Everything m;
  m.flag = *rc::gen::arbitrary<bool>();
  m.big = *rc::gen::arbitrary<std::uint64_t>();
  m.negative = *rc::gen::arbitrary<std::int64_t>();
  m.port = *rc::gen::arbitrary<std::uint16_t>();
  m.real = *rc::gen::arbitrary<double>();
  m.colour = *rc::gen::element(Colour::kRed, Colour::kGreen);
  m.node.bytes = *rc::gen::arbitrary<std::array<std::uint8_t, 16>>();
  m.sequence.value = *rc::gen::arbitrary<std::uint64_t>();
  m.pause = Duration(*rc::gen::arbitrary<std::int64_t>());
  m.bytes = *rc::gen::arbitrary<Buffer>();
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
    m.inners.push_back({*rc::gen::arbitrary<std::int32_t>(), *rc::gen::arbitrary<std::string>()});
  }
  if (*rc::gen::arbitrary<bool>()) m.maybe = Inner{7, *rc::gen::arbitrary<std::string>()};
  return m;
}

TEST(Codec, what_is_encoded_is_decoded) {
  EXPECT_TRUE(rc::check([] {
    const Everything message = any_message();
    RC_ASSERT(decode<Everything>(encode(message)).value() == message);
  }));
}

TEST(Codec, any_bytes_are_a_value_with_that_one_encoding_or_an_error) {
  EXPECT_TRUE(rc::check([](const Buffer& noise) {
    const auto message = decode<Inner>(noise);
    if (message) RC_ASSERT(encode(*message) == noise);
  }));
  EXPECT_TRUE(rc::check([] {
    Buffer bytes = encode(any_message());
    bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] ^= *rc::gen::arbitrary<std::uint8_t>();
    const auto message = decode<Everything>(bytes);
    if (message) RC_ASSERT(encode(*message) == bytes);
  }));
}

TEST(Codec, a_cut_message_names_the_field_and_the_offset) {
  Buffer bytes = encode(Inner{3, "hello"});
  bytes.pop_back();
  EXPECT_EQ(decode<Inner>(bytes).error().message, "field 'text' at offset 2: longer than the message");
  bytes = encode(Inner{3, "hello"});
  bytes.push_back(0);
  EXPECT_EQ(decode<Inner>(bytes).error().message, "1 bytes after the message's end, at offset 7");
}

TEST(Codec, a_count_beyond_the_message_allocates_nothing) {
  const Buffer bytes = {0xff, 0xff, 0xff, 0xff, 0x0f};
  EXPECT_EQ(decode<List>(bytes).error().message, "field 'items' at offset 5: more items than bytes");
}

}  // namespace
}  // namespace sedge::wire
