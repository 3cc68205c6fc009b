// $SEDGE_HOME on disk: who this node is. Formats: trust/home.h. Secret files are 0600, the folder 0700, and one process
// at a time holds it (a lock that the kernel drops with the process, however it dies).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "base/result.h"
#include "trust/certificate.h"
#include "trust/home.h"
#include "trust/invitation.h"
#include "trust/keys.h"

namespace sedge::platform {

struct Identity {
  trust::SecretKey key;
  trust::CertificateChain chain;
  trust::PublicKey root;
  trust::FleetSecret fleet_secret{};
  std::optional<trust::SecretKey> issuer_key;  // this node may invite
  std::optional<trust::Certificate> issuer;
  std::optional<trust::CertificateChain> former;  // whose state this was before the last rotation
};

// Errors: FailedPrecondition: nobody enrolled this home yet; says how.
Result<Identity> read_identity(const std::filesystem::path& home);
Status write_home_file(const std::filesystem::path& home, trust::HomeFile file, const std::string& content);
Result<std::string> read_home_file(const std::filesystem::path& home, trust::HomeFile file);
bool has_home_file(const std::filesystem::path& home, trust::HomeFile file);
Status remove_home_file(const std::filesystem::path& home, trust::HomeFile file);  // durably
// Makes the folder, mode 0700. Fine if it exists.
Status make_home(const std::filesystem::path& home);

// Held for the life of the object. Errors: FailedPrecondition: another process holds the home.
class HomeLock {
 public:
  static Result<HomeLock> take(const std::filesystem::path& home);
  HomeLock(HomeLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  HomeLock& operator=(HomeLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~HomeLock();

 private:
  explicit HomeLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace sedge::platform
