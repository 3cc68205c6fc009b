// Invitation texts as people paste them, and the book's records as the disk gives them.
#include <cstdlib>

#include "trust/invitation.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge::trust;
  const sedge::Bytes bytes{data, size};
  if (const auto invitation = parse_invitation(sedge::as_text(bytes))) {
    if (invitation_text(*invitation) != sedge::as_text(bytes)) std::abort();
  }
  InvitationBook book;
  if (size >= 8 && book.load(bytes.first(8), bytes.subspan(8)) && book.entries().size() != 1) std::abort();
  return 0;
}
