#include "platform/loan_memory.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wire/loan_messages.h"

namespace sedge::platform {
namespace {

LoanMemory written(std::size_t bytes) {
  LoanMemory memory = LoanMemory::make(bytes).value();
  for (std::size_t i = 0; i < bytes; ++i) memory.bytes()[i] = static_cast<std::uint8_t>(i * i % 251);
  return memory;
}

TEST(LoanMemory, a_reader_has_the_writers_bytes_and_keeps_them_when_the_writer_has_gone) {
  constexpr std::size_t kBytes = 100'003;
  std::optional<LoanMemory> memory = written(kBytes);
  const Buffer wanted = to_buffer(memory->bytes());
  ASSERT_TRUE(memory->seal());
  EXPECT_TRUE(memory->bytes().empty());
  EXPECT_EQ(memory->size(), kBytes);
  const auto view = map_loan(memory->fd(), kBytes);
  ASSERT_TRUE(view) << view.error().message;
  memory.reset();
  EXPECT_TRUE(std::ranges::equal(view->bytes(), wanted));
}

TEST(LoanMemory, what_is_sealed_nobody_changes_cuts_or_lengthens) {
  LoanMemory memory = written(4096);
  ASSERT_TRUE(memory.seal());
  ASSERT_TRUE(memory.seal()) << "twice is once";
  EXPECT_EQ(::pwrite(memory.fd(), "x", 1, 0), -1);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd(), 0), MAP_FAILED);
  EXPECT_EQ(::ftruncate(memory.fd(), 10), -1);
  EXPECT_EQ(::ftruncate(memory.fd(), 10'000), -1);
  EXPECT_EQ(::fcntl(memory.fd(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
}

TEST(LoanMemory, what_is_not_sealed_or_has_another_size_is_not_mapped) {
  LoanMemory memory = written(4096);
  EXPECT_EQ(map_loan(memory.fd(), 4096).error().code, Code::kDataLoss) << "it may still be written";
  ASSERT_EQ(::fcntl(memory.fd(), F_ADD_SEALS, F_SEAL_GROW), 0);
  EXPECT_EQ(map_loan(memory.fd(), 4096).error().code, Code::kDataLoss) << "it may still be cut";
  ASSERT_TRUE(memory.seal());
  EXPECT_EQ(map_loan(memory.fd(), 4095).error().code, Code::kDataLoss);
  EXPECT_EQ(map_loan(memory.fd(), 8192).error().code, Code::kDataLoss);
  EXPECT_TRUE(map_loan(memory.fd(), 4096));
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const Descriptor in(pipe[0]), out(pipe[1]);
  EXPECT_EQ(map_loan(in.get(), 0).error().code, Code::kDataLoss) << "no memory at all";
}

TEST(LoanMemory, what_is_not_sealed_yet_is_sealed_later_while_a_device_holds_it) {
  LoanMemory memory = written(4096);
  void* other = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd(), 0);
  ASSERT_NE(other, MAP_FAILED);
  EXPECT_EQ(memory.seal().error().code, Code::kUnavailable);
  ::munmap(other, 4096);
  EXPECT_TRUE(memory.seal());
  EXPECT_TRUE(map_loan(memory.fd(), 4096));
}

TEST(LoanMemory, a_size_that_no_loan_has_is_refused) {
  EXPECT_EQ(LoanMemory::make(0).error().code, Code::kInvalidArgument);
  EXPECT_EQ(LoanMemory::make(wire::kLoanBytesMax + 1).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace sedge::platform
