#include "platform/loans.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <boost/asio/io_context.hpp>

#include "platform/system.h"

namespace sedge::platform {
namespace {

std::shared_ptr<LoanMemory> filled(std::size_t bytes, std::uint8_t with) {
  auto memory = std::make_shared<LoanMemory>(LoanMemory::make(bytes).value());
  std::ranges::fill(memory->bytes(), with);
  return memory;
}

Descriptor new_socket() { return Descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }

std::pair<sockaddr_un, socklen_t> address_of(const wire::LoanDoor& door) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "sedge-loans-" + door.hex();
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
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
  std::optional<LoanServer> server_{std::in_place, io_, LoanKeeping{.loans_max = 3, .bytes_max = 100'000}};
  LoanClient client_{io_, [this] { ++turns_; }};
  Told told_;
};

TEST_F(Loans, come_in_their_order_and_stay_when_their_publisher_has_ended) {
  const auto one = server_->keep(filled(70'000, 1));
  const auto two = server_->keep(filled(10'000, 2));
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
  for (std::uint8_t i = 1; i <= 3; ++i) notices.push_back(server_->keep(filled(10, i)).value());
  client_.fetch(notices[0], told_.done());
  run_until_told(1);
  notices.push_back(server_->keep(filled(10, 4)).value());  // one too many
  for (const auto& notice : notices) client_.fetch(notice, told_.done());
  run_until_told(5);
  EXPECT_EQ(told_.firsts, (std::vector{1, 2, 3, 4}));
  EXPECT_EQ(told_.errors, std::vector{Code::kNotFound});
  EXPECT_EQ(told_.views[0].bytes()[9], 1);
  notices.push_back(server_->keep(filled(99'995, 5)).value());  // too many bytes
  for (const auto& notice : notices) client_.fetch(notice, told_.done());
  run_until_told(10);
  EXPECT_EQ(told_.firsts, (std::vector{1, 2, 3, 4, 5}));
  EXPECT_EQ(server_->keep(filled(100'001, 6)).error().code, Code::kInvalidArgument);
}

TEST_F(Loans, an_id_that_was_never_lent_or_was_dropped_is_gone) {
  const auto kept = server_->keep(filled(10, 1));
  ASSERT_TRUE(kept);
  wire::LoanNotice guessed = *kept;
  ++guessed.id.bytes[0];
  client_.fetch(guessed, told_.done());
  server_->drop(kept->id);
  client_.fetch(*kept, told_.done());
  run_until_told(2);
  EXPECT_EQ(told_.errors, (std::vector{Code::kNotFound, Code::kNotFound}));
}

TEST_F(Loans, of_another_place_or_of_nobody_are_told_at_once) {
  const auto kept = server_->keep(filled(10, 1));
  ASSERT_TRUE(kept);
  wire::LoanNotice elsewhere = *kept;
  ++elsewhere.place.bytes[0];
  client_.fetch(elsewhere, told_.done());
  wire::LoanNotice nobody = *kept;
  ++nobody.door.bytes[0];
  client_.fetch(nobody, told_.done());
  EXPECT_EQ(told_.errors, (std::vector{Code::kFailedPrecondition, Code::kUnavailable}));
}

TEST_F(Loans, a_publisher_that_does_not_answer_holds_nobody_up) {
  boost::asio::io_context stalled;
  std::optional<LoanServer> server(std::in_place, stalled, LoanKeeping{});
  const auto kept = server->keep(filled(10, 1));
  ASSERT_TRUE(kept);
  for (std::size_t i = 0; i <= LoanClient::kWaitingMax; ++i) client_.fetch(*kept, told_.done());
  EXPECT_EQ(told_.errors, std::vector{Code::kResourceExhausted});
  client_.fetch(server_->keep(filled(10, 7)).value(), told_.done());  // others go on
  run_until_told(2);
  EXPECT_EQ(told_.firsts, std::vector{7});
  (void)stalled.poll();  // now it answers
  run_until_told(2 + LoanClient::kWaitingMax);
  EXPECT_EQ(told_.firsts.size(), 1 + LoanClient::kWaitingMax);
}

TEST_F(Loans, what_waits_for_a_publisher_that_ends_is_told) {
  boost::asio::io_context stalled;
  std::optional<LoanServer> server(std::in_place, stalled, LoanKeeping{});
  const auto kept = server->keep(filled(10, 1));
  ASSERT_TRUE(kept);
  (void)stalled.poll();  // it listens
  client_.fetch(*kept, told_.done());
  server.reset();
  run_until_told(1);
  EXPECT_EQ(told_.errors, std::vector{Code::kUnavailable});
}

TEST_F(Loans, a_client_that_asks_for_what_is_no_id_is_hung_up_on) {
  const auto kept = server_->keep(filled(10, 1));
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
  Liar(wire::LoanPlace place, std::uint64_t bytes) : notice{place, {}, {{1}}, bytes} {
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
  const auto memory = filled(10, 1);
  Liar liar(loan_place().value(), 10);
  client_.fetch(liar.notice, told_.done());
  liar.answer({liar.notice.id, true}, memory->fd());
  run_until_told(1);
  EXPECT_EQ(told_.errors, std::vector{Code::kDataLoss});
}

TEST_F(Loans, another_loan_than_was_asked_for_is_refused) {
  const auto memory = filled(10, 1);
  ASSERT_TRUE(memory->seal());
  Liar liar(loan_place().value(), 10);
  client_.fetch(liar.notice, told_.done());
  liar.answer({{{9}}, true}, memory->fd());
  run_until_told(1);
  EXPECT_EQ(told_.errors, std::vector{Code::kDataLoss});
}

}  // namespace
}  // namespace sedge::platform
