#include "platform/loans.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <boost/asio/io_context.hpp>

#include "platform/system.h"

namespace sedge::platform {
namespace {

Descriptor new_socket() { return Descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }

std::pair<sockaddr_un, socklen_t> address_of(const wire::LoanDoor& door) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "sedge-loans-" + door.hex();
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
}

Result<wire::LoanNotice> keep_filled(LoanServer& server, std::size_t bytes, std::uint8_t with) {
  SEDGE_TRY(const auto memory, server.borrow(bytes));
  std::ranges::fill(memory->bytes(), with);
  return server.keep(memory);
}

// What came of each fetch, in the order in which it was told: the first byte of the loan, or the error.
struct Told {
  LoanClient::Done done() {
    return [this](Result<Mapping> got) {
      if (!got) return errors.push_back(got.error().code);
      firsts.push_back(got->bytes()[0]);
      views.push_back(*std::move(got));
    };
  }
  std::size_t count() const { return firsts.size() + errors.size(); }

  std::vector<int> firsts;
  std::vector<Code> errors;
  std::vector<Mapping> views;
};

class Loans : public testing::Test {
 protected:
  void run_until_told(std::size_t count) {
    while (told_.count() < count && io_.run_one() > 0) {
    }
  }

  boost::asio::io_context io_;
  int turns_ = 0;
  std::optional<LoanServer> server_{std::in_place, io_, LoanKeeping{.loans_max = 3, .bytes_max = 1'000'000}};
  LoanClient client_{io_, [this] { ++turns_; }};
  Told told_;
};

TEST_F(Loans, come_in_their_order_and_stay_when_their_publisher_has_ended) {
  const auto one = keep_filled(*server_, 70'000, 1);
  const auto two = keep_filled(*server_, 10'000, 2);
  ASSERT_TRUE(one && two) << one.error().message;
  client_.fetch(*one, told_.done());
  client_.fetch(*two, told_.done());
  run_until_told(2);
  EXPECT_GT(turns_, 0);
  server_.reset();
  EXPECT_EQ(told_.firsts, (std::vector{1, 2}));
  ASSERT_EQ(told_.views.size(), 2u);
  EXPECT_EQ(told_.views[0].bytes().size(), 70'000u);
  EXPECT_TRUE(std::ranges::all_of(told_.views[0].bytes(), [](int byte) { return byte == 1; }));
}

TEST_F(Loans, beyond_the_bounds_the_oldest_is_gone_and_who_has_it_keeps_it) {
  std::vector<wire::LoanNotice> notices;
  for (std::uint8_t i = 1; i <= 3; ++i) notices.push_back(keep_filled(*server_, 10, i).value());
  client_.fetch(notices[0], told_.done());
  run_until_told(1);
  notices.push_back(keep_filled(*server_, 10, 4).value());  // one too many
  for (const auto& notice : notices) client_.fetch(notice, told_.done());
  run_until_told(5);
  EXPECT_EQ(told_.firsts, (std::vector{1, 2, 3, 4}));
  EXPECT_EQ(told_.errors, std::vector{Code::kNotFound});
  EXPECT_EQ(told_.views[0].bytes()[9], 1);
  notices.push_back(keep_filled(*server_, 999'995, 5).value());  // too many bytes
  for (const auto& notice : notices) client_.fetch(notice, told_.done());
  run_until_told(10);
  EXPECT_EQ(told_.firsts, (std::vector{1, 2, 3, 4, 5}));
  EXPECT_EQ(keep_filled(*server_, 1'000'001, 6).error().code, Code::kInvalidArgument);
}

TEST_F(Loans, memory_is_written_again_when_its_last_reader_has_gone_and_not_before) {
  const auto first = server_->borrow(300'000);
  ASSERT_TRUE(first) << first.error().message;
  const std::uint8_t* pages = (*first)->bytes().data();
  std::ranges::fill((*first)->bytes(), std::uint8_t{1});
  client_.fetch(server_->keep(*first).value(), told_.done());
  run_until_told(1);
  for (std::uint8_t i = 2; i <= 4; ++i) ASSERT_TRUE(keep_filled(*server_, 300'000, i));  // it is let go of
  for (int i = 0; i < 3; ++i) EXPECT_NE((*server_->borrow(300'000))->bytes().data(), pages);
  EXPECT_EQ(told_.views[0].bytes()[299'999], 1);
  told_.views.clear();
  EXPECT_NE((*server_->borrow(100))->bytes().data(), pages) << "a small one would waste it";
  const auto again = server_->borrow(290'000);
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->bytes().data(), pages);
  EXPECT_EQ((*again)->size(), 290'000u);
  std::ranges::fill((*again)->bytes(), std::uint8_t{9});
  EXPECT_NE((*server_->borrow(290'000))->bytes().data(), pages) << "it is borrowed";
}

TEST_F(Loans, what_nobody_heard_of_is_its_publishers_again) {
  const auto memory = server_->borrow(10);
  ASSERT_TRUE(memory);
  const auto notice = server_->keep(*memory);
  ASSERT_TRUE(notice);
  server_->take_back(notice->id);
  (*memory)->bytes()[0] = 5;
  client_.fetch(server_->keep(*memory).value(), told_.done());
  run_until_told(1);
  EXPECT_EQ(told_.firsts, std::vector{5});
  server_->close();
  EXPECT_EQ(keep_filled(*server_, 10, 1).error().code, Code::kUnavailable);
}

TEST_F(Loans, an_id_that_was_never_lent_or_was_dropped_is_gone) {
  const auto kept = keep_filled(*server_, 10, 1);
  ASSERT_TRUE(kept);
  wire::LoanNotice guessed = *kept;
  ++guessed.id.bytes[0];
  client_.fetch(guessed, told_.done());
  server_->take_back(kept->id);
  client_.fetch(*kept, told_.done());
  run_until_told(2);
  EXPECT_EQ(told_.errors, (std::vector{Code::kNotFound, Code::kNotFound}));
}

TEST_F(Loans, of_another_host_or_of_nobody_are_told_at_once) {
  const auto kept = keep_filled(*server_, 10, 1);
  ASSERT_TRUE(kept);
  wire::LoanNotice elsewhere = *kept;
  ++elsewhere.host.bytes[0];
  client_.fetch(elsewhere, told_.done());
  wire::LoanNotice nobody = *kept;
  ++nobody.door.bytes[0];
  client_.fetch(nobody, told_.done());
  EXPECT_EQ(told_.errors, (std::vector{Code::kFailedPrecondition, Code::kUnavailable}));
}

TEST_F(Loans, a_publisher_that_does_not_answer_holds_nobody_up) {
  boost::asio::io_context stalled;
  std::optional<LoanServer> server(std::in_place, stalled, LoanKeeping{});
  const auto kept = keep_filled(*server, 10, 1);
  ASSERT_TRUE(kept);
  for (std::size_t i = 0; i <= LoanClient::kWaitingMax; ++i) client_.fetch(*kept, told_.done());
  EXPECT_EQ(told_.errors, std::vector{Code::kResourceExhausted});
  client_.fetch(keep_filled(*server_, 10, 7).value(), told_.done());  // others go on
  run_until_told(2);
  EXPECT_EQ(told_.firsts, std::vector{7});
  (void)stalled.poll();  // now it answers
  run_until_told(2 + LoanClient::kWaitingMax);
  EXPECT_EQ(told_.firsts.size(), 1 + LoanClient::kWaitingMax);
}

TEST_F(Loans, what_waits_for_a_publisher_that_ends_is_told) {
  boost::asio::io_context stalled;
  std::optional<LoanServer> server(std::in_place, stalled, LoanKeeping{});
  const auto kept = keep_filled(*server, 10, 1);
  ASSERT_TRUE(kept);
  (void)stalled.poll();  // it listens
  client_.fetch(*kept, told_.done());
  server.reset();
  run_until_told(1);
  EXPECT_EQ(told_.errors, std::vector{Code::kUnavailable});
}

TEST_F(Loans, a_client_that_asks_for_what_is_no_id_is_hung_up_on) {
  const auto kept = keep_filled(*server_, 10, 1);
  ASSERT_TRUE(kept);
  const Descriptor socket = new_socket();
  const auto [address, length] = address_of(kept->door);
  ASSERT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
  ASSERT_EQ(::send(socket.get(), "short", 5, 0), 5);
  client_.fetch(*kept, told_.done());  // asked after it, so answered after it
  run_until_told(1);
  char byte = 0;
  EXPECT_EQ(::recv(socket.get(), &byte, 1, MSG_DONTWAIT), 0);
}

// A publisher that does not keep to the rules: it answers one request with what it likes.
class Liar {
 public:
  Liar(wire::LoanHost host, std::uint64_t bytes) : notice{host, {}, {{1}}, bytes} {
    SystemEntropy().fill(notice.door.bytes);
    const auto [address, length] = address_of(notice.door);
    EXPECT_EQ(::bind(listening_.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(listening_.get(), 4), 0);
  }

  void answer(const wire::LoanAnswer& answer, int fd) {
    peer_ = Descriptor(::accept(listening_.get(), nullptr, nullptr));
    Buffer packet = wire::encode(answer);
    iovec part{packet.data(), packet.size()};
    alignas(cmsghdr) char space[CMSG_SPACE(sizeof fd)] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    EXPECT_EQ(::sendmsg(peer_.get(), &message, 0), static_cast<ssize_t>(packet.size()));
  }

  wire::LoanNotice notice;

 private:
  Descriptor listening_ = new_socket();
  Descriptor peer_;
};

TEST_F(Loans, memory_that_its_publisher_could_still_change_is_refused) {
  const Descriptor memory(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(memory.get(), 10), 0);
  Liar liar(loan_host().value(), 10);
  client_.fetch(liar.notice, told_.done());
  liar.answer({liar.notice.id, true}, memory.get());
  run_until_told(1);
  EXPECT_EQ(told_.errors, std::vector{Code::kDataLoss});
}

TEST_F(Loans, another_loan_than_was_asked_for_is_refused) {
  const LoanMemory memory = LoanMemory::make(10).value();
  const Descriptor reading = memory.lend().value();
  Liar liar(loan_host().value(), 10);
  client_.fetch(liar.notice, told_.done());
  liar.answer({{{9}}, true}, reading.get());
  run_until_told(1);
  EXPECT_EQ(told_.errors, std::vector{Code::kDataLoss});
}

}  // namespace
}  // namespace sedge::platform
