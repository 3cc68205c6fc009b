#include "node/boot.h"

#include <algorithm>
#include <string>

#include "crdt/op.h"
#include "env/outbox.h"
#include "mesh/state_rows.h"
#include "mesh/state_sync.h"
#include "wire/codec.h"

namespace sedge::node {
namespace {

constexpr const char* kBucket = "boot";

struct Boot {
  BootEpoch epoch;
  template <class V>
  void fields(V& visit) {
    visit("epoch", epoch);
  }
};

}  // namespace

Result<BootEpoch> begin_epoch(store::Store& store) {
  Boot boot;
  SEDGE_CHECK(store.load(kBucket, [&boot](Bytes, Bytes value) -> Status {
    SEDGE_TRY(boot, wire::decode<Boot>(value));
    return {};
  }));
  ++boot.epoch;
  const env::Record record{.bucket = kBucket, .key = to_buffer(as_bytes("epoch")), .value = wire::encode(boot)};
  SEDGE_CHECK(store.apply(std::span(&record, 1)));
  return boot.epoch;
}

Result<trust::Cut> last_write(store::Store& store, NodeId self) {
  trust::Cut last;
  SEDGE_CHECK(store.load(std::string(mesh::kStateOpBucket), [&](Bytes, Bytes value) -> Status {
    SEDGE_TRY(const crdt::Op op, crdt::decode_op(value));
    if (op.dot.origin == self) last = std::max(last, trust::Cut{op.dot.epoch, op.dot.sequence});
    return {};
  }));
  // Those that newer ones ended are on disk no more, but their numbers are.
  SEDGE_CHECK(store.load(std::string(mesh::kStateVectorBucket), [&](Bytes, Bytes value) -> Status {
    SEDGE_TRY(const auto row, wire::decode<wire::StateRow>(value));
    if (row.origin != self) return {};
    SEDGE_TRY(const crdt::VersionVector::Row known, mesh::from_wire(row));
    for (const auto& [epoch, sequences] : known.epochs) last = std::max(last, trust::Cut{epoch, {sequences.max()}});
    return {};
  }));
  return last;
}

}  // namespace sedge::node
