// How a message names shared memory of its host, and how that is asked for. Grammar: docs/formats/loan.md.
//
// The notice is the payload of an ordinary publication. It says where the memory lies only by random names: a path or
// an address in it would let a publisher on another host send its hearers wherever it likes.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "wire/codec.h"

namespace sedge::wire {

using LoanId = Id128<struct LoanIdTag>;      // random: who has not heard it cannot ask for it
using LoanDoor = Id128<struct LoanDoorTag>;  // random: the publisher's socket in this life
using LoanHost = Id128<struct LoanHostTag>;  // equal for those who may share memory: one kernel, network and user

inline constexpr std::string_view kLoanMagic = "sedge.loan.1";
inline constexpr std::uint64_t kLoanBytesMax = std::uint64_t{1} << 30;

struct LoanNotice {
  LoanHost host;
  LoanDoor door;
  LoanId id;
  std::uint64_t bytes = 0;  // 1 to kLoanBytesMax
  friend bool operator==(const LoanNotice&, const LoanNotice&) = default;

  template <class V>
  void fields(V& visit) {
    visit("host", host);
    visit("door", door);
    visit("id", id);
    visit("bytes", bytes);
  }
};

struct LoanRequest {
  LoanId id;
  friend bool operator==(const LoanRequest&, const LoanRequest&) = default;

  template <class V>
  void fields(V& visit) {
    visit("id", id);
  }
};

struct LoanAnswer {
  LoanId id;
  bool kept = false;  // and its descriptor comes with this
  friend bool operator==(const LoanAnswer&, const LoanAnswer&) = default;

  template <class V>
  void fields(V& visit) {
    visit("id", id);
    visit("kept", kept);
  }
};

inline Buffer encode_notice(const LoanNotice& notice) { return encode(notice, to_buffer(as_bytes(kLoanMagic))); }

inline bool is_notice(Bytes payload) { return as_text(payload).starts_with(kLoanMagic); }

// Errors: DataLoss: no notice; drop the message, count it.
inline Result<LoanNotice> decode_notice(Bytes payload) {
  if (!is_notice(payload)) return fail(Code::kDataLoss, "a loan's notice begins with {}", kLoanMagic);
  SEDGE_TRY(LoanNotice notice, decode<LoanNotice>(payload.subspan(kLoanMagic.size())));
  if (notice.bytes == 0 || notice.bytes > kLoanBytesMax) {
    return fail(Code::kDataLoss, "a loan of {} bytes; 1 to {} are allowed", notice.bytes, kLoanBytesMax);
  }
  return notice;
}

}  // namespace sedge::wire
