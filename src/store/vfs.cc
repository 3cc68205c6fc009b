#include "store/vfs.h"

#include <algorithm>
#include <cstring>
#include <new>

#include <sqlite3.h>

namespace sedge::store {
namespace {

constexpr int kSectorBytes = 4096;
constexpr int kPathBytesMax = 512;

// SQLite allocates it and looks at the first member only.
struct OpenFile {
  sqlite3_file base;
  Vfs* vfs;
  env::File* file;  // owned
};

OpenFile& as_open(sqlite3_file* file) { return *reinterpret_cast<OpenFile*>(file); }
Vfs& as_vfs(sqlite3_vfs* vfs) { return *static_cast<Vfs*>(vfs->pAppData); }

int close_file(sqlite3_file* file) {
  delete as_open(file).file;
  as_open(file).file = nullptr;
  return SQLITE_OK;
}

int read_file(sqlite3_file* file, void* out, int bytes, sqlite3_int64 offset) {
  OpenFile& open = as_open(file);
  const MutableBytes into(static_cast<std::uint8_t*>(out), static_cast<std::size_t>(bytes));
  auto got = open.file->read(static_cast<std::uint64_t>(offset), into);
  if (!got) return open.vfs->failed(std::move(got).error(), SQLITE_IOERR_READ);
  if (*got >= into.size()) return SQLITE_OK;
  std::ranges::fill(into.subspan(*got), std::uint8_t{0});  // SQLite relies on it
  return SQLITE_IOERR_SHORT_READ;
}

int write_file(sqlite3_file* file, const void* data, int bytes, sqlite3_int64 offset) {
  OpenFile& open = as_open(file);
  const Bytes from(static_cast<const std::uint8_t*>(data), static_cast<std::size_t>(bytes));
  const Status written = open.file->write(static_cast<std::uint64_t>(offset), from);
  if (written) return SQLITE_OK;
  const bool full = written.error().code == Code::kResourceExhausted;
  return open.vfs->failed(written.error(), full ? SQLITE_FULL : SQLITE_IOERR_WRITE);
}

int truncate_file(sqlite3_file* file, sqlite3_int64 bytes) {
  OpenFile& open = as_open(file);
  const Status done = open.file->truncate(static_cast<std::uint64_t>(bytes));
  return done ? SQLITE_OK : open.vfs->failed(done.error(), SQLITE_IOERR_TRUNCATE);
}

int sync_file(sqlite3_file* file, int) {
  OpenFile& open = as_open(file);
  const Status done = open.file->sync();
  return done ? SQLITE_OK : open.vfs->failed(done.error(), SQLITE_IOERR_FSYNC);
}

int size_of_file(sqlite3_file* file, sqlite3_int64* bytes) {
  OpenFile& open = as_open(file);
  const auto size = open.file->size();
  if (!size) return open.vfs->failed(size.error(), SQLITE_IOERR_FSTAT);
  *bytes = static_cast<sqlite3_int64>(*size);
  return SQLITE_OK;
}

int lock_file(sqlite3_file*, int) { return SQLITE_OK; }
int check_lock(sqlite3_file*, int* held) {
  *held = 0;
  return SQLITE_OK;
}
int control_file(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int sector_size(sqlite3_file*) { return kSectorBytes; }
int device_characteristics(sqlite3_file*) { return 0; }

constexpr sqlite3_io_methods kMethods = {
    1,         close_file, read_file,    write_file,  truncate_file,          sync_file, size_of_file, lock_file,
    lock_file, check_lock, control_file, sector_size, device_characteristics, nullptr,   nullptr,      nullptr,
    nullptr,   nullptr,    nullptr};

int open_file(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* const open = new (file) OpenFile{{nullptr}, &as_vfs(vfs), nullptr};
  if (!name) return open->vfs->failed({Code::kInternal, "SQLite asked for a temporary file"}, SQLITE_CANTOPEN);
  auto opened = open->vfs->storage().open(name, (flags & SQLITE_OPEN_CREATE) != 0);
  if (!opened) return open->vfs->failed(std::move(opened).error(), SQLITE_CANTOPEN);
  open->file = opened->release();
  open->base.pMethods = &kMethods;
  if (out_flags) *out_flags = flags;
  return SQLITE_OK;
}

int delete_file(sqlite3_vfs* vfs, const char* name, int sync_directory) {
  const Status removed = as_vfs(vfs).storage().remove(name, sync_directory != 0);
  if (removed) return SQLITE_OK;
  const bool absent = removed.error().code == Code::kNotFound;
  return as_vfs(vfs).failed(removed.error(), absent ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE);
}

int access_file(sqlite3_vfs* vfs, const char* name, int, int* out) {
  const auto exists = as_vfs(vfs).storage().exists(name);
  if (!exists) return as_vfs(vfs).failed(exists.error(), SQLITE_IOERR_ACCESS);
  *out = *exists ? 1 : 0;
  return SQLITE_OK;
}

int full_path(sqlite3_vfs*, const char* name, int bytes_max, char* out) {
  const std::size_t bytes = std::strlen(name) + 1;
  if (bytes > static_cast<std::size_t>(bytes_max)) return SQLITE_CANTOPEN;
  std::memcpy(out, name, bytes);
  return SQLITE_OK;
}

int no_randomness(sqlite3_vfs*, int bytes, char* out) {
  std::memset(out, 0, static_cast<std::size_t>(bytes));
  return bytes;
}
int no_sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
int no_time(sqlite3_vfs*, double* days) {
  *days = 0;
  return SQLITE_OK;
}
int last_system_error(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

Vfs::Vfs(env::Storage& storage)
    : storage_(storage),
      name_(fmt::format("sedge-{}", static_cast<const void*>(this))),
      vfs_(std::make_unique<sqlite3_vfs>()) {
  *vfs_ = sqlite3_vfs{};
  vfs_->iVersion = 1;
  vfs_->szOsFile = sizeof(OpenFile);
  vfs_->mxPathname = kPathBytesMax;
  vfs_->zName = name_.c_str();
  vfs_->pAppData = this;
  vfs_->xOpen = open_file;
  vfs_->xDelete = delete_file;
  vfs_->xAccess = access_file;
  vfs_->xFullPathname = full_path;
  vfs_->xRandomness = no_randomness;
  vfs_->xSleep = no_sleep;
  vfs_->xCurrentTime = no_time;
  vfs_->xGetLastError = last_system_error;
  sqlite3_vfs_register(vfs_.get(), 0);
}

Vfs::~Vfs() { sqlite3_vfs_unregister(vfs_.get()); }

}  // namespace sedge::store
