// Memory that is lent instead of copied: camera frames and point clouds between processes of one host.
//
// A message holds 60 KiB, and each of its bytes is encrypted, sent and copied. A frame of 8 MB for a process beside
// this one needs none of that: its pages can be mapped there. So a publisher borrows memory, writes into it and
// publishes it; what travels is an ordinary message that names it, and who hears that gets the same pages, to read.
//
//   auto frame = fleet.loan(1920 * 1080 * 3);
//   if (!frame) return complain(frame.error());
//   camera.read_into(frame->bytes());
//   (void)fleet.publish("robot/rover-7/camera", *std::move(frame));
//
//   (void)fleet.subscribe_loans("robot/+/camera", [&](const LoanMessage& frame) { detector.take(frame.payload); });
//
// Who reads can change nothing, and what was published is not written again before its last view is gone: a view needs
// no lock, and outlives its publisher. It holds the publisher's memory: let go of views that are not needed.
// Only processes of the same host, network namespace and user can share it. Subscribers elsewhere hear that there was a
// loan (MissedLoan, FailedPrecondition) and not its bytes: for them publish smaller messages, or put a tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace sedge::platform {
class LoanMemory;
}

namespace sedge::robot {

struct Error;

// To be written and published once. Its memory goes with it when it is not. Threads: one at a time.
class Loan {
 public:
  Loan(Loan&& other) noexcept : memory_(std::move(other.memory_)), bytes_(std::exchange(other.bytes_, {})) {}
  Loan& operator=(Loan&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // Aligned to a page. At first zero, or what an earlier loan of this Fleet left there: write all of it. None once it
  // is published; its pages are then read-only, and who still writes to them is ended.
  std::span<std::byte> bytes() const { return bytes_; }
  // As many whole T as there is room for.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::span<T> as() const {
    return {reinterpret_cast<T*>(bytes_.data()), bytes_.size() / sizeof(T)};
  }

 private:
  friend class Fleet;
  Loan(std::shared_ptr<platform::LoanMemory> memory, std::span<std::byte> bytes)
      : memory_(std::move(memory)), bytes_(bytes) {}

  std::shared_ptr<platform::LoanMemory> memory_;
  std::span<std::byte> bytes_;
};

// Pages of a publisher, to be read for as long as this or a copy of it lives. Threads: as a shared_ptr.
class LoanView {
 public:
  LoanView() = default;

  std::span<const std::byte> bytes() const { return bytes_; }
  // None: the bytes are not a whole number of T.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::optional<std::span<const T>> as() const {
    if (bytes_.size() % sizeof(T) != 0) return std::nullopt;
    return std::span{reinterpret_cast<const T*>(bytes_.data()), bytes_.size() / sizeof(T)};
  }

 private:
  friend class Fleet;
  LoanView(std::shared_ptr<const void> pages, std::span<const std::byte> bytes)
      : pages_(std::move(pages)), bytes_(bytes) {}

  std::shared_ptr<const void> pages_;
  std::span<const std::byte> bytes_;
};

struct LoanMessage {
  std::string_view topic;   // valid within the callback
  const LoanView& payload;  // copy it to keep it
  std::string_view origin;  // id of the node that published it
};

// A loan that was heard of and not had. FailedPrecondition: of another host or user. NotFound: its publisher keeps it
// no longer, this asked too late. Unavailable: the publisher has ended. ResourceExhausted: it does not answer, or there
// is no room here. DataLoss, PermissionDenied: refused, what is offered is not what a publisher of this user lends.
struct MissedLoan {
  std::string_view topic;  // the three are valid within the callback
  std::string_view origin;
  const Error& error;
};

// Of all subscriptions to loans of a Fleet.
struct LoanStats {
  std::uint64_t heard = 0;      // given to callbacks
  std::uint64_t elsewhere = 0;  // of another host or user
  std::uint64_t missed = 0;     // gone, or no room
  std::uint64_t refused = 0;    // another size, not sealed, or another user's
};

}  // namespace sedge::robot
