// Frames on a QUIC stream: length (LEB128, 1 to 1 MiB), then that many bytes; nothing else ever. One unidirectional
// stream a priority each way; stream number n of a side carries priority n, so no header is needed to tell them apart.
//
// Sending: QUIC does not copy what it is given, it wants the bytes to stay where they are until acknowledged. So small
// frames are copied one after the other into chunks that never move, large ones are adopted as chunks of their own,
// and packets are filled straight from there: no allocation a frame, and many frames a packet.
// Receiving: a frame that lies whole in the packet is copied once; a longer one grows as its bytes come, so a peer that
// promises a megabyte and sends nothing holds nothing. Grammar: docs/formats/quic.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "env/link.h"

namespace sedge::quic {

class FrameReader {
 public:
  // Takes bytes from the front of `in` until a frame is whole (true, and it is in `frame`) or `in` is empty (false).
  // Errors: DataLoss: an empty or oversized frame, or a length not in its shortest form: close the connection.
  Result<bool> next(Bytes& in, Buffer& frame);

 private:
  std::size_t length_ = 0;  // of the current frame; 0: its length is being read
  std::size_t shift_ = 0;
  std::size_t partial_length_ = 0;
  Buffer partial_;
};

class SendQueue {
 public:
  // Requires: 1 <= frame.size() <= env::kFrameBytesMax.
  void push(Buffer frame);
  // Bytes that need not be a frame: what a hostile peer may do.
  void push_raw(Buffer bytes);

  // The next unsent bytes, at most out.size() pieces; returns how many pieces.
  std::size_t gather(std::span<Bytes> out) const;
  void sent(std::size_t bytes);
  // The oldest unacknowledged bytes arrived: their memory goes.
  void acked(std::size_t bytes);

  std::size_t unsent() const { return unsent_; }
  std::size_t held() const { return held_; }  // unsent or unacknowledged

 private:
  std::deque<Buffer> chunks_;     // a chunk is only ever appended to, within its capacity
  std::size_t front_acked_ = 0;   // bytes of chunks_.front() that were acknowledged
  std::size_t cursor_chunk_ = 0;  // where the unsent bytes begin
  std::size_t cursor_at_ = 0;
  std::size_t unsent_ = 0;
  std::size_t held_ = 0;
};

}  // namespace sedge::quic
