// A disk in memory that behaves like one: what a process wrote is there for it at once, but survives a power cut for
// sure only when it was synced. Of what was not, each sector of 512 bytes survives or does not, as the seed has it,
// so that later writes may be found without earlier ones and a write may be torn.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "env/storage.h"

namespace sedge::sim {

class Disk final : public env::Storage {
 public:
  Result<std::unique_ptr<env::File>> open(std::string_view name, bool create) override;
  Status remove(std::string_view name, bool sync_directory) override;
  Result<bool> exists(std::string_view name) override { return files_.contains(name); }

  // The power goes and comes back: of what was not synced each sector is lost or not, drawn from the seed. (From one of
  // its own: how many sectors a version of the store has written must not decide what else is drawn in a world.)
  void cut_power(std::uint64_t seed);
  // From the n-th change from now on (writes, truncations, syncs, removals) everything fails: the power went within
  // an operation. Call cut_power() then. 0: the next one.
  void fail_after(std::uint64_t changes) { changes_left_ = static_cast<std::int64_t>(changes); }
  // The same, but it is the disk that fails: the process lives to see the error.
  void break_after(std::uint64_t changes) {
    fail_after(changes);
    breaks_ = true;
  }
  bool broken() const { return breaks_ && changes_left_ == 0; }
  void mend() {
    changes_left_ = -1;
    breaks_ = false;
  }
  std::uint64_t syncs() const { return syncs_; }

 private:
  friend class DiskFile;
  struct Change {
    bool truncate = false;
    std::uint64_t offset = 0;  // or the new size
    Buffer data;
    Buffer before;                // what stood there,
    std::size_t size_before = 0;  // in a file of this size
  };
  struct Stored {
    Buffer now;  // as the living process sees it
    std::vector<Change> unsynced;
  };
  Status spend();

  std::map<std::string, Stored, std::less<>> files_;
  std::int64_t changes_left_ = -1;  // -1: for ever
  bool breaks_ = false;
  std::uint64_t syncs_ = 0;
};

}  // namespace sedge::sim
