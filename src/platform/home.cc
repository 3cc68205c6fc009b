#include "platform/home.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/file_storage.h"

namespace sedge::platform {

using trust::HomeFile;

bool has_home_file(const std::filesystem::path& home, HomeFile file) {
  return std::filesystem::exists(home / trust::home_file(file).name);
}

Result<std::string> read_home_file(const std::filesystem::path& home, HomeFile file) {
  SEDGE_TRY(const Buffer content, read_file(home / trust::home_file(file).name, trust::kHomeFileBytesMax));
  return std::string(as_text(content));
}

Status write_home_file(const std::filesystem::path& home, HomeFile file, const std::string& content) {
  const auto path = home / trust::home_file(file).name;
  SEDGE_CHECK(write_file_atomically(path, as_bytes(content)));
  if (!trust::home_file(file).secret && ::chmod(path.c_str(), 0644) != 0) {
    return fail(Code::kUnavailable, "{}: cannot set its mode: {}", path.string(), std::strerror(errno));
  }
  return {};
}

Status remove_home_file(const std::filesystem::path& home, HomeFile file) {
  return FileStorage(home).remove(trust::home_file(file).name, true);
}

Status make_home(const std::filesystem::path& home) {
  std::error_code error;
  std::filesystem::create_directories(home, error);
  if (error || ::chmod(home.c_str(), 0700) != 0) {
    return fail(Code::kUnavailable, "cannot make the folder {}: {}; give another with --home or SEDGE_HOME",
                home.string(), error ? error.message() : std::strerror(errno));
  }
  return {};
}

Result<Identity> read_identity(const std::filesystem::path& home) {
  if (!has_home_file(home, HomeFile::kNodeCertificate)) {
    return fail(Code::kFailedPrecondition,
                "{} belongs to no fleet yet: `sedge fleet create` starts one, `sedge fleet join INVITATION` joins one",
                home.string());
  }
  Identity identity;
  SEDGE_TRY(const std::string key, read_home_file(home, HomeFile::kNodeKey));
  SEDGE_TRY(identity.key, trust::decode_key(HomeFile::kNodeKey, key));
  SEDGE_TRY(const std::string chain, read_home_file(home, HomeFile::kNodeCertificate));
  SEDGE_TRY(identity.chain, trust::decode_node_certificate(chain));
  SEDGE_TRY(const std::string root, read_home_file(home, HomeFile::kFleetRoot));
  SEDGE_TRY(identity.root, trust::decode_root(root));
  SEDGE_TRY(const std::string secret, read_home_file(home, HomeFile::kFleetSecret));
  SEDGE_TRY(identity.fleet_secret, trust::decode_fleet_secret(secret));
  if (has_home_file(home, HomeFile::kIssuerKey)) {
    SEDGE_TRY(const std::string issuer_key, read_home_file(home, HomeFile::kIssuerKey));
    SEDGE_TRY(identity.issuer_key, trust::decode_key(HomeFile::kIssuerKey, issuer_key));
    SEDGE_TRY(const std::string issuer, read_home_file(home, HomeFile::kIssuerCertificate));
    SEDGE_TRY(identity.issuer, trust::decode_issuer_certificate(issuer));
  }
  if (has_home_file(home, HomeFile::kFormerCertificate)) {
    SEDGE_TRY(const std::string former, read_home_file(home, HomeFile::kFormerCertificate));
    SEDGE_TRY(identity.former, trust::decode_node_certificate(former, HomeFile::kFormerCertificate));
  }
  return identity;
}

Result<HomeLock> HomeLock::take(const std::filesystem::path& home) {
  const auto path = home / "lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fail(Code::kUnavailable, "cannot open {}: {}", path.string(), std::strerror(errno));
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return HomeLock(fd);
  ::close(fd);
  return fail(Code::kFailedPrecondition,
              "another sedge process holds {}: stop it, or give this one its own home with --home", home.string());
}

HomeLock::~HomeLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace sedge::platform
