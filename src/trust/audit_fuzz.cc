// Entries, heads, proofs and the bodies of entries on any bytes: a value that encodes to the same bytes, or an error;
// and no proof is believed that nobody signed. The two messages that carry them are read as well.
#include <algorithm>
#include <cstdlib>

#include "trust/audit.h"
#include "wire/audit_messages.h"
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
  if (size == 0) return 0;
  const sedge::Bytes bytes(data + 1, size - 1);
  const Directory directory{PublicKey{}};
  switch (data[0]) {
    case 'E':
      if (const auto entry = decode_entry(bytes)) {
        if (!std::ranges::equal(encode_entry(*entry), bytes) || verify_entry(directory, *entry)) std::abort();
        round_trip<AuditStart>(entry->body);
        round_trip<AuditEnrolled>(entry->body);
        round_trip<AuditRevoked>(entry->body);
        round_trip<AuditInference>(entry->body);
        round_trip<AuditRefusals>(entry->body);
      }
      break;
    case 'H':
      if (const auto head = decode_head(bytes)) {
        if (!std::ranges::equal(encode_head(*head), bytes) || verify_head(directory, *head)) std::abort();
      }
      break;
    case 'P':
      if (const auto proof = sedge::wire::decode<AuditProof>(bytes)) {
        if (verify_proof(directory, *proof)) std::abort();
      }
      break;
    case 'Q':
      round_trip<sedge::wire::AuditRequest>(bytes);
      break;
    case 'C':
      round_trip<sedge::wire::AuditChunk>(bytes);
      break;
    default:
      break;
  }
  return 0;
}
