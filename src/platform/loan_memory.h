// Shared memory that one process writes and others on its host then read: the pages of a message too large to copy.
//
// A robot's camera frame goes to three processes of one board. Each loan is a file without a name (memfd): its writer
// maps it, writes, and seals it against every change for ever; whoever is given its descriptor maps the same pages. The
// kernel counts who holds it, so that no crash leaks and none frees what another reads; and no reader needs a lock,
// since what is sealed cannot change. A reader looks at size and seals before it maps: memory that could shrink would
// end it by SIGBUS, memory that could change would lie to it.
// Rejected: a pool of blocks with reference counts in shared memory, as iceoryx and DDS have: docs/adr/0036.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace sedge::platform {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// Pages of this process's address space, unmapped with the object.
class Mapping {
 public:
  Mapping() = default;
  Mapping(std::uint8_t* data, std::size_t bytes) : bytes_(data, bytes) {}
  Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping();

  MutableBytes bytes() const { return bytes_; }

 private:
  MutableBytes bytes_;
};

// To be written, then sealed.
class LoanMemory {
 public:
  // All of it is there at once, zeroed, so that a write never fails. Cost: the kernel clears `bytes`.
  // Errors: InvalidArgument: not 1 to wire::kLoanBytesMax bytes; ResourceExhausted: no memory, or no descriptor.
  static Result<LoanMemory> make(std::size_t bytes);

  MutableBytes bytes() const { return mapping_.bytes(); }  // none once it is sealed
  std::size_t size() const { return size_; }
  int fd() const { return file_.get(); }

  // Nobody changes it any more, this process included. A second call does nothing.
  // Errors: Unavailable: a device still writes into it; try again when it has done. Its bytes are then gone from here.
  Status seal();

 private:
  LoanMemory(Descriptor file, Mapping mapping, std::size_t size)
      : file_(std::move(file)), mapping_(std::move(mapping)), size_(size) {}

  Descriptor file_;
  Mapping mapping_;
  std::size_t size_ = 0;
  bool sealed_ = false;
};

// The same pages to be read. The descriptor is not needed any more afterwards.
// Errors: DataLoss: another size, or not sealed: the publisher lies; ResourceExhausted: no room in the address space.
Result<Mapping> map_loan(int fd, std::uint64_t bytes);

}  // namespace sedge::platform
