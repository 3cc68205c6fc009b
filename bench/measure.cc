#include "measure.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

namespace sedge::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kWarmUp = 200;  // pings before the first that counts
constexpr auto kPatience = 10s;         // without any progress
constexpr auto kSettle = 500ms;         // for a copy that lags
constexpr int kTriesToMeet = 200;       // each 100 ms

// Runs of pings. A kick's answer is a first callback for what publishes from callbacks.
constexpr std::uint64_t kPingRun = 1;
constexpr std::uint64_t kKickRun = 2;
constexpr std::uint64_t kRallyRun = 3;  // whose pings callbacks send each other

std::string encode(const Words& words) {
  std::string text(kMessageBytes, '.');
  std::memcpy(text.data(), &words, sizeof words);
  return text;
}

Words decode(std::string_view payload) {
  Words words;
  if (payload.size() == kMessageBytes) std::memcpy(&words, payload.data(), sizeof words);
  return words;
}

Latency latency_of(std::vector<double> half_us) {
  std::ranges::sort(half_us);
  return {half_us[half_us.size() / 2], half_us[half_us.size() * 99 / 100]};
}

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

std::string_view topic_to(Side side) { return side == Side::kNear ? "bench/near" : "bench/far"; }

// ---- the far side ------------------------------------------------------------------------------------------------

Status Echo::start() {
  return channel_.start(Side::kFar, [this](std::string_view payload) { on_message(payload); });
}

void Echo::on_message(std::string_view payload) {
  Words words = decode(payload);
  if (words.kind == Words::kPing) {
    words.kind = Words::kPong;
    (void)channel_.send(encode(words));  // unanswered, it is asked again or missed
  } else if (words.kind == Words::kFlood) {
    count(words.run, words.number, words.total);
    if (came_ % kAckEvery == 0 || came_ == seen_.size()) acknowledge();
  } else if (words.kind == Words::kAsk) {
    acknowledge();
  }
}

void Echo::count(std::uint64_t run, std::uint64_t number, std::uint64_t total) {
  if (run != run_) {
    run_ = run;
    seen_.assign(std::min(total, kMessagesMax), false);
    came_ = again_ = 0;
  }
  if (number >= seen_.size() || seen_[number]) {
    ++again_;
  } else {
    seen_[number] = true;
    ++came_;
  }
}

void Echo::acknowledge() {
  (void)channel_.send(encode({.kind = Words::kAck, .run = run_, .number = came_, .total = again_}));
}

// ---- the near side -----------------------------------------------------------------------------------------------

Status Meter::start() {
  return channel_.start(Side::kNear, [this](std::string_view payload) { on_message(payload); });
}

Status Meter::meet() {
  for (int tries = 0; tries < kTriesToMeet; ++tries) {
    if (ping(kPingRun, 0, 100ms)) return {};
  }
  return fail(Code::kUnavailable, "the other process never answered");
}

Result<Latency> Meter::ping_pong(From from) {
  return from == From::kThread ? ping_from_thread() : ping_from_callbacks();
}

Result<Latency> Meter::ping_from_thread() {
  std::vector<double> half_us;
  for (std::uint64_t number = 1; number <= kWarmUp + load_.rounds; ++number) {
    SEDGE_TRY(const Clock::duration round_trip, ping(kPingRun, number, kPatience));
    if (number > kWarmUp) half_us.push_back(seconds(round_trip) * 1e6 / 2);
  }
  return latency_of(std::move(half_us));
}

// Each ping is sent by the callback that got the pong before: this thread sleeps meanwhile.
Result<Latency> Meter::ping_from_callbacks() {
  {
    const std::lock_guard lock(mutex_);
    rally_us_.clear();
    rallying_ = true;
  }
  SEDGE_CHECK(channel_.send(encode({.kind = Words::kPing, .run = kRallyRun})));
  std::unique_lock lock(mutex_);
  while (rallying_) {
    const std::size_t before = rally_us_.size();
    if (!changed_.wait_for(lock, kPatience, [&] { return !rallying_ || rally_us_.size() != before; })) {
      return fail(Code::kDeadlineExceeded, "ping {} was not answered", before + 1);
    }
  }
  return latency_of({rally_us_.begin() + kWarmUp, rally_us_.end()});
}

Result<Clock::duration> Meter::ping(std::uint64_t run, std::uint64_t number, Clock::duration patience) {
  const auto begun = Clock::now();
  SEDGE_CHECK(channel_.send(encode({.kind = Words::kPing, .run = run, .number = number})));
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, patience, [&] { return pong_.run == run && pong_.number == number; })) {
    return fail(Code::kDeadlineExceeded, "ping {} was not answered", number);
  }
  return pong_at_ - begun;
}

Result<Flood> Meter::flood(From from) {
  {
    const std::lock_guard lock(mutex_);
    ++run_;
    from_ = from;
    acked_ = {};
    refused_ = {};
    held_up_ = false;
  }
  sent_ = 0;
  const auto begun = Clock::now();
  const Status done = from == From::kThread ? publish_from_thread() : publish_from_callbacks();
  if (!done && done.error().code != Code::kDeadlineExceeded) return std::unexpected(done.error());
  std::this_thread::sleep_for(kSettle);
  SEDGE_CHECK(channel_.send(encode({.kind = Words::kAsk, .run = run_})));
  std::this_thread::sleep_for(kSettle);
  const std::lock_guard lock(mutex_);
  return Flood{.messages_per_s = done ? static_cast<double>(load_.messages) / seconds(acked_at_ - begun) : 0,
               .sent = sent_,
               .came = acked_.number,
               .again = acked_.total};
}

Status Meter::publish_from_thread() {
  for (; sent_ < load_.messages; ++sent_) {
    if (sent_ >= load_.window) SEDGE_CHECK(await_acked(sent_ - load_.window + 1));
    SEDGE_CHECK(publish(sent_));
  }
  return await_acked(load_.messages);
}

Status Meter::publish_from_callbacks() {
  SEDGE_TRY([[maybe_unused]] const Clock::duration kicked, ping(kKickRun, run_, kPatience));
  return await_acked(load_.messages);
}

// A carrier that is full says so; then it is asked again, for as long as anything may move.
Status Meter::publish(std::uint64_t number) {
  const std::string message = encode({.kind = Words::kFlood, .run = run_, .number = number, .total = load_.messages});
  for (const auto begun = Clock::now();; std::this_thread::sleep_for(1ms)) {
    Status sent = channel_.stream(message);
    if (sent || sent.error().code != Code::kResourceExhausted || Clock::now() - begun > kPatience) return sent;
  }
}

// In a callback, so one at a time.
void Meter::fill_window() {
  for (; sent_ < std::min(load_.messages, acked_.number + load_.window); ++sent_) {
    Status sent =
        channel_.stream(encode({.kind = Words::kFlood, .run = run_, .number = sent_, .total = load_.messages}));
    if (sent) continue;
    const std::lock_guard lock(mutex_);
    held_up_ = sent.error().code == Code::kResourceExhausted;
    if (!held_up_) refused_ = std::move(sent);
    changed_.notify_one();
    break;
  }
  channel_.flush();
}

void Meter::on_message(std::string_view payload) {
  const Words words = decode(payload);
  if (words.kind == Words::kPong) on_pong(words);
  if (words.kind == Words::kAck) on_ack(words);
}

void Meter::on_pong(const Words& pong) {
  if (pong.run == kRallyRun) return on_rally(pong.number);
  if (pong.run == kKickRun) fill_window();
  const std::lock_guard lock(mutex_);
  pong_ = pong;
  pong_at_ = Clock::now();
  changed_.notify_one();
}

void Meter::on_rally(std::uint64_t number) {
  const auto now = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    if (!rallying_) return;
    if (number > 0) rally_us_.push_back(seconds(now - pinged_at_) * 1e6 / 2);
    rallying_ = rally_us_.size() < kWarmUp + load_.rounds;
    if (!rallying_) return changed_.notify_one();
    pinged_at_ = now;
  }
  (void)channel_.send(encode({.kind = Words::kPing, .run = kRallyRun, .number = number + 1}));
}

void Meter::on_ack(const Words& ack) {
  From from;
  {
    const std::lock_guard lock(mutex_);
    if (ack.run != run_ || ack.number < acked_.number) return;
    if (ack.number > acked_.number) acked_at_ = Clock::now();
    acked_ = ack;
    from = from_;
    changed_.notify_one();
  }
  if (from == From::kCallbacks) fill_window();
}

// A carrier was full when a callback published: what is under way may be too little for another acknowledgement, so
// that callback is asked for once more.
void Meter::kick() {
  std::this_thread::sleep_for(1ms);
  if (channel_.send(encode({.kind = Words::kPing, .run = kKickRun, .number = run_}))) return;
  const std::lock_guard lock(mutex_);
  held_up_ = true;
}

// Errors: DeadlineExceeded when nothing moves any more.
Status Meter::await_acked(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  if (acked_.number >= number) return {};
  lock.unlock();
  channel_.flush();  // what is held back would not be acknowledged
  lock.lock();
  std::uint64_t before = acked_.number;
  for (auto moved = Clock::now(); acked_.number < number;) {
    const auto news = [&] { return acked_.number != before || held_up_ || !refused_; };
    if (!changed_.wait_until(lock, moved + kPatience, news)) {
      return fail(Code::kDeadlineExceeded, "{} messages were acknowledged, then nothing for {} s", before,
                  kPatience.count());
    }
    SEDGE_CHECK(refused_);
    if (acked_.number != before) moved = Clock::now();
    before = acked_.number;
    if (!std::exchange(held_up_, false)) continue;
    lock.unlock();
    kick();
    lock.lock();
  }
  return {};
}

json::Object json_of(const Load& load, const Figures& figures) {
  const auto& [thread_latency, latency, thread, callbacks] = figures;
  return {{"message_bytes", kMessageBytes},
          {"rounds", load.rounds},
          {"latency_p50_us", latency.p50_us},
          {"latency_p99_us", latency.p99_us},
          {"thread_latency_p50_us", thread_latency.p50_us},
          {"thread_latency_p99_us", thread_latency.p99_us},
          {"messages", load.messages},
          {"window", load.window},
          {"thread_messages_per_s", thread.messages_per_s},
          {"callback_messages_per_s", callbacks.messages_per_s},
          {"lost", thread.sent - thread.came + callbacks.sent - callbacks.came},
          {"duplicates", thread.again + callbacks.again}};
}

}  // namespace sedge::bench
