// The peer's TLS certificate: the first bytes of a stranger that we parse after TLS itself.
#include "quic/tls.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static_cast<void>(sedge::quic::read_certificate({data, size}));
  return 0;
}
