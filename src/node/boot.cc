#include "node/boot.h"

#include "env/outbox.h"
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

}  // namespace sedge::node
