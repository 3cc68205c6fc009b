#include "wire/task_messages.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "wire/codec.h"

namespace sedge::wire {
namespace {

template <class T>
T any() {
  return *rc::gen::arbitrary<T>();
}
std::string any_text() { return any<std::string>(); }
bool any_bool() { return any<bool>(); }
std::uint32_t any_count() { return any<std::uint32_t>(); }
std::int32_t any_id() { return any<std::int32_t>(); }
Duration any_time() { return Duration(any<std::int64_t>()); }
double any_number() { return any<std::int32_t>() / 256.0; }  // no NaN: it equals nothing
TaskId any_task() {
  TaskId id;
  id.bytes = any<std::array<std::uint8_t, 16>>();
  return id;
}
template <class Make>
auto some(Make make) {
  std::vector<decltype(make())> items;
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) items.push_back(make());
  return items;
}
env::TokenLogprob any_logprob() { return {any_id(), any_text(), any_number()}; }
env::Token any_token() { return {any_id(), any_text(), some(any_logprob)}; }
env::ChatTurn any_turn() { return {any_text(), any_text()}; }

TaskSpec any_spec() {
  TaskSpec spec;
  spec.model = any_text();
  spec.prompt = any_text();
  spec.turns = some(any_turn);
  spec.tokens_max = any_count();
  spec.tokens_min = any_count();
  spec.stops = some(any_text);
  spec.sampling = {.temperature = any_number(),
                   .top_k = any_count(),
                   .top_p = any_number(),
                   .min_p = any_number(),
                   .repeat_penalty = any_number(),
                   .seed = any<std::uint64_t>(),
                   .frequency_penalty = any_number(),
                   .presence_penalty = any_number()};
  spec.priority = any<std::uint8_t>();
  spec.trace = any_text();
  spec.grammar = {static_cast<env::GrammarKind>(*rc::gen::inRange(0, 4)), any_text()};
  spec.logit_bias = some([] { return env::LogitBias{any_id(), any_number()}; });
  spec.logprobs = any_count();
  spec.texts = some(any_text);
  if (any_bool()) spec.asked_local_s = any<std::int64_t>();
  return spec;
}

TaskAssign any_assign() {
  TaskAssign assign;
  assign.task = any_task();
  assign.attempt = any_count();
  assign.spec = any_spec();
  if (any_bool()) assign.budget = any_time();
  assign.resume = some(any_id);
  assign.credit = any_count();
  return assign;
}

TaskAnswer any_answer() {
  return {any_task(), any_count(), any_bool(), any_text(), any_time(), any_time(), any_time()};
}
TaskTokens any_tokens() { return {any_task(), any_count(), any_count(), any_count(), some(any_token)}; }
TaskDone any_done() {
  return {any_task(),
          any_count(),
          static_cast<TaskEnd>(*rc::gen::inRange(0, 4)),
          static_cast<Code>(*rc::gen::inRange(1, 17)),
          any_text(),
          any_count(),
          any_time(),
          any_time()};
}
LoadReport any_load() { return {any<std::uint64_t>(), any_time(), any_count(), any_count(), any_count()}; }

template <class T>
bool comes_back(const T& message) {
  return decode<T>(encode(message)).value() == message;
}

TEST(TaskMessages, come_back_from_their_bytes) {
  EXPECT_TRUE(rc::check([] {
    RC_ASSERT(comes_back(any_assign()));
    RC_ASSERT(comes_back(any_answer()));
    RC_ASSERT(comes_back(any_tokens()));
    RC_ASSERT(comes_back(any_done()));
    RC_ASSERT(comes_back(TaskCancel{any_task(), any_count()}));
    RC_ASSERT(comes_back(TaskCredit{any_task(), any_count(), any_count()}));
    RC_ASSERT(comes_back(any_load()));
  }));
}

TEST(TaskMessages, cut_short_anywhere_are_refused) {
  EXPECT_TRUE(rc::check([] {
    const Buffer whole = encode(any_assign());
    const auto length = *rc::gen::inRange<std::size_t>(0, whole.size());
    RC_ASSERT(!decode<TaskAssign>(Bytes(whole).first(length)));
  }));
}

TEST(TaskMessages, any_bytes_are_a_message_or_an_error) {
  EXPECT_TRUE(rc::check([](const Buffer& bytes) {
    (void)decode<TaskAssign>(bytes);
    (void)decode<TaskAnswer>(bytes);
    (void)decode<TaskTokens>(bytes);
    (void)decode<TaskDone>(bytes);
    (void)decode<TaskCancel>(bytes);
    (void)decode<TaskCredit>(bytes);
    (void)decode<LoadReport>(bytes);
    (void)decode<Offers>(bytes);
  }));
}

TEST(TaskMessages, an_end_that_nobody_knows_is_refused_by_its_field) {
  TaskDone done;
  done.attempt = 1;
  Buffer bytes = encode(done);
  bytes[17] = 4;  // 16 of the id, 1 of the attempt
  const auto decoded = decode<TaskDone>(bytes);
  ASSERT_FALSE(decoded);
  EXPECT_NE(decoded.error().message.find("'end' at offset"), std::string::npos) << decoded.error().message;
}

}  // namespace
}  // namespace sedge::wire
