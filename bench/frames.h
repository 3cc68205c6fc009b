// What a camera frame costs between two processes of one host: as a loan, and cut into messages of the greatest size.
//
//   latency      from before memory is borrowed, through the copying in of a frame, until the other process has read
//                every byte; one frame under way. Both processes read the one steady clock of their host.
//   throughput   the same with a window of frames.
// The other process answers with the sum of what it read: a byte that differs is an error, not a figure.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "measure.h"
#include "sedge/sedge.h"

namespace sedge::bench {

struct FrameFigure {
  Latency latency;
  double gb_per_s = 0;
};

struct FrameFigures {
  std::size_t bytes = 0;
  FrameFigure lent;
  FrameFigure cut;
};

inline constexpr std::uint64_t kFramesUnderWay = 4;  // at most

// The other process's part: subscribes. Outlives the fleet's callbacks.
class FrameSink {
 public:
  explicit FrameSink(robot::Fleet& fleet) : fleet_(fleet) {}
  Status start();

 private:
  void on_piece(std::string_view piece);
  void answer(std::span<const std::byte> frame, std::uint64_t number, std::int64_t begun_ns);

  struct Frame {  // of pieces
    std::size_t came = 0;
    std::vector<std::byte> bytes;
  };

  robot::Fleet& fleet_;
  // By number, while pieces of them are missing: at most kFramesUnderWay. Those that are asked for again come late.
  std::map<std::uint64_t, Frame> frames_;
  std::vector<std::byte> room_;  // of the last one that was whole
};

// The near side. Outlives the fleet's callbacks.
class FrameSource {
 public:
  explicit FrameSource(robot::Fleet& fleet) : fleet_(fleet) {}
  Status start();
  // Errors: DeadlineExceeded: a frame is not answered; DataLoss: it was read otherwise than written; the fleet's.
  Result<FrameFigures> measure(std::size_t bytes, std::uint64_t rounds);

 private:
  using Send = Status (FrameSource::*)(std::uint64_t number);
  Status lend(std::uint64_t number);
  Status cut(std::uint64_t number);
  Result<FrameFigure> measure(Send send, std::uint64_t rounds);
  Status run(Send send, std::uint64_t rounds, std::uint64_t window);
  Status await_answers(std::uint64_t number);  // until so many came

  robot::Fleet& fleet_;
  std::vector<std::byte> frame_;
  std::uint64_t sum_ = 0;  // of the frame
  std::uint64_t sent_ = 0;
  std::mutex mutex_;  // of the rest
  std::condition_variable changed_;
  std::uint64_t answered_ = 0;  // frames
  bool wrong_ = false;
  std::vector<double> took_us_;
};

}  // namespace sedge::bench
