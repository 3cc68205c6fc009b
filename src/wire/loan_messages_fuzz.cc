// Any bytes as a loan's notice, request and answer; what decodes has one encoding.
#include "wire/comes_back.h"
#include "wire/loan_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge;
  const Bytes bytes(data, size);
  if (const auto notice = wire::decode_notice(bytes)) SEDGE_ASSERT(wire::encode_notice(*notice) == to_buffer(bytes));
  (void)wire::comes_back<wire::LoanRequest>(bytes);
  (void)wire::comes_back<wire::LoanAnswer>(bytes);
  return 0;
}
