#include "platform/system.h"

#include <cerrno>
#include <ctime>

#include <sys/random.h>
#include <unistd.h>

#include "base/assert.h"

namespace sedge::platform {

Instant now() {
  timespec time{};
  SEDGE_ASSERT(clock_gettime(CLOCK_BOOTTIME, &time) == 0);
  return Instant(std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec));
}

std::int64_t wall_seconds() { return static_cast<std::int64_t>(std::time(nullptr)); }

std::int64_t local_seconds() {
  const std::time_t now = wall_seconds();
  std::tm local{};
  return now + (localtime_r(&now, &local) != nullptr ? local.tm_gmtoff : 0);
}

std::string host_name() {
  char name[65] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != 0 ? name : "node";
}

void SystemEntropy::fill(MutableBytes out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::getrandom(out.data() + done, out.size() - done, 0);
    if (got < 0 && errno == EINTR) continue;
    SEDGE_ASSERT(got > 0);  // without randomness no key is safe
    done += static_cast<std::size_t>(got);
  }
}

}  // namespace sedge::platform
