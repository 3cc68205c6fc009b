// The files of $SEDGE_HOME, as a stick or an editor may have left them.
#include "trust/home.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::trust;
  const std::string_view text = sedge::as_text({data, size});
  static_cast<void>(decode_key(HomeFile::kNodeKey, text));
  static_cast<void>(decode_node_certificate(text));
  static_cast<void>(decode_node_certificate(text, HomeFile::kFormerCertificate));
  static_cast<void>(decode_issuer_certificate(text));
  static_cast<void>(decode_root(text));
  static_cast<void>(decode_fleet_secret(text));
  return 0;
}
