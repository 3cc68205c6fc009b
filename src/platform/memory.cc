#include "platform/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include <unistd.h>

namespace sedge::platform {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

// "max", and a group that is not there, are no limit.
std::size_t limit_in(const fs::path& file) {
  std::size_t bytes = 0;
  std::ifstream text(file);
  return text >> bytes && bytes > 0 ? bytes : kNone;
}

// Of the group and of all above it.
std::size_t least_limit(const fs::path& mount, std::string_view group, const char* file) {
  std::size_t least = kNone;
  for (fs::path path = fs::path(group).relative_path();; path = path.parent_path()) {
    least = std::min(least, limit_in(mount / path / file));
    if (path.empty()) return least;
  }
}

}  // namespace

std::size_t group_limit_bytes(std::string_view membership, const fs::path& mounted) {
  std::size_t least = kNone;
  while (!membership.empty()) {  // lines of number:controllers:/path
    const std::string_view line = membership.substr(0, membership.find('\n'));
    membership.remove_prefix(std::min(membership.size(), line.size() + 1));
    const std::size_t first = line.find(':');
    const std::size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string controllers = "," + std::string(line.substr(first + 1, second - first - 1)) + ",";
    const std::string_view group = line.substr(second + 1);
    if (controllers == ",,") {
      for (const fs::path& mount : {mounted, mounted / "unified"}) {
        least = std::min(least, least_limit(mount, group, "memory.max"));
      }
    } else if (controllers.find(",memory,") != controllers.npos) {
      least = std::min(least, least_limit(mounted / "memory", group, "memory.limit_in_bytes"));
    }
  }
  return least == kNone ? 0 : least;
}

std::size_t memory_bytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  const std::size_t all = pages > 0 && page > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page) : 0;
  std::ifstream file("/proc/self/cgroup");
  const std::string membership{std::istreambuf_iterator<char>(file), {}};
  const std::size_t limit = group_limit_bytes(membership, "/sys/fs/cgroup");
  return limit != 0 && all != 0 ? std::min(all, limit) : all;
}

std::size_t weights_memory_bytes(std::size_t all, std::size_t taken) {
  if (all == 0) return 0;
  const std::size_t most = all / 8 * 7;
  return most > taken ? most - taken : 1;
}

std::size_t text_memory_bytes(std::size_t all, std::size_t models) {
  if (all == 0) return std::numeric_limits<std::size_t>::max();
  const std::size_t reserve = std::max(all / 8, std::size_t{256} << 20);
  return std::max(all - std::min(all, models + reserve), all / 16);
}

}  // namespace sedge::platform
