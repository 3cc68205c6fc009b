// Shared memory that one process writes and others on its host then read: the pages of a message too large to copy.
//
// A robot's camera frame goes to three processes of one board. Each loan is a file without a name (memfd) that its
// publisher has mapped: it writes, protects its pages, and lends; whoever is given a descriptor maps the same pages to
// read. When nobody has them any more they are written again: new pages cost the kernel several times as much as a copy
// (docs/adr/0036). That nobody has them is the kernel's word, not a count that processes keep: a lease for writing is
// granted when no other open file of these pages is left, mapped or on its way through a socket, whoever died holding
// it. Seals keep everybody else from writing, and the file from shrinking, which would end a reader by SIGBUS.
// Rejected: a seal against the publisher's own writing too (F_SEAL_WRITE): it is for ever, so each loan wants new
// pages. A pool with reference counts in shared memory, as iceoryx and DDS have: docs/adr/0036.
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
  explicit Mapping(MutableBytes pages) : bytes_(pages) {}
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

// The publisher's: written, lent, and taken back again and again. Threads: one at a time.
class LoanMemory {
 public:
  // To be written. All of it is there at once, so that a write never fails.
  // Errors: InvalidArgument: not 1 to wire::kLoanBytesMax bytes; ResourceExhausted: no memory, or no descriptor;
  // Unavailable: this system does not let it be sealed, or /proc is not there.
  static Result<LoanMemory> make(std::size_t bytes);

  MutableBytes bytes() const { return mapping_.bytes().first(bytes_); }
  std::size_t size() const { return bytes_; }
  std::size_t capacity() const { return mapping_.bytes().size(); }
  int fd() const { return file_.get(); }

  // From now on its pages are read-only, here too. Errors: ResourceExhausted: the kernel has no room to note it.
  Status protect() const;
  // For a reader, who has it until he closes it and unmaps what he mapped. Errors: ResourceExhausted: no descriptor.
  Result<Descriptor> lend() const;
  // Whether no reader has it: then nobody gets it either, unless it is lent.
  bool is_free() const;
  // To be written again. Requires: bytes <= capacity(); is_free().
  Status reuse(std::size_t bytes);

 private:
  LoanMemory(Descriptor file, Mapping mapping, std::size_t bytes)
      : file_(std::move(file)), mapping_(std::move(mapping)), bytes_(bytes) {}

  Descriptor file_;
  Mapping mapping_;
  std::size_t bytes_ = 0;
};

// What was lent, to be read. The descriptor is not needed any more afterwards.
// Errors: DataLoss: too short, or not sealed: the publisher lies; ResourceExhausted: no room in the address space.
Result<Mapping> map_loan(int fd, std::uint64_t bytes);

}  // namespace sedge::platform
