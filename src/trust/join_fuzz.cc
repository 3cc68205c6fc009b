// The messages of the join exchange on any bytes, and what an issuer's disk keeps of a rotation.
#include <algorithm>
#include <cstdlib>

#include "trust/join.h"
#include "trust/rotation.h"
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
  round_trip<RotationRequest>(bytes);
  round_trip<Replacement>(bytes);
  if (const auto asked = sedge::wire::decode<RotationRequest>(bytes)) {
    if (check_rotation(PublicKey{}, asked->join.key, asked->rotation)) std::abort();
  }
  if (const auto grant = sedge::wire::decode<JoinGrant>(bytes)) {
    if (check_grant({}, {}, {}, *grant)) std::abort();
  }
  return 0;
}
