// How a loan's memory comes from its publisher to a subscriber in another process of the same host.
//
// The message that names the loan travels the mesh as any: encrypted, granted, in order. Who hears it asks the
// publisher's Unix socket for the id and is handed the descriptor (SCM_RIGHTS). The socket is an abstract one under a
// random name: it needs no folder, leaves no file behind a crash, and nobody can take its name first. Both ends look
// whose process the other is (SO_PEERCRED): loans do not leave their user. Nothing waits: every call is of the loop,
// and a peer that does not keep up is dropped or told about.
// The publisher keeps what it lent for those who come to ask, and then writes the same memory again, once the kernel
// says that no reader is left.
// Rejected: /proc/PID/fd/N in the message (no socket, but closed as soon as a program has a capability, as real-time
// ones do); a descriptor pushed to all who might want it (who that is the publisher does not know).
// Format: docs/formats/loan.md. Why: docs/adr/0036.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "platform/loan_memory.h"
#include "wire/loan_messages.h"

namespace boost::asio {
class io_context;
}

namespace sedge::platform {

// Who may share memory with this process: same kernel, same network (abstract sockets live in it), same user.
// Errors: Unavailable: /proc does not say which.
Result<wire::LoanHost> loan_host();

struct LoanKeeping {
  std::size_t loans_max = 16;                          // of two cameras at 30 frames a second: a quarter of a second
  std::uint64_t bytes_max = std::uint64_t{128} << 20;  // of them together, and as much of what waits for its readers
};

// The publisher's side: keeps the last loans, and hands them out. Beyond the bounds the oldest is let go; who has it
// keeps it, who asks for it later is told that it is gone. Threads: any, but for close().
class LoanServer {
 public:
  static constexpr std::size_t kClientsMax = 64;  // subscribing processes; one more is hung up on

  // `io` lives until close().
  LoanServer(boost::asio::io_context& io, LoanKeeping keeping);
  ~LoanServer();
  LoanServer(const LoanServer&) = delete;
  LoanServer& operator=(const LoanServer&) = delete;

  // Memory to write, used before where there is some of that size. Whatever was in it is still there.
  // Errors: InvalidArgument: none, or more than is kept at all; those of LoanMemory::make().
  Result<std::shared_ptr<LoanMemory>> borrow(std::size_t bytes);
  // From now on nobody writes it, and whoever hears the notice gets it. Errors: Unavailable: no socket, or closed;
  // ResourceExhausted. Nothing was done then.
  Result<wire::LoanNotice> keep(const std::shared_ptr<LoanMemory>& memory);
  // Nobody heard of it: it is its publisher's again, to be written.
  void take_back(const wire::LoanId& id);
  // On the loop, or when it is over.
  void close();

 private:
  class Desk;
  std::shared_ptr<Desk> desk_;
};

// The subscriber's side. Only on the loop.
class LoanClient {
 public:
  static constexpr std::size_t kPublishersMax = 64;
  static constexpr std::size_t kWaitingMax = 64;  // asked of one publisher and not answered

  using Done = std::function<void(Result<Mapping>)>;

  // `after` is called when answers have been told: the node's turn.
  LoanClient(boost::asio::io_context& io, std::function<void()> after);
  ~LoanClient();
  LoanClient(const LoanClient&) = delete;
  LoanClient& operator=(const LoanClient&) = delete;

  // Calls `done` once, those of one publisher in the order in which they were asked, perhaps within this call; never if
  // this ends before. Errors: FailedPrecondition: the loan is of another host or user; NotFound: its publisher keeps it
  // no longer; Unavailable: the publisher has ended; ResourceExhausted: it answers nobody, too many wait, or no room;
  // DataLoss, PermissionDenied: what answers is no honest publisher of this user.
  void fetch(const wire::LoanNotice& notice, Done done);

 private:
  class Line;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sedge::platform
