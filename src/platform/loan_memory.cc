#include "platform/loan_memory.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/loan_messages.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace sedge::platform {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Descriptor unnamed_file() {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Descriptor file(::memfd_create("sedge-loan", flags | MFD_NOEXEC_SEAL));
  if (!file && errno == EINVAL) file = Descriptor(::memfd_create("sedge-loan", flags));  // before Linux 6.3
  return file;
}

std::unexpected<Error> no_memory(std::size_t bytes) {
  return fail(Code::kResourceExhausted, "no shared memory for a loan of {} bytes: {}", bytes, std::strerror(errno));
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Mapping::~Mapping() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

Result<LoanMemory> LoanMemory::make(std::size_t bytes) {
  if (bytes == 0 || bytes > wire::kLoanBytesMax) {
    return fail(Code::kInvalidArgument, "a loan has 1 to {} bytes, not {}", wire::kLoanBytesMax, bytes);
  }
  Descriptor file = unnamed_file();
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) return no_memory(bytes);
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return no_memory(bytes);
  Mapping mapping(static_cast<std::uint8_t*>(at), bytes);
  (void)::madvise(at, bytes, MADV_HUGEPAGE);  // where the system allows it: a 512th of the faults
  // One call for all pages: a fault for each costs several times as much, and one that finds no memory is a SIGBUS.
  if (::madvise(at, bytes, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) return no_memory(bytes);  // since Linux 5.14
  return LoanMemory(std::move(file), std::move(mapping), bytes);
}

Status LoanMemory::seal() {
  if (sealed_) return {};
  mapping_ = Mapping();  // the kernel seals nothing that somebody may write through
  if (::fcntl(file_.get(), F_ADD_SEALS, kSeals) != 0) {
    return fail(Code::kUnavailable, "a loan cannot be sealed: {}; does a device still write into it?",
                std::strerror(errno));
  }
  sealed_ = true;
  return {};
}

Result<Mapping> map_loan(int fd, std::uint64_t bytes) {
  struct stat file{};
  if (::fstat(fd, &file) != 0 || file.st_size < 0 || static_cast<std::uint64_t>(file.st_size) != bytes) {
    return fail(Code::kDataLoss, "a loan has {} bytes, not the {} that its message says", file.st_size, bytes);
  }
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return fail(Code::kDataLoss, "a loan's memory is not sealed: its publisher could still change it");
  }
  // Private: before Linux 6.7 a shared mapping of what is sealed is refused, read-only or not. The pages are the same.
  void* at = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (at == MAP_FAILED) {
    return fail(Code::kResourceExhausted, "cannot map a loan of {} bytes: {}; let go of views that are not needed",
                bytes, std::strerror(errno));
  }
  return Mapping(static_cast<std::uint8_t*>(at), bytes);
}

}  // namespace sedge::platform
