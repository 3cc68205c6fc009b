#include "quic/streams.h"

#include <algorithm>
#include <array>

#include "base/assert.h"

namespace sedge::quic {
namespace {

constexpr std::size_t kChunkBytesMin = 4096;  // what a link that only gossips holds
constexpr std::size_t kChunkBytesMax = 65536;
constexpr std::size_t kAdoptBytes = 8192;     // from here on moving is cheaper than copying
constexpr std::size_t kReserveBytes = 65536;  // of a frame whose bytes are not there yet

struct Length {
  std::array<std::uint8_t, 5> bytes;
  std::size_t size = 0;
};

Length encode_length(std::size_t value) {
  Length out;
  for (; value >= 0x80; value >>= 7) out.bytes[out.size++] = static_cast<std::uint8_t>(value | 0x80);
  out.bytes[out.size++] = static_cast<std::uint8_t>(value);
  return out;
}

}  // namespace

Result<bool> FrameReader::next(Bytes& in, Buffer& frame) {
  while (length_ == 0) {
    if (in.empty()) return false;
    const std::uint8_t byte = in.front();
    in = in.subspan(1);
    partial_length_ |= static_cast<std::size_t>(byte & 0x7f) << shift_;
    shift_ += 7;
    if (partial_length_ > env::kFrameBytesMax || shift_ > 28) {
      return fail(Code::kDataLoss, "a frame of more than {} bytes", env::kFrameBytesMax);
    }
    if (byte >= 0x80) continue;
    if (byte == 0) return fail(Code::kDataLoss, "an empty frame, or a length not in its shortest form");
    length_ = partial_length_;
    partial_length_ = shift_ = 0;
  }
  if (partial_.empty() && in.size() >= length_) {  // the whole of it is here: one copy
    frame.assign(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(length_));
    in = in.subspan(length_);
    length_ = 0;
    return true;
  }
  if (partial_.empty()) partial_.reserve(std::min(length_, kReserveBytes));
  const std::size_t take = std::min(length_ - partial_.size(), in.size());
  partial_.insert(partial_.end(), in.begin(), in.begin() + static_cast<std::ptrdiff_t>(take));
  in = in.subspan(take);
  if (partial_.size() < length_) return false;
  frame = std::move(partial_);
  partial_ = Buffer();
  length_ = 0;
  return true;
}

void SendQueue::push(Buffer frame) {
  SEDGE_ASSERT(!frame.empty() && frame.size() <= env::kFrameBytesMax);
  const Length length = encode_length(frame.size());
  const bool adopt = frame.size() >= kAdoptBytes;
  const std::size_t copied = length.size + (adopt ? 0 : frame.size());
  if (chunks_.empty() || chunks_.back().capacity() - chunks_.back().size() < copied) {
    const std::size_t last = chunks_.empty() ? 0 : chunks_.back().capacity();
    Buffer chunk;
    chunk.reserve(std::max(copied, std::clamp(last * 2, kChunkBytesMin, kChunkBytesMax)));
    chunks_.push_back(std::move(chunk));
  }
  Buffer& tail = chunks_.back();
  tail.insert(tail.end(), length.bytes.begin(), length.bytes.begin() + static_cast<std::ptrdiff_t>(length.size));
  const std::size_t total = length.size + frame.size();
  if (adopt) {
    chunks_.push_back(std::move(frame));
  } else {
    tail.insert(tail.end(), frame.begin(), frame.end());
  }
  unsent_ += total;
  held_ += total;
}

void SendQueue::push_raw(Buffer bytes) {
  unsent_ += bytes.size();
  held_ += bytes.size();
  chunks_.push_back(std::move(bytes));
}

std::size_t SendQueue::gather(std::span<Bytes> out) const {
  std::size_t pieces = 0;
  std::size_t at = cursor_at_;
  for (std::size_t i = cursor_chunk_; i < chunks_.size() && pieces < out.size(); ++i, at = 0) {
    if (at < chunks_[i].size()) out[pieces++] = Bytes(chunks_[i]).subspan(at);
  }
  return pieces;
}

void SendQueue::sent(std::size_t bytes) {
  SEDGE_ASSERT(bytes <= unsent_);
  unsent_ -= bytes;
  while (bytes > 0) {
    const std::size_t left = chunks_[cursor_chunk_].size() - cursor_at_;
    if (bytes < left) {
      cursor_at_ += bytes;
      return;
    }
    bytes -= left;
    if (cursor_chunk_ + 1 == chunks_.size()) {  // the tail may still grow: stay at its end
      cursor_at_ = chunks_[cursor_chunk_].size();
      SEDGE_ASSERT(bytes == 0);
      return;
    }
    ++cursor_chunk_;
    cursor_at_ = 0;
  }
}

void SendQueue::acked(std::size_t bytes) {
  SEDGE_ASSERT(bytes <= held_ - unsent_);
  held_ -= bytes;
  front_acked_ += bytes;
  while (chunks_.size() > 1 && front_acked_ >= chunks_.front().size() && cursor_chunk_ > 0) {
    front_acked_ -= chunks_.front().size();
    chunks_.pop_front();
    --cursor_chunk_;
  }
  if (held_ > 0) return;
  // Nothing is on its way. A small chunk stays for the next frame; a large one goes, so that an idle link is small.
  const bool keep = chunks_.size() == 1 && chunks_.front().capacity() <= kChunkBytesMin;
  if (keep) {
    chunks_.front().clear();
  } else {
    chunks_.clear();
  }
  front_acked_ = cursor_chunk_ = cursor_at_ = 0;
}

}  // namespace sedge::quic
