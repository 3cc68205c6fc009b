// What a message costs between two processes, measured in one way whatever carries it: Sedge, a broker, a bus.
//
//   latency      half of a ping-pong's round trip, one message under way at a time. Two clocks need not agree. Once
//                from callback to callback, once from a thread, which is woken for each.
//   throughput   messages one way, with a window: at most so many are under way that the other process has not
//                acknowledged. Without one a publisher fills a queue somewhere, and what is timed is that queue's end
//                (a link dropped as too slow, messages thrown away). Once from a thread of the program's, once from
//                the carrier's own callbacks, for the two cost differently.
//   lost, twice  the other process keeps a mark for every number that came; it answers with both counts.
// The near side measures, the far side echoes and counts. Each direction is one topic; what a message is, its first
// word says. So a carrier needs one publisher and one subscriber a side, and all carriers do the same work.
// Rejected: two clocks compared (loopback is the only place where that works), and each system's own benchmark tool:
// their figures count different things.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace sedge::bench {

using Clock = std::chrono::steady_clock;

inline constexpr std::size_t kMessageBytes = 64;
inline constexpr std::uint64_t kAckEvery = 1024;
inline constexpr std::uint64_t kMessagesMax = 100'000'000;  // a run's; 12.5 MB of marks

struct Load {
  std::uint64_t rounds = 2000;
  std::uint64_t messages = 200'000;
  std::uint64_t window = 16'384;  // messages
};

enum class Side { kNear, kFar };

// "bench/near" goes to the near side.
std::string_view topic_to(Side side);

using Receive = std::function<void(std::string_view payload)>;

// One side's way to the other. `receive` is called by one thread at a time; from there send and stream may be called.
class Channel {
 public:
  virtual ~Channel() = default;
  // Subscribes to what comes to `side`, then gives it to `receive` until the channel ends.
  virtual Status start(Side side, Receive receive) = 0;
  // One message that leaves at once. Errors: ResourceExhausted: full, ask again a little later.
  virtual Status send(std::string_view payload) = 0;
  // One of many: a carrier that fills packets may hold it back until flush(). Errors: as send().
  virtual Status stream(std::string_view payload) { return send(payload); }
  virtual void flush() {}
};

// The far side. Outlives its channel's callbacks.
class Echo {
 public:
  explicit Echo(Channel& channel) : channel_(channel) {}
  Status start();

 private:
  void on_message(std::string_view payload);
  void count(std::uint64_t run, std::uint64_t number, std::uint64_t total);
  void acknowledge();

  Channel& channel_;
  std::uint64_t run_ = 0;
  std::vector<bool> seen_;  // by number, of this run
  std::uint64_t came_ = 0;
  std::uint64_t again_ = 0;
};

enum class From { kThread, kCallbacks };

struct Latency {
  double p50_us = 0;
  double p99_us = 0;
};

struct Flood {
  double messages_per_s = 0;  // 0 unless all came: a figure stands only beside a full count
  std::uint64_t sent = 0;
  std::uint64_t came = 0;   // each counted once
  std::uint64_t again = 0;  // came twice or more, each time counted
};

// What every message says; padded to kMessageBytes.
struct Words {
  enum Kind : std::uint64_t { kNone, kPing, kPong, kFlood, kAsk, kAck };
  std::uint64_t kind = kNone;
  std::uint64_t run = 0;
  std::uint64_t number = 0;  // of the message in its run; of an acknowledgement: how many came
  std::uint64_t total = 0;   // of the run; of an acknowledgement: how many came again
};

// The near side. Outlives its channel's callbacks.
class Meter {
 public:
  Meter(Channel& channel, const Load& load) : channel_(channel), load_(load) {}
  Status start();
  // Waits for the other process. Errors: Unavailable: it never answers.
  Status meet();
  // Errors: DeadlineExceeded: a ping is not answered; the channel's.
  Result<Latency> ping_pong(From from);
  // Messages that never came are told in the result, not an error. Errors: the channel's.
  Result<Flood> flood(From from);

 private:
  Result<Latency> ping_from_thread();
  Result<Latency> ping_from_callbacks();
  Result<Clock::duration> ping(std::uint64_t run, std::uint64_t number, Clock::duration patience);
  Status publish(std::uint64_t number);
  Status publish_from_thread();
  Status publish_from_callbacks();
  void fill_window();
  void kick();
  void on_message(std::string_view payload);
  void on_pong(const Words& pong);
  void on_rally(std::uint64_t number);
  void on_ack(const Words& ack);
  Status await_acked(std::uint64_t number);

  Channel& channel_;
  const Load load_;
  std::mutex mutex_;  // of the next twelve
  std::condition_variable changed_;
  Words pong_;
  Clock::time_point pong_at_;
  bool rallying_ = false;
  Clock::time_point pinged_at_;
  std::vector<double> rally_us_;
  Words acked_;
  Clock::time_point acked_at_;
  Status refused_;
  bool held_up_ = false;       // a callback could not publish all that it might
  std::uint64_t run_ = 0;      // this and the next are written between floods only
  From from_ = From::kThread;  // who publishes, and so who owns sent_
  std::uint64_t sent_ = 0;
};

// Of one carrier; the same names for all.
struct Figures {
  Latency thread_latency;
  Latency latency;  // between callbacks
  Flood thread;
  Flood callbacks;
};
json::Object json_of(const Load& load, const Figures& figures);

}  // namespace sedge::bench
