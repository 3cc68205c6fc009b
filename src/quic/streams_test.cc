#include "quic/streams.h"

#include <array>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::quic {
namespace {

Buffer drained(SendQueue& queue, std::size_t limit) {
  std::array<Bytes, 4> pieces;
  Buffer out;
  const std::size_t count = queue.gather(pieces);
  for (std::size_t i = 0; i < count; ++i) out.insert(out.end(), pieces[i].begin(), pieces[i].end());
  out.resize(std::min(out.size(), limit));
  queue.sent(out.size());
  return out;
}

TEST(Streams, frames_come_back_whatever_the_packets_and_acknowledgements) {
  EXPECT_TRUE(rc::check([] {
    SendQueue queue;
    FrameReader reader;
    std::vector<Buffer> sent;
    std::vector<Buffer> received;
    std::size_t unacked = 0;
    const int steps = *rc::gen::inRange(1, 120);
    const auto read = [&](const Buffer& wire) {
      Bytes in = wire;
      Buffer frame;
      for (;;) {
        const auto whole = reader.next(in, frame);
        RC_ASSERT(whole.has_value());
        if (!*whole) break;
        received.push_back(frame);
      }
    };
    for (int i = 0; i < steps; ++i) {
      switch (*rc::gen::inRange(0, 4)) {
        case 0: {
          const auto size = *rc::gen::element<std::size_t>(1, 60, 127, 128, 4000, 8191, 8192, 70000);
          sent.push_back(Buffer(size, static_cast<std::uint8_t>(i)));
          queue.push(sent.back());
          break;
        }
        case 1:
        case 2: {
          const Buffer wire = drained(queue, *rc::gen::inRange<std::size_t>(1, 3000));
          unacked += wire.size();
          read(wire);
          break;
        }
        default: {
          const auto part = *rc::gen::inRange<std::size_t>(0, unacked + 1);
          queue.acked(part);
          unacked -= part;
        }
      }
      RC_ASSERT(queue.held() == queue.unsent() + unacked);
    }
    while (queue.unsent() > 0) {
      const Buffer wire = drained(queue, 1200);
      unacked += wire.size();
      read(wire);
    }
    queue.acked(unacked);
    RC_ASSERT(queue.held() == 0u);
    RC_ASSERT(received == sent);
  }));
}

TEST(Streams, bytes_on_their_way_stay_where_they_are) {
  SendQueue queue;
  queue.push(Buffer(100, 1));
  std::array<Bytes, 4> before;
  queue.gather(before);
  queue.sent(101);
  const std::uint8_t* const held = before[0].data();
  for (int i = 0; i < 5000; ++i) queue.push(Buffer(90, 2));
  EXPECT_EQ(held[0], 100);
  EXPECT_EQ(held[1], 1);
  EXPECT_EQ(held[100], 1);
}

TEST(Streams, a_promise_of_a_megabyte_allocates_no_megabyte) {
  FrameReader reader;
  const Buffer promise = {0x80, 0x80, 0x40, 7};  // 1 MiB, and one byte of it
  Bytes in = promise;
  Buffer frame;
  EXPECT_EQ(reader.next(in, frame).value(), false);
  EXPECT_TRUE(in.empty());
}

TEST(Streams, lengths_that_no_honest_peer_writes_are_refused) {
  for (const Buffer& wrong :
       {Buffer{0}, Buffer{0x81, 0x00}, Buffer{0x81, 0x80, 0x40}, Buffer{0xff, 0xff, 0xff, 0xff, 1}}) {
    FrameReader reader;
    Bytes in = wrong;
    Buffer frame;
    EXPECT_EQ(reader.next(in, frame).error().code, Code::kDataLoss);
  }
}

}  // namespace
}  // namespace sedge::quic
