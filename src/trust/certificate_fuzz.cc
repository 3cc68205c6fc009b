// Chains and revocations on any bytes: a value that encodes to the same bytes, or an error; and checking it never
// believes what nobody signed.
#include <algorithm>
#include <cstdlib>

#include "trust/directory.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::trust;
  const sedge::Bytes bytes{data, size};
  if (const auto chain = decode_chain(bytes)) {
    if (!std::ranges::equal(encode_chain(*chain), bytes)) std::abort();
    static_cast<void>(chain->issuer.grants.covers(chain->node.grants));
  }
  if (const auto revocation = decode_revocation(bytes)) {
    if (!std::ranges::equal(encode_revocation(*revocation), bytes)) std::abort();
    if (verify_revocation(PublicKey{}, *revocation)) std::abort();
  }
  Directory directory{PublicKey{}};
  if (directory.add(bytes) || directory.admit(bytes)) std::abort();
  return 0;
}
