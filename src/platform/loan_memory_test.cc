#include "platform/loan_memory.h"

#include <algorithm>
#include <optional>
#include <string>

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
  ASSERT_EQ(wanted.size(), kBytes);
  ASSERT_TRUE(memory->protect());
  auto reading = memory->lend();
  ASSERT_TRUE(reading);
  const auto view = map_loan(reading->get(), kBytes);
  ASSERT_TRUE(view) << view.error().message;
  *reading = Descriptor();
  memory.reset();
  EXPECT_TRUE(std::ranges::equal(view->bytes(), wanted));
}

TEST(LoanMemory, who_is_lent_it_cannot_write_cut_or_lengthen_it) {
  const LoanMemory memory = written(4096);
  const Descriptor reading = memory.lend().value();
  const Descriptor writing(::open(("/proc/self/fd/" + std::to_string(reading.get())).c_str(), O_RDWR));
  ASSERT_TRUE(writing) << "the same user may open it anew";
  EXPECT_EQ(::pwrite(writing.get(), "x", 1, 0), -1);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, writing.get(), 0), MAP_FAILED);
  EXPECT_EQ(::ftruncate(writing.get(), 10), -1);
  EXPECT_EQ(::ftruncate(writing.get(), 1 << 20), -1);
  const Mapping view = map_loan(reading.get(), 4096).value();
  EXPECT_EQ(::mprotect(view.bytes().data(), 4096, PROT_READ | PROT_WRITE), -1);
}

TEST(LoanMemoryDeathTest, its_own_process_cannot_write_it_while_it_is_lent) {
  const LoanMemory memory = written(4096);
  ASSERT_TRUE(memory.protect());
  EXPECT_DEATH(memory.bytes()[7] = 1, "");
}

TEST(LoanMemory, is_free_when_no_reader_has_it_open_mapped_or_on_its_way) {
  LoanMemory memory = written(4096);
  ASSERT_TRUE(memory.protect());
  EXPECT_TRUE(memory.is_free());
  std::optional reading(memory.lend().value());
  EXPECT_FALSE(memory.is_free()) << "open";
  std::optional view(map_loan(reading->get(), 4096).value());
  reading.reset();
  EXPECT_FALSE(memory.is_free()) << "mapped";
  view.reset();
  EXPECT_TRUE(memory.is_free());
  EXPECT_TRUE(memory.is_free()) << "asking changes nothing";
  ASSERT_TRUE(memory.reuse(100));
  EXPECT_EQ(memory.bytes().size(), 100u);
  memory.bytes()[99] = 1;
}

TEST(LoanMemory, a_signal_of_who_opens_it_while_it_is_asked_for_ends_nobody) {
  const LoanMemory memory = written(4096);
  ASSERT_EQ(::fcntl(memory.fd(), F_SETLEASE, F_WRLCK), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(memory.fd());
  EXPECT_EQ(::open(path.c_str(), O_RDONLY | O_NONBLOCK), -1) << "the lease is being broken, and we are told";
  EXPECT_EQ(::fcntl(memory.fd(), F_SETLEASE, F_UNLCK), 0);
}

TEST(LoanMemory, what_is_not_sealed_or_is_too_short_is_not_mapped) {
  const Descriptor file(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  EXPECT_EQ(map_loan(file.get(), 4096).error().code, Code::kDataLoss) << "it may be cut, and written";
  ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  EXPECT_EQ(map_loan(file.get(), 4096).error().code, Code::kDataLoss) << "it may be written";
  const LoanMemory memory = written(4096);
  const Descriptor reading = memory.lend().value();
  EXPECT_TRUE(map_loan(reading.get(), memory.capacity()));
  EXPECT_EQ(map_loan(reading.get(), memory.capacity() + 1).error().code, Code::kDataLoss);
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const Descriptor in(pipe[0]), out(pipe[1]);
  EXPECT_EQ(map_loan(in.get(), 1).error().code, Code::kDataLoss) << "no memory at all";
}

TEST(LoanMemory, a_size_that_no_loan_has_is_refused) {
  EXPECT_EQ(LoanMemory::make(0).error().code, Code::kInvalidArgument);
  EXPECT_EQ(LoanMemory::make(wire::kLoanBytesMax + 1).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace sedge::platform
