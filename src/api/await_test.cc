#include "sedge/await.h"

#include <atomic>
#include <filesystem>
#include <future>
#include <limits>
#include <thread>

#include <gtest/gtest.h>

#include "api/testing_fleets.h"

namespace sedge::robot {
namespace {

using namespace std::chrono_literals;
using api::testing::eventually;
using api::testing::kPatience;

// Tells when it is destroyed: what a coroutine holds goes with it.
struct Token {
  explicit Token(std::atomic<int>& count) : gone(&count) {}
  Token(Token&& other) noexcept : gone(std::exchange(other.gone, nullptr)) {}
  Token& operator=(Token&&) = delete;
  ~Token() {
    if (gone != nullptr) ++*gone;
  }
  std::atomic<int>* gone;
};

// What coroutines wrote down. Read while they run, so behind a lock.
class Notes {
 public:
  void add(std::string note) {
    const std::lock_guard lock(mutex_);
    notes_.push_back(std::move(note));
  }
  std::vector<std::string> all() const {
    const std::lock_guard lock(mutex_);
    return notes_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> notes_;
};

class Await : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = Fleet::open({.home = home_.path.string(), .listen = "127.0.0.1:0", .beacons = false});
    ASSERT_TRUE(opened) << opened.error().message;
    fleet_.emplace(*std::move(opened));
  }
  Stream<int> numbers(StreamOptions options = {}) {
    auto opened = Stream<int>::open(*fleet_, "n/#", std::move(options));
    EXPECT_TRUE(opened) << opened.error().message;
    return *std::move(opened);
  }
  void publish(int number) { EXPECT_TRUE(Publisher<int>(*fleet_, "n/a").publish(number)); }
  // Returns when the loop has done what was published before.
  void settle() { EXPECT_TRUE(fleet_->members()); }

  const api::testing::Home home_;
  std::optional<Fleet> fleet_;
};

Coroutine<> sum_up(Stream<int> numbers, int count, std::promise<int> sum) {
  int total = 0;
  for (int i = 0; i < count; ++i) {
    const auto number = co_await numbers.next();
    if (!number) break;
    total += number->value;
  }
  sum.set_value(total);
}

TEST_F(Await, a_coroutine_takes_messages_in_their_order_and_goes_on_on_the_loop) {
  struct Walk {
    static Coroutine<> run(Stream<int> numbers, Notes& notes, std::promise<std::thread::id> loop) {
      for (int i = 0; i < 3; ++i) {
        const auto number = co_await numbers.next();
        if (number) notes.add(number->topic + "=" + std::to_string(number->value));
      }
      loop.set_value(std::this_thread::get_id());
    }
  };
  std::promise<std::thread::id> loop;
  ASSERT_TRUE(fleet_->subscribe("loop", [&](const Message&) { loop.set_value(std::this_thread::get_id()); }));
  ASSERT_TRUE(fleet_->publish("loop", ""));
  std::promise<std::thread::id> resumed;
  auto where = resumed.get_future();
  Notes notes;
  const Job job = spawn(Walk::run(numbers(), notes, std::move(resumed)));
  EXPECT_FALSE(job.done());
  for (const int number : {1, 2, 3}) publish(number);
  EXPECT_EQ(where.get(), loop.get_future().get());
  EXPECT_TRUE(job.wait(kPatience));
  EXPECT_TRUE(job.done());
  EXPECT_EQ(notes.all(), (std::vector<std::string>{"n/a=1", "n/a=2", "n/a=3"}));
}

TEST_F(Await, messages_that_wait_already_are_taken_without_waiting) {
  auto stream = numbers();
  for (const int number : {1, 2, 3}) publish(number);
  settle();
  std::promise<int> sum;
  auto total = sum.get_future();
  const Job job = spawn(sum_up(std::move(stream), 3, std::move(sum)));
  EXPECT_TRUE(job.done()) << "it ran here";
  EXPECT_EQ(total.get(), 6);
}

TEST_F(Await, a_full_stream_drops_its_oldest_messages_and_counts_them) {
  auto stream = numbers({.capacity = 3});
  for (int i = 1; i <= 10; ++i) publish(i);
  settle();
  EXPECT_EQ(stream.dropped(), 7u);
  for (const int expected : {8, 9, 10}) EXPECT_EQ(stream.poll().value().value, expected);
  EXPECT_FALSE(stream.poll());
  EXPECT_EQ(Stream<int>::open(*fleet_, "n/#", {.capacity = 0}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(Stream<int>::open(*fleet_, "n/#/m").error().code, Code::kInvalidArgument);
}

TEST_F(Await, a_malformed_message_is_counted_and_not_given) {
  Notes notes;
  auto stream = numbers({.on_malformed = [&](const Malformed& told) { notes.add(std::string(told.where)); }});
  ASSERT_TRUE(fleet_->publish("n/b", "abc"));
  publish(4);
  settle();
  EXPECT_EQ(stream.malformed(), 1u);
  EXPECT_EQ(notes.all(), std::vector<std::string>{"n/b"});
  EXPECT_EQ(stream.poll().value().value, 4);
  EXPECT_FALSE(stream.poll());
}

Coroutine<> note_end(Stream<int> numbers, Notes& notes, Token) {
  const auto number = co_await numbers.next();
  notes.add(number ? "number" : std::to_string(static_cast<int>(number.error().code)));
  const auto again = co_await numbers.next();
  notes.add(again ? "number" : std::to_string(static_cast<int>(again.error().code)));
}

TEST_F(Await, a_fleet_that_closes_resumes_who_waits_and_who_waits_later) {
  std::atomic<int> gone = 0;
  Notes notes;
  const Job job = spawn(note_end(numbers(), notes, Token(gone)));
  ASSERT_TRUE(fleet_->close());
  EXPECT_EQ(notes.all(), (std::vector<std::string>{"14", "14"}));  // Unavailable
  EXPECT_TRUE(job.done());
  EXPECT_EQ(gone, 1) << "what it held goes with its end, not with the Job";
}

TEST_F(Await, what_came_before_a_close_is_given_first_and_a_stream_may_outlive_its_fleet) {
  auto stream = numbers();
  publish(1);
  fleet_.reset();
  EXPECT_EQ(stream.poll().value().value, 1);
  Notes notes;
  std::atomic<int> gone = 0;
  EXPECT_TRUE(spawn(note_end(std::move(stream), notes, Token(gone))).done());
  EXPECT_EQ(notes.all(), (std::vector<std::string>{"14", "14"}));
}

TEST_F(Await, a_coroutine_that_is_destroyed_while_it_waits_is_not_resumed) {
  std::atomic<int> gone = 0;
  Notes notes;
  {
    const Job job = spawn(note_end(numbers(), notes, Token(gone)));
    EXPECT_EQ(gone, 0);
  }
  EXPECT_EQ(gone, 1);
  publish(1);
  settle();
  Job other = spawn(note_end(numbers(), notes, Token(gone)));
  other.cancel();
  EXPECT_TRUE(other.done());
  EXPECT_EQ(gone, 2);
  ASSERT_TRUE(fleet_->close());
  EXPECT_TRUE(notes.all().empty());
}

TEST_F(Await, messages_and_the_end_of_a_job_race_without_harm) {
  std::atomic<bool> over = false;
  std::thread publisher([&] {
    for (; !over; std::this_thread::sleep_for(20us)) (void)Publisher<int>(*fleet_, "n/a").publish(1);
  });
  for (int i = 1; i <= 300; ++i) {
    std::promise<int> sum;
    auto total = sum.get_future();
    {
      const Job job = spawn(sum_up(numbers({.capacity = 2}), std::numeric_limits<int>::max(), std::move(sum)));
      if (i % 3 != 0) std::this_thread::sleep_for(std::chrono::microseconds(i));
    }
    EXPECT_THROW(total.get(), std::future_error) << "it never came to its end";
  }
  over = true;
  publisher.join();
}

Coroutine<> end_itself(Stream<int> numbers, Job& own, Notes& notes, Token) {
  (void)co_await numbers.next();
  own.cancel();
  notes.add("still here");
  (void)co_await numbers.next();
  notes.add("resumed");
}

TEST_F(Await, a_coroutine_that_ends_its_own_job_is_gone_where_it_waits_next) {
  std::atomic<int> gone = 0;
  Notes notes;
  Job job;
  job = spawn(end_itself(numbers(), job, notes, Token(gone)));
  publish(1);
  EXPECT_TRUE(eventually([&] { return gone == 1; }));
  publish(2);
  ASSERT_TRUE(fleet_->close());
  EXPECT_EQ(notes.all(), std::vector<std::string>{"still here"});
}

Coroutine<> borrow(Stream<int>& numbers, Notes& notes) {
  const auto number = co_await numbers.next();
  notes.add(number ? std::to_string(number->value) : std::to_string(static_cast<int>(number.error().code)));
}

TEST_F(Await, a_stream_that_goes_resumes_who_waits_on_it_and_takes_one_waiter) {
  Notes notes;
  std::optional<Stream<int>> stream = numbers();
  const Job first = spawn(borrow(*stream, notes));
  const Job second = spawn(borrow(*stream, notes));
  EXPECT_TRUE(second.done());
  EXPECT_EQ(notes.all(), std::vector<std::string>{"9"}) << "FailedPrecondition";
  stream.reset();
  EXPECT_TRUE(first.wait(kPatience));
  EXPECT_EQ(notes.all(), (std::vector<std::string>{"9", "1"})) << "Cancelled";
}

TEST_F(Await, a_deadline_of_the_subscription_ends_the_waiting) {
  Notes notes;
  std::atomic<int> late = 0;
  auto opened = Stream<int>::open(*fleet_, "n/a",
                                  {.subscription = {.deadline = 20ms, .on_late = [&](std::string_view) { ++late; }}});
  ASSERT_TRUE(opened);
  const Job job = spawn(borrow(*opened, notes));
  EXPECT_TRUE(job.wait(kPatience));
  EXPECT_EQ(notes.all(), std::vector<std::string>{"4"}) << "DeadlineExceeded";
  EXPECT_GE(late, 1);
  ASSERT_TRUE(fleet_->close());
}

Coroutine<Result<int>> count_down(int from) {
  if (from == 0) co_return std::unexpected(Error{Code::kOutOfRange, "zero"});
  co_return from - 1;
}
Coroutine<int> next_sum(Stream<int>& numbers, int depth) {
  if (depth > 0) co_return co_await next_sum(numbers, depth - 1) + co_await next_sum(numbers, depth - 1);
  const auto number = co_await numbers.next();
  co_return number ? number->value : -1;
}
Coroutine<> add_by_tasks(Stream<int> numbers, std::promise<int> sum) {
  int steps = 0;
  while (co_await count_down(200'000 - steps)) ++steps;  // without taking stack
  sum.set_value(steps + co_await next_sum(numbers, 3));
}

TEST_F(Await, tasks_await_tasks) {
  std::promise<int> sum;
  auto total = sum.get_future();
  const Job job = spawn(add_by_tasks(numbers(), std::move(sum)));
  for (int i = 0; i < 8; ++i) publish(1000);
  EXPECT_EQ(total.get(), 200'000 + 8000);
  {
    const Coroutine<int> never_awaited = next_sum(*std::make_unique<Stream<int>>(numbers()), 1);
  }
}

TEST_F(Await, a_task_within_tasks_goes_with_the_job) {
  std::promise<int> sum;
  auto total = sum.get_future();
  {
    const Job job = spawn(add_by_tasks(numbers(), std::move(sum)));
    publish(1);
    settle();
  }
  EXPECT_THROW(total.get(), std::future_error);
}

Coroutine<> ask_once(Fleet& fleet, Question question, Notes& notes, Token) {
  std::string text;
  const auto answer = co_await ask(fleet, question, [&text](std::string_view more) { text += more; });
  notes.add(answer ? answer->text : std::to_string(static_cast<int>(answer.error().code)));
}

TEST_F(Await, an_answer_its_fallback_or_its_error_is_awaited) {
  std::atomic<int> gone = 0;
  Notes notes;
  const auto asked = [&](Question question) {
    return spawn(ask_once(*fleet_, std::move(question), notes, Token(gone))).wait(kPatience).has_value();
  };
  EXPECT_TRUE(asked({.model = "heron", .prompt = "hi"}));
  EXPECT_TRUE(asked({.model = "heron", .prompt = "hi", .fallback = "hold"}));
  EXPECT_TRUE(asked({.model = ""}));
  EXPECT_EQ(notes.all(), (std::vector<std::string>{"5", "hold", "3"})) << "NotFound, InvalidArgument";
  ASSERT_TRUE(fleet_->close());
  EXPECT_TRUE(asked({.model = "heron"}));
  EXPECT_EQ(notes.all().back(), "14") << "Unavailable";
  EXPECT_EQ(gone, 4);
}

// On the loop, where ask() refuses and ask waits.
Coroutine<> ask_on_order(Fleet& fleet, Stream<int> orders, Notes& notes) {
  while (const auto order = co_await orders.next()) {
    notes.add(std::to_string(static_cast<int>(fleet.ask({.model = "heron"}).error().code)));
    const Question question{.model = "heron", .prompt = order->topic, .fallback = "hold"};
    const auto answer = co_await ask(fleet, question);
    notes.add(answer ? answer->text : answer.error().message);
    notes.add(fleet.set("last/order", order->topic) ? "written" : "not written");
  }
  notes.add("closed");
}

TEST_F(Await, a_coroutine_on_the_loop_may_call_what_a_callback_may) {
  Notes notes;
  const Job job = spawn(ask_on_order(*fleet_, numbers(), notes));
  publish(1);
  EXPECT_TRUE(eventually([&] { return notes.all().size() == 3; }));
  ASSERT_TRUE(fleet_->close());
  EXPECT_EQ(notes.all(), (std::vector<std::string>{"9", "hold", "written", "closed"}));
}

TEST_F(Await, a_step_does_not_wait_for_a_job) {
  struct Impatient {
    static Coroutine<> run(Job other, Notes& notes) {
      notes.add(std::to_string(static_cast<int>(other.wait().error().code)));
      co_return;
    }
  };
  Notes notes;
  std::atomic<int> gone = 0;
  Job waiting = spawn(note_end(numbers(), notes, Token(gone)));
  EXPECT_EQ(waiting.wait(1ms).error().code, Code::kDeadlineExceeded);
  EXPECT_TRUE(spawn(Impatient::run(std::move(waiting), notes)).done());
  EXPECT_EQ(notes.all(), std::vector<std::string>{"9"}) << "FailedPrecondition";
  EXPECT_EQ(gone, 1) << "the other Job was its parameter";
}

Coroutine<> ask_at_length(Fleet& fleet, Fleet::OnText on_text, Token) {
  const Question question{.model = "heron", .prompt = "scout two, hold position\n", .chat = false, .tokens_max = 400};
  (void)co_await ask(fleet, question, std::move(on_text));
}

TEST(AwaitOfAModel, who_is_destroyed_while_it_asks_cancels_its_question_and_hears_no_more_of_it) {
  const std::string model = std::string(SEDGE_SOURCE_DIR) + "/models/heron/heron.gguf";
  if (!std::filesystem::exists(model)) GTEST_SKIP() << "needs " << model;
  const api::testing::Home home;
  auto fleet = Fleet::open(
      {.home = home.path.string(), .listen = "127.0.0.1:0", .models = {model}, .engine_threads = 1, .beacons = false});
  ASSERT_TRUE(fleet) << fleet.error().message;
  ASSERT_TRUE(fleet->await_model("heron", kPatience));
  std::atomic<int> gone = 0;
  std::atomic<int> too_late = 0;
  std::atomic<bool> speaks = false;
  {
    const Job job = spawn(ask_at_length(
        *fleet,
        [&](std::string_view) {
          speaks = true;
          if (gone > 0) ++too_late;
        },
        Token(gone)));
    EXPECT_TRUE(eventually([&] { return speaks || job.done(); }));
  }
  EXPECT_EQ(gone, 1);
  std::promise<void> answered;  // one that comes after it
  EXPECT_TRUE(fleet->start({.model = "heron", .prompt = "rover one, stop\n", .chat = false, .tokens_max = 8}, {},
                           [&](const Result<Answer>&) { answered.set_value(); }));
  answered.get_future().wait();
  ASSERT_TRUE(fleet->close());
  EXPECT_EQ(too_late, 0);
}

// Waits for whoever holds the waiter.
struct ByHand : detail::Awaitable {
  ByHand(detail::Waiter& keep, bool woken) : waiter(&keep), early(woken) {}
  bool await_ready() const { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    detail::Run& run = *handle.promise().run;
    *waiter = {run.shared_from_this(), handle};
    if (early) waiter->wake();
    run.wait(handle);
  }
  void await_resume() const {}
  detail::Waiter* waiter;
  bool early;
};

Coroutine<> wait_by_hand(detail::Waiter& waiter, bool early, Notes& notes) {
  co_await ByHand(waiter, early);
  notes.add("resumed");
}

TEST(AwaitByHand, who_is_woken_just_before_it_waits_goes_on) {
  detail::Waiter waiter;
  Notes notes;
  EXPECT_TRUE(spawn(wait_by_hand(waiter, true, notes)).done());
  EXPECT_EQ(notes.all(), std::vector<std::string>{"resumed"});
}

TEST(AwaitByHand, a_wake_that_comes_after_the_end_finds_nobody) {
  detail::Waiter waiter;
  Notes notes;
  {
    const Job job = spawn(wait_by_hand(waiter, false, notes));
    EXPECT_FALSE(job.done());
  }
  waiter.wake();  // a message was on its way to it
  EXPECT_TRUE(notes.all().empty());
  const Job job = spawn(wait_by_hand(waiter, false, notes));
  waiter.wake();
  EXPECT_TRUE(job.done());
  waiter.wake();
  EXPECT_EQ(notes.all(), std::vector<std::string>{"resumed"});
}

class AwaitOfTwo : public testing::Test, protected api::testing::TwoFleets {
 protected:
  void SetUp() override {
    const Status started = start();
    ASSERT_TRUE(started) << started.error().message;
  }
};

Coroutine<> answer_orders(Fleet& fleet, Stream<std::string> orders, Publisher<std::string> told) {
  while (const auto order = co_await orders.next()) {
    const Question question{.model = "heron", .prompt = order->value, .fallback = "hold"};
    const auto plan = co_await ask(fleet, question);
    (void)told.publish(order->value + ": " + (plan ? plan->text : plan.error().message));
  }
}

TEST_F(AwaitOfTwo, an_order_of_one_node_is_awaited_in_another) {
  auto orders = Stream<std::string>::open(*rover, "orders");
  auto reports = Stream<std::string>::open(*base, "reports");
  ASSERT_TRUE(orders && reports);
  const Job mission =
      spawn(answer_orders(*rover, *std::move(orders), Publisher<std::string>(*rover, "reports", {.retain = true})));
  ASSERT_TRUE(base->publish("orders", "north", {.retain = true}));
  std::optional<Received<std::string>> report;
  ASSERT_TRUE(eventually([&] { return (report = reports->poll()).has_value(); }));
  EXPECT_EQ(report->value, "north: hold");
  EXPECT_EQ(report->origin, rover->id());
}

}  // namespace
}  // namespace sedge::robot
