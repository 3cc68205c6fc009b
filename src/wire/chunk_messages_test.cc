#include "wire/chunk_messages.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "wire/codec.h"

namespace sedge::wire {
namespace {

template <class T>
T any() {
  return *rc::gen::arbitrary<T>();
}
PieceName any_piece() { return {any<ChunkHash>(), any<std::uint32_t>(), any<std::uint32_t>()}; }

template <class T>
bool comes_back(const T& message) {
  const auto decoded = decode<T>(encode(message));
  return decoded && *decoded == message;
}

TEST(ChunkMessages, come_back_from_their_bytes) {
  EXPECT_TRUE(rc::check([] {
    RC_ASSERT(comes_back(ChunkQuery{any<ChunkHash>()}));
    RC_ASSERT(comes_back(ChunkHave{any<ChunkHash>(), any<Buffer>()}));
    RC_ASSERT(comes_back(ChunkWant{{any_piece(), any_piece()}}));
    RC_ASSERT(comes_back(ChunkPiece{any_piece(), any<Buffer>()}));
    RC_ASSERT(comes_back(ChunkPiece{any_piece(), std::nullopt}));
  }));
}

TEST(ChunkMessages, any_bytes_are_one_or_an_error) {
  EXPECT_TRUE(rc::check([](const Buffer& bytes) {
    (void)decode<ChunkQuery>(bytes);
    (void)decode<ChunkHave>(bytes);
    (void)decode<ChunkWant>(bytes);
    (void)decode<ChunkPiece>(bytes);
  }));
}

}  // namespace
}  // namespace sedge::wire
