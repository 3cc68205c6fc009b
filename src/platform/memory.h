// What memory this process may count on, and how much of it texts may take.
//
// A container or a service with MemoryMax= is ended at its group's limit, however much the machine has: so the limit of
// our control group, and of each above it, is asked as well. Sources: the kernel's cgroup-v2.rst and
// cgroup-v1/memory.rst.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace sedge::platform {

// What this machine has, or the least that our groups leave of it; 0: the system does not say.
std::size_t memory_bytes();

// The least limit of our control groups, 0 where none is set. `membership`: the text of /proc/self/cgroup; `mounted`:
// where the groups are (version 2 there or in unified/, version 1 in memory/). In a container a group's own path may
// not be there: then those above it count, up to the mount.
std::size_t group_limit_bytes(std::string_view membership, const std::filesystem::path& mounted);

// What packed weights may take of `all` beside `taken` by those that are loaded: seven eighths of all, and a byte at
// least. 0: the system does not say what there is.
std::size_t weights_memory_bytes(std::size_t all, std::size_t taken);

// What running texts and remembered beginnings may take of `all` beside `models`: what models leave, less an eighth of
// all (256 MiB at least) for everything else that runs here, this node's own tables, scratch and queues among it. A
// sixteenth in any case: weights are mapped, and a machine that they fill still serves, slowly. Where the system does
// not say what there is, nobody counts.
std::size_t text_memory_bytes(std::size_t all, std::size_t models);

}  // namespace sedge::platform
