#include "wire/reconcile_messages.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "wire/codec.h"

namespace sedge::wire {
namespace {

template <class T>
T any() {
  return *rc::gen::arbitrary<T>();
}
template <class Make>
auto some(Make make) {
  std::vector<decltype(make())> items;
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) items.push_back(make());
  return items;
}
SketchSymbol any_symbol() { return {any<std::int64_t>(), any<SessionId>(), any<std::array<std::uint8_t, 4>>()}; }
StateRange any_range() {
  StateRange range{any<std::uint64_t>(), any<Buffer>(), static_cast<RangeKind>(any<std::uint8_t>() % 3), {}, {}};
  if (range.kind == RangeKind::kFingerprint) range.fingerprint = any<std::array<std::uint8_t, 16>>();
  if (range.kind == RangeKind::kIds) range.ids = some(any<SessionId>);
  return range;
}

template <class T>
bool comes_back(const T& message) {
  return decode<T>(encode(message)).value() == message;
}

TEST(ReconcileMessages, come_back_from_their_bytes) {
  EXPECT_TRUE(rc::check([] {
    const auto key = any<SessionKey>();
    RC_ASSERT(comes_back(StateSketch{key, any<std::uint64_t>(), any<std::uint64_t>(), some(any_symbol)}));
    RC_ASSERT(comes_back(StateRanges{key, some(any_range)}));
    RC_ASSERT(comes_back(StateWant{key, any<std::uint64_t>(), any<std::uint64_t>(), some(any<SessionId>)}));
  }));
}

TEST(ReconcileMessages, any_bytes_are_a_message_or_an_error) {
  EXPECT_TRUE(rc::check([](const Buffer& bytes) {
    (void)decode<StateSketch>(bytes);
    (void)decode<StateRanges>(bytes);
    (void)decode<StateWant>(bytes);
  }));
}

}  // namespace
}  // namespace sedge::wire
