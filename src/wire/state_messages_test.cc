#include "wire/state_messages.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "wire/codec.h"

namespace sedge::wire {
namespace {

std::uint64_t any() { return *rc::gen::arbitrary<std::uint64_t>(); }
NodeId any_node() {
  NodeId id;
  id.bytes = *rc::gen::arbitrary<std::array<std::uint8_t, 16>>();
  return id;
}
template <class Make>
auto some(Make make) {
  std::vector<decltype(make())> items;
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) items.push_back(make());
  return items;
}
StateSpan any_span() { return {{any()}, {any()}}; }
StateEpoch any_epoch() { return {{any()}, some(any_span)}; }
StateRow any_row() { return {any_node(), {any()}, some(any_epoch)}; }
StateCover any_cover() { return {any_node(), {any()}, any_span()}; }
StateDigest any_digest() { return {any(), any(), any(), any()}; }
StateLife any_life() { return {{any()}, {any()}}; }
Buffer any_bytes() { return *rc::gen::arbitrary<Buffer>(); }

template <class T>
bool comes_back(const T& message) {
  return decode<T>(encode(message)).value() == message;
}

TEST(StateMessages, come_back_from_their_bytes) {
  EXPECT_TRUE(rc::check([] {
    RC_ASSERT(comes_back(StateVector{any_digest(), any(), any() % 2 == 0, any() % 2 == 0, some(any_row)}));
    RC_ASSERT(comes_back(
        StateOps{some(any_bytes), some(any_bytes), some(any_cover), any_digest(), static_cast<OpsPart>(any() % 4)}));
    RC_ASSERT(comes_back(StateStale{some(any_row)}));
    RC_ASSERT(comes_back(StateGone{any(), some(any_row), some(any_row)}));
    RC_ASSERT(comes_back(StateSeen{any(), any(), some(any_life)}));
    RC_ASSERT(comes_back(StateFrontier{any(), any()}));
  }));
}

TEST(StateMessages, any_bytes_are_a_message_or_an_error) {
  EXPECT_TRUE(rc::check([](const Buffer& bytes) {
    (void)decode<StateVector>(bytes);
    (void)decode<StateOps>(bytes);
    (void)decode<StateStale>(bytes);
    (void)decode<StateGone>(bytes);
    (void)decode<StateSeen>(bytes);
    (void)decode<StateFrontier>(bytes);
  }));
}

}  // namespace
}  // namespace sedge::wire
