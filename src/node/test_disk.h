// A disk of buckets, for tests of this room's cores: what an outbox wants on it is there.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "env/outbox.h"

namespace sedge::node::testing {

using Disk = std::map<std::pair<std::string, Buffer>, Buffer>;

inline void put_down(Disk& disk, const env::Outbox& out) {
  for (const env::Record& record : out.records) {
    if (record.erase)
      disk.erase({record.bucket, record.key});
    else
      disk[{record.bucket, record.key}] = record.value;
  }
}

}  // namespace sedge::node::testing
