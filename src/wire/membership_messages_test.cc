#include "wire/membership_messages.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::wire {
namespace {

std::uint64_t any() { return *rc::gen::arbitrary<std::uint64_t>(); }
bool flip() { return any() % 2 == 0; }
template <class Array>
Array any_array() {
  return *rc::gen::arbitrary<Array>();
}
NodeId any_node() { return {any_array<std::array<std::uint8_t, 16>>()}; }
Buffer any_bytes() { return *rc::gen::arbitrary<Buffer>(); }
template <class Make>
auto some(Make make) {
  std::vector<decltype(make())> items;
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) items.push_back(make());
  return items;
}
Address any_address() { return {any_array<std::array<std::uint8_t, 16>>(), static_cast<std::uint16_t>(any())}; }
std::optional<Coordinate> any_coordinate() {
  if (flip()) return std::nullopt;
  return Coordinate{static_cast<std::int32_t>(any()), static_cast<std::int32_t>(any()),
                    static_cast<std::uint32_t>(any()), static_cast<std::uint16_t>(any())};
}
std::optional<OverlayRole> any_role() {
  if (flip()) return std::nullopt;
  return OverlayRole{static_cast<OverlayKind>(any() % 6), static_cast<std::uint16_t>(any()),
                     static_cast<std::uint16_t>(any()), *rc::gen::arbitrary<std::string>()};
}
MemberRecord any_record() {
  return {
      any_node(), {any()},          any(),     {any()}, flip(), *rc::gen::arbitrary<std::string>(), some(any_address),
      any(),      any_coordinate(), any_role()};
}
Rumour any_rumour() { return {any_node(), {any()}, {any()}, static_cast<MemberState>(any() % 4)}; }
SignedMember any_signed() { return {encode(any_record()), any_array<RawSignature>(), any_bytes()}; }

template <class T>
bool comes_back(const T& message) {
  return decode<T>(encode(message)).value() == message;
}

TEST(MembershipMessages, come_back_from_their_bytes) {
  EXPECT_TRUE(rc::check([] {
    RC_ASSERT(comes_back(any_record()));
    RC_ASSERT(comes_back(MemberSync{flip(), any(), some(any_rumour)}));
    RC_ASSERT(comes_back(MemberDigests{any_array<std::array<std::uint64_t, kMemberBuckets>>()}));
    RC_ASSERT(comes_back(MemberGossip{some(any_signed), some(any_rumour)}));
    RC_ASSERT(comes_back(Probe{any(), any(), flip(), static_cast<std::uint16_t>(any())}));
    RC_ASSERT(comes_back(ProbeAck{any(), any(), any(), any(), static_cast<std::uint16_t>(any()), any_coordinate()}));
    RC_ASSERT(comes_back(ProbeRequest{any(), any_node()}));
    RC_ASSERT(comes_back(ProbeVerdict{any(), any_node()}));
    RC_ASSERT(comes_back(MemberLink{flip()}));
    RC_ASSERT(comes_back(Leave{}));
  }));
}

TEST(MembershipMessages, any_bytes_are_a_message_or_an_error) {
  EXPECT_TRUE(rc::check([](const Buffer& bytes) {
    (void)decode<MemberRecord>(bytes);
    (void)decode<MemberSync>(bytes);
    (void)decode<MemberDigests>(bytes);
    (void)decode<MemberGossip>(bytes);
  }));
}

TEST(MembershipMessages, an_unknown_state_is_refused) {
  Buffer bytes = encode(Rumour{});
  bytes.back() = 4;
  EXPECT_FALSE(decode<Rumour>(bytes));
}

}  // namespace
}  // namespace sedge::wire
