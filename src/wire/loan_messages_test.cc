#include "wire/loan_messages.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::wire {
namespace {

template <class IdType>
IdType any_id() {
  return {*rc::gen::arbitrary<std::array<std::uint8_t, 16>>()};
}

TEST(LoanMessages, a_notice_comes_back_from_its_bytes) {
  EXPECT_TRUE(rc::check([] {
    const LoanNotice notice{any_id<LoanHost>(), any_id<LoanDoor>(), any_id<LoanId>(),
                            *rc::gen::inRange<std::uint64_t>(1, kLoanBytesMax + 1)};
    const auto decoded = decode_notice(encode_notice(notice));
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(*decoded == notice);
  }));
}

TEST(LoanMessages, a_size_that_no_loan_has_is_no_notice) {
  EXPECT_EQ(decode_notice(encode_notice({.bytes = 0})).error().code, Code::kDataLoss);
  EXPECT_EQ(decode_notice(encode_notice({.bytes = kLoanBytesMax + 1})).error().code, Code::kDataLoss);
  EXPECT_TRUE(decode_notice(encode_notice({.bytes = kLoanBytesMax})));
}

TEST(LoanMessages, an_ordinary_payload_is_no_notice) {
  EXPECT_FALSE(is_notice(as_bytes("battery 81")));
  EXPECT_EQ(decode_notice(as_bytes("battery 81")).error().code, Code::kDataLoss);
  Buffer longer = encode_notice({.bytes = 1});
  longer.push_back(0);
  EXPECT_FALSE(decode_notice(longer));
}

}  // namespace
}  // namespace sedge::wire
