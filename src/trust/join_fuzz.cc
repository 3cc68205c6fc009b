// The three messages of the join exchange on any bytes.
#include <algorithm>
#include <cstdlib>

#include "trust/join.h"
#include "wire/codec.h"

namespace {

template <class T>
void round_trip(sedge::Bytes bytes) {
  const auto message = sedge::wire::decode<T>(bytes);
  if (message && !std::ranges::equal(sedge::wire::encode(*message), bytes)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::trust;
  const sedge::Bytes bytes{data, size};
  round_trip<JoinRequest>(bytes);
  round_trip<JoinGrant>(bytes);
  round_trip<JoinRefusal>(bytes);
  if (const auto grant = sedge::wire::decode<JoinGrant>(bytes)) {
    if (check_grant({}, {}, {}, *grant)) std::abort();
  }
  return 0;
}
