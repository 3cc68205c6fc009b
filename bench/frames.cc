#include "frames.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

namespace sedge::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kLent = "bench/frame/lent";
constexpr std::string_view kCut = "bench/frame/cut";
constexpr std::string_view kAnswer = "bench/frame/answer";
constexpr auto kPatience = 20s;

// In front of each piece.
struct Piece {
  std::uint64_t number = 0;
  std::int64_t begun_ns = 0;
  std::uint64_t at = 0;
  std::uint64_t frame_bytes = 0;
};
constexpr std::size_t kPieceBytes = (60u << 10) - sizeof(Piece);

// At the beginning of each loan, in place of the frame's own bytes.
struct Stamp {
  std::uint64_t number = 0;
  std::int64_t begun_ns = 0;
};

struct Answer {
  std::uint64_t number = 0;
  std::int64_t took_ns = 0;
  std::uint64_t sum = 0;
};

template <class T>
T from_bytes(const void* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <class T>
std::string_view text_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

// Of all bytes behind a stamp's place.
std::uint64_t sum_of(std::span<const std::byte> frame) {
  std::uint64_t sum = 0;
  for (std::size_t i = sizeof(Stamp); i + 8 <= frame.size(); i += 8) sum += from_bytes<std::uint64_t>(&frame[i]);
  return sum;
}

Status own(const robot::Status& status) {
  if (!status) return fail(static_cast<Code>(status.error().code), "{}", status.error().message);
  return {};
}

template <class T>
Status begun(const robot::Result<T>& subscription) {
  if (!subscription) return own(std::unexpected(subscription.error()));
  return {};
}

}  // namespace

Status FrameSink::start() {
  SEDGE_CHECK(begun(fleet_.subscribe_loans(kLent, [this](const robot::LoanMessage& message) {
    const auto stamp = from_bytes<Stamp>(message.payload.bytes().data());
    answer(message.payload.bytes(), stamp.number, stamp.begun_ns);
  })));
  return begun(fleet_.subscribe(kCut, [this](const robot::Message& message) { on_piece(message.payload); }));
}

void FrameSink::on_piece(std::string_view text) {
  if (text.size() <= sizeof(Piece)) return;
  const auto piece = from_bytes<Piece>(text.data());
  text.remove_prefix(sizeof(Piece));
  Frame& frame = frames_[piece.number];
  if (frame.bytes.empty()) {  // the room of one that is whole, if there is one
    frame.bytes = std::exchange(room_, {});
    frame.bytes.resize(piece.frame_bytes);
  }
  std::memcpy(frame.bytes.data() + piece.at, text.data(), text.size());
  frame.came += text.size();
  if (frame.came < piece.frame_bytes) return;
  answer(frame.bytes, piece.number, piece.begun_ns);
  room_ = std::move(frame.bytes);
  frames_.erase(piece.number);
}

void FrameSink::answer(std::span<const std::byte> frame, std::uint64_t number, std::int64_t begun_ns) {
  const std::uint64_t sum = sum_of(frame);
  const Answer said{number, now_ns() - begun_ns, sum};
  if (const auto told = fleet_.publish(kAnswer, text_of(said)); !told) {
    fmt::print("frame {} is read, and the answer refused: {}\n", number, told.error().message);
    std::fflush(stdout);
  }
}

Status FrameSource::start() {
  return begun(fleet_.subscribe(kAnswer, [this](const robot::Message& message) {
    if (message.payload.size() != sizeof(Answer)) return;
    const auto said = from_bytes<Answer>(message.payload.data());
    const std::lock_guard lock(mutex_);
    wrong_ |= said.sum != sum_;
    ++answered_;
    took_us_.push_back(static_cast<double>(said.took_ns) / 1e3);
    changed_.notify_one();
  }));
}

Result<FrameFigures> FrameSource::measure(std::size_t bytes, std::uint64_t rounds) {
  {
    const std::lock_guard lock(mutex_);
    frame_.resize(bytes);
    for (std::size_t i = 0; i < bytes; ++i) frame_[i] = static_cast<std::byte>(i * i % 251);
    sum_ = sum_of(frame_);
  }
  FrameFigures figures{.bytes = bytes, .lent = {}, .cut = {}};
  SEDGE_TRY(figures.lent, measure(&FrameSource::lend, rounds));
  SEDGE_TRY(figures.cut, measure(&FrameSource::cut, rounds));
  return figures;
}

Result<FrameFigure> FrameSource::measure(Send send, std::uint64_t rounds) {
  SEDGE_CHECK(run(send, rounds / 10 + 1, 1));  // warms up
  SEDGE_CHECK(run(send, rounds, 1));
  FrameFigure figure;
  {
    const std::lock_guard lock(mutex_);
    std::ranges::sort(took_us_);
    figure.latency = {took_us_[took_us_.size() / 2], took_us_[took_us_.size() * 99 / 100]};
  }
  const auto from = Clock::now();
  SEDGE_CHECK(run(send, rounds, kFramesUnderWay));
  const double took = std::chrono::duration<double>(Clock::now() - from).count();
  figure.gb_per_s = static_cast<double>(rounds * frame_.size()) / took / 1e9;
  return figure;
}

Status FrameSource::run(Send send, std::uint64_t rounds, std::uint64_t window) {
  {
    const std::lock_guard lock(mutex_);
    took_us_.clear();
  }
  for (std::uint64_t i = 0; i < rounds; ++i) {
    SEDGE_CHECK((this->*send)(++sent_));
    if (sent_ >= window) {
      SEDGE_CHECK(await_answers(sent_ + 1 - window));
    }
  }
  return await_answers(sent_);
}

Status FrameSource::await_answers(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kPatience, [&] { return answered_ >= number || wrong_; })) {
    return fail(Code::kDeadlineExceeded, "of {} frames {} were answered", sent_, answered_);
  }
  if (wrong_) return fail(Code::kDataLoss, "a frame was read otherwise than it was written");
  return {};
}

Status FrameSource::lend(std::uint64_t number) {
  const Stamp stamp{number, now_ns()};
  auto loan = fleet_.loan(frame_.size());
  if (!loan) return own(std::unexpected(loan.error()));
  std::memcpy(loan->bytes().data(), frame_.data(), frame_.size());
  std::memcpy(loan->bytes().data(), &stamp, sizeof stamp);
  return own(fleet_.publish(kLent, *std::move(loan)));
}

Status FrameSource::cut(std::uint64_t number) {
  Piece piece{number, now_ns(), 0, frame_.size()};
  std::string message;
  for (; piece.at < frame_.size(); piece.at += kPieceBytes) {
    const std::size_t bytes = std::min(kPieceBytes, frame_.size() - piece.at);
    message.assign(text_of(piece));
    message.append(reinterpret_cast<const char*>(&frame_[piece.at]), bytes);
    for (;;) {
      const robot::Status published = fleet_.publish(kCut, message);
      if (published) break;
      if (published.error().code != robot::Code::kResourceExhausted) return own(published);
      std::this_thread::sleep_for(50us);  // the link is full
    }
  }
  return {};
}

}  // namespace sedge::bench
