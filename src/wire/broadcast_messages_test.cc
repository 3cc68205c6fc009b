#include "wire/broadcast_messages.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::wire {
namespace {

std::uint64_t any() { return *rc::gen::arbitrary<std::uint64_t>(); }
Buffer any_bytes() { return *rc::gen::arbitrary<Buffer>(); }
template <class Make>
auto some(Make make) {
  std::vector<decltype(make())> items;
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) items.push_back(make());
  return items;
}
BatchId any_id() { return {{*rc::gen::arbitrary<std::array<std::uint8_t, 16>>()}, {any()}, {any()}}; }
Batch any_batch() {
  return {any_id(),
          static_cast<BatchKind>(any() % 3),
          static_cast<Reliability>(any() % 3),
          static_cast<std::uint8_t>(any()),
          any() % 2 == 0,
          any(),
          any_bytes()};
}

template <class T>
bool comes_back(const T& message) {
  return decode<T>(encode(message)).value() == message;
}

TEST(BroadcastMessages, come_back_from_their_bytes) {
  EXPECT_TRUE(rc::check([] {
    RC_ASSERT(comes_back(any_batch()));
    RC_ASSERT(comes_back(
        SignedBatch{encode(any_batch()), *rc::gen::arbitrary<RawSignature>(), static_cast<std::uint8_t>(any())}));
    RC_ASSERT(comes_back(BroadcastHave{some([] { return HeldBatch{any_id(), any()}; })}));
    RC_ASSERT(comes_back(BroadcastGraft{some(any_id)}));
    RC_ASSERT(comes_back(TreePosition{any_id().origin, any(), some(any)}));
    RC_ASSERT(comes_back(BroadcastSlowdown{Duration(static_cast<std::int64_t>(any()))}));
    RC_ASSERT(comes_back(Publications{some([] {
      Publication made{*rc::gen::arbitrary<std::string>(), any_bytes(), {}, {}};
      if (*rc::gen::arbitrary<bool>()) made.expires_ms = any();
      if (*rc::gen::arbitrary<bool>()) {
        made.causal = CausalContext{
            {any()}, any(), any(), some([] { return CausalName{any_id().origin, {any()}, any(), any()}; })};
      }
      if (*rc::gen::arbitrary<bool>()) made.once = TaskId{{*rc::gen::arbitrary<std::uint8_t>()}};
      return made;
    })}));
  }));
}

TEST(BroadcastMessages, any_bytes_are_a_message_or_an_error) {
  EXPECT_TRUE(rc::check([](const Buffer& bytes) {
    (void)decode<SignedBatch>(bytes);
    (void)decode<Batch>(bytes);
    (void)decode<BroadcastHave>(bytes);
    (void)decode<BroadcastGraft>(bytes);
    (void)decode<TreePosition>(bytes);
    (void)decode<BroadcastSlowdown>(bytes);
    (void)decode<Publications>(bytes);
  }));
}

}  // namespace
}  // namespace sedge::wire
