#include "platform/loan_memory.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "wire/loan_messages.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace sedge::platform {
namespace {

// Nobody maps it to write from now on but who has done so, nobody cuts it, and these seals stay.
constexpr int kSeals = F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr std::size_t kGrain = 64u << 10;  // loans of nearly the same size, as point clouds are, use the same memory

Descriptor unnamed_file() {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Descriptor file(::memfd_create("sedge-loan", flags | MFD_NOEXEC_SEAL));
  if (!file && errno == EINVAL) file = Descriptor(::memfd_create("sedge-loan", flags));  // before Linux 6.3
  return file;
}

// The same file, opened once more: only then does the kernel count who has it.
Descriptor reopened(const Descriptor& file, int mode) {
  return Descriptor(::open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), mode | O_CLOEXEC));
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
  const std::size_t capacity = (bytes + kGrain - 1) / kGrain * kGrain;
  const Descriptor made = unnamed_file();
  if (!made || ::ftruncate(made.get(), static_cast<off_t>(capacity)) != 0) return no_memory(bytes);
  void* at = ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, made.get(), 0);
  if (at == MAP_FAILED) return no_memory(bytes);
  Mapping mapping({static_cast<std::uint8_t*>(at), capacity});
  (void)::madvise(at, capacity, MADV_HUGEPAGE);  // where the system allows it
  // One call for all pages; a write to one for which there is no memory would be a SIGBUS. Since Linux 5.14.
  if (::madvise(at, capacity, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) return no_memory(bytes);
  Descriptor file = reopened(made, O_RDWR);
  // A lease that somebody's open() breaks sends a signal, by default one that ends the process.
  if (!file || ::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0 || ::fcntl(file.get(), F_SETSIG, SIGURG) != 0) {
    return fail(Code::kUnavailable, "memory cannot be lent here (Linux 5.1 or newer, with /proc): {}",
                std::strerror(errno));
  }
  return LoanMemory(std::move(file), std::move(mapping), bytes);
}

Status LoanMemory::protect() const {
  if (::mprotect(mapping_.bytes().data(), capacity(), PROT_READ) != 0) return no_memory(bytes_);
  return {};
}

Result<Descriptor> LoanMemory::lend() const {
  Descriptor reading = reopened(file_, O_RDONLY);
  if (!reading) return fail(Code::kResourceExhausted, "no descriptor to lend a loan by: {}", std::strerror(errno));
  return reading;
}

bool LoanMemory::is_free() const {
  return ::fcntl(file_.get(), F_SETLEASE, F_WRLCK) == 0 && ::fcntl(file_.get(), F_SETLEASE, F_UNLCK) == 0;
}

Status LoanMemory::reuse(std::size_t bytes) {
  SEDGE_ASSERT(bytes > 0 && bytes <= capacity());
  if (::mprotect(mapping_.bytes().data(), capacity(), PROT_READ | PROT_WRITE) != 0) return no_memory(bytes);
  bytes_ = bytes;
  return {};
}

Result<Mapping> map_loan(int fd, std::uint64_t bytes) {
  struct stat file{};
  if (::fstat(fd, &file) != 0 || file.st_size < 0 || static_cast<std::uint64_t>(file.st_size) < bytes) {
    return fail(Code::kDataLoss, "a loan has {} bytes, not the {} that its message says", file.st_size, bytes);
  }
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return fail(Code::kDataLoss, "a loan's memory is not sealed: others could still cut or change it");
  }
  void* at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) {
    return fail(Code::kResourceExhausted, "cannot map a loan of {} bytes: {}; let go of views that are not needed",
                bytes, std::strerror(errno));
  }
  return Mapping({static_cast<std::uint8_t*>(at), bytes});
}

}  // namespace sedge::platform
