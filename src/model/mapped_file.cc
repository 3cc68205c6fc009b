#include "model/mapped_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

namespace sedge::model {
namespace {

std::unexpected<Error> system_error(const std::filesystem::path& path) {
  const int reason = errno;
  const Code code = reason == ENOENT                      ? Code::kNotFound
                    : reason == EACCES || reason == EPERM ? Code::kPermissionDenied
                                                          : Code::kUnknown;
  return fail(code, "{}: {}", path.string(), std::strerror(reason));
}

std::int64_t nanoseconds(const struct timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: a FIFO under this name must not hang us before fstat can refuse it.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return system_error(path);
  struct stat info{};
  if (::fstat(file.fd, &info) != 0) return system_error(path);
  if (!S_ISREG(info.st_mode)) return fail(Code::kInvalidArgument, "{}: not a regular file", path.string());
  Bytes view;
  if (info.st_size > 0) {
    const auto size = static_cast<std::size_t>(info.st_size);
    void* start = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.fd, 0);
    if (start == MAP_FAILED) return system_error(path);
    view = Bytes(static_cast<const std::uint8_t*>(start), size);
  }
  const FileStamp stamp{info.st_ino, static_cast<std::uint64_t>(info.st_size), nanoseconds(info.st_mtim),
                        nanoseconds(info.st_ctim)};
  return std::shared_ptr<const MappedFile>(new MappedFile(view, stamp));
}

void MappedFile::forget(Bytes part) const {
  SEDGE_ASSERT(part.data() >= bytes_.data() && part.data() + part.size() <= bytes_.data() + bytes_.size());
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = static_cast<std::size_t>(part.data() - bytes_.data()) / page * page;
  const auto end = static_cast<std::size_t>(part.data() - bytes_.data()) + part.size();
  if (end == begin) return;
  ::madvise(const_cast<std::uint8_t*>(bytes_.data()) + begin, end - begin, MADV_DONTNEED);  // advice
}

void MappedFile::expect() const {
  if (!bytes_.empty()) ::madvise(const_cast<std::uint8_t*>(bytes_.data()), bytes_.size(), MADV_WILLNEED);  // advice
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::uint8_t*>(bytes_.data()), bytes_.size());
}

}  // namespace sedge::model
