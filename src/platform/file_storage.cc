#include "platform/file_storage.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sedge::platform {
namespace {

std::unexpected<Error> system_error(const std::filesystem::path& path, const char* what) {
  const Code code = errno == ENOENT   ? Code::kNotFound
                    : errno == ENOSPC ? Code::kResourceExhausted
                    : errno == EACCES ? Code::kPermissionDenied
                                      : Code::kUnavailable;
  return fail(code, "{}: cannot {}: {}", path.string(), what, std::strerror(errno));
}

class RealFile final : public env::File {
 public:
  RealFile(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~RealFile() override { ::close(fd_); }
  RealFile(const RealFile&) = delete;
  RealFile& operator=(const RealFile&) = delete;

  Result<std::size_t> read(std::uint64_t offset, MutableBytes out) override {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return system_error(path_, "read");
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

  Status write(std::uint64_t offset, Bytes data) override {
    std::size_t done = 0;
    while (done < data.size()) {
      const ssize_t put = ::pwrite(fd_, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return system_error(path_, "write");
      done += static_cast<std::size_t>(put);
    }
    return {};
  }

  Status truncate(std::uint64_t bytes) override {
    if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return system_error(path_, "truncate");
    return {};
  }

  Status sync() override {
    if (::fdatasync(fd_) != 0) return system_error(path_, "sync");
    return {};
  }

  Result<std::uint64_t> size() override {
    struct stat info{};
    if (::fstat(fd_, &info) != 0) return system_error(path_, "stat");
    return static_cast<std::uint64_t>(info.st_size);
  }

 private:
  std::filesystem::path path_;
  int fd_;
};

}  // namespace

Result<std::unique_ptr<env::File>> FileStorage::open(std::string_view name, bool create) {
  const auto path = directory_ / name;
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
  if (fd < 0) return system_error(path, "open");
  return std::make_unique<RealFile>(path, fd);
}

Status FileStorage::remove(std::string_view name, bool with_directory) {
  const auto path = directory_ / name;
  if (::unlink(path.c_str()) != 0) return system_error(path, "remove");
  return with_directory ? sync_directory() : Status();
}

Result<bool> FileStorage::exists(std::string_view name) {
  const auto path = directory_ / name;
  if (::access(path.c_str(), F_OK) == 0) return true;
  if (errno == ENOENT) return false;
  return system_error(path, "look up");
}

Status FileStorage::sync_directory() {
  const int fd = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error(directory_, "open");
  const int result = ::fsync(fd);
  ::close(fd);
  if (result != 0) return system_error(directory_, "sync");
  return {};
}

Status write_file_atomically(const std::filesystem::path& path, Bytes content) {
  FileStorage directory(path.parent_path());
  const std::string temporary = path.filename().string() + ".new";
  {
    SEDGE_TRY(const auto file, directory.open(temporary, true));
    SEDGE_CHECK(file->truncate(0));
    SEDGE_CHECK(file->write(0, content));
    SEDGE_CHECK(file->sync());
  }
  if (::rename((path.parent_path() / temporary).c_str(), path.c_str()) != 0) return system_error(path, "replace");
  const int fd = ::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error(path.parent_path(), "open");
  const int result = ::fsync(fd);
  ::close(fd);
  if (result != 0) return system_error(path.parent_path(), "sync");
  return {};
}

Result<Buffer> read_file(const std::filesystem::path& path, std::size_t bytes_max) {
  FileStorage directory(path.parent_path());
  SEDGE_TRY(const auto file, directory.open(path.filename().string(), false));
  SEDGE_TRY(const std::uint64_t bytes, file->size());
  if (bytes > bytes_max) {
    return fail(Code::kResourceExhausted, "{}: {} bytes, at most {} are read", path.string(), bytes, bytes_max);
  }
  Buffer content(static_cast<std::size_t>(bytes));
  SEDGE_TRY(const std::size_t got, file->read(0, content));
  content.resize(got);
  return content;
}

}  // namespace sedge::platform
