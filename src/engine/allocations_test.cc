// How often steps ask for memory, counted for this whole program: operator new is replaced.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/logits_pass.h"
#include "engine/random_model.h"

namespace {

std::atomic<std::size_t> allocations{0};  // of all threads

[[maybe_unused]] void* counted(std::size_t size, std::align_val_t align) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const auto alignment = static_cast<std::size_t>(align);
  void* memory =
      std::aligned_alloc(alignment, (std::max<std::size_t>(size, 1) + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// NOLINTBEGIN(clang-analyzer-*): the analyzer takes what stands here for users of new and delete
// Apart, or g++ sees free() beside operator new and warns.
[[maybe_unused, gnu::noinline]] void release(void* memory) { std::free(memory); }

}  // namespace

// A sanitizer brings operators of its own, and nothing is counted.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEDGE_HAS_OTHER_NEW
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SEDGE_HAS_OTHER_NEW
#endif
#endif

#if defined(SEDGE_HAS_OTHER_NEW)
constexpr bool kCounted = false;
#else
constexpr bool kCounted = true;
// The library's other forms call these.
void* operator new(std::size_t size) { return counted(size, std::align_val_t{alignof(std::max_align_t)}); }
void* operator new(std::size_t size, std::align_val_t align) { return counted(size, align); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
#endif
// NOLINTEND(clang-analyzer-*)

namespace sedge::engine {
namespace {

using kernels::DType;

template <class Work>
std::size_t allocations_in(const Work& work) {
  const std::size_t before = allocations.load();
  work();
  return allocations.load() - before;
}

// A compiler may leave out memory that nobody sees.
template <class T>
void see(const T& made) {
  asm volatile("" : : "r"(&made) : "memory");
}

TEST(Allocations, every_form_of_new_is_counted) {
  if (!kCounted) GTEST_SKIP() << "a sanitizer has operators of its own";
  EXPECT_EQ(allocations_in([] { see(*std::make_unique<int>()); }), 1u);
  EXPECT_EQ(allocations_in([] { see(std::make_unique<int[]>(9)[0]); }), 1u);
  EXPECT_EQ(allocations_in([] { see(*std::unique_ptr<int>(new (std::nothrow) int)); }), 1u);
  EXPECT_EQ(allocations_in([] { see(try_aligned(100)[0]); }), 1u);
  EXPECT_EQ(allocations_in([] { see(Lines<float>(9)[0]); }), 1u);
}

// From the third token on to the last that the context has room for: scratch that grows with the text is there too.
TEST(Allocations, a_decode_step_of_the_engine_has_none_whatever_the_type_the_threads_and_the_length) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_K}) {
    const RandomModel random({.type = type, .context = 200});
    const Model& model = *random.model();
    for (const unsigned threads : {1u, 3u}) {
      Engine engine({.threads = threads});
      Sequence sequence = Sequence::make(model).value();
      LogitsPass pass;
      std::int32_t token = 7;
      const auto step = [&] {
        pass.clear();
        pass.add(sequence, {&token, 1}, 1);
        const bool ran = pass.run(engine, model, nullptr).has_value();
        if (ran) token = static_cast<std::int32_t>(std::ranges::max_element(pass.logits()) - pass.logits().begin());
        return ran;
      };
      ASSERT_TRUE(step() && step());
      bool all = true;
      const std::size_t made = allocations_in([&] {
        while (sequence.length() < sequence.capacity()) all = step() && all;
      });
      EXPECT_TRUE(all);
      EXPECT_EQ(made, 0u) << "type " << static_cast<int>(type) << ", threads " << threads;
    }
  }
}

// Filters, penalties of what was generated, logprobs, grammars and guesses have memory of their own: of that nothing is
// promised.
TEST(Allocations, a_texts_step_has_at_most_the_piece_it_tells_greedy_or_at_a_temperature_with_a_penalty_or_without) {
  for (const auto& [temperature, penalty] : {std::pair(0.0f, 1.0f), {0.0f, 1.2f}, {1.0f, 1.0f}, {1.0f, 1.2f}}) {
    const RandomModel random({.context = 200});
    const std::vector<std::int32_t> prompt = {5, 6, 7};
    Engine engine({.threads = 2});
    Generation text = Generation::start(random.model(), prompt, {},
                                        {.sampling = {.temperature = temperature, .repeat_penalty = penalty, .seed = 4},
                                         .tokens_max = 100,
                                         .tokens_min = 100})
                          .value();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(text.step(engine));
    for (int i = 0; i < 90; ++i) {
      EXPECT_LE(allocations_in([&] { EXPECT_TRUE(text.step(engine)); }), 1u) << "step " << i;
    }
  }
}

}  // namespace
}  // namespace sedge::engine
