// Coroutines over a Fleet: a mission as one function that waits, instead of a state machine in callbacks.
//
//   Coroutine<> drive(Fleet& fleet, Stream<Order> orders) {
//     while (const auto order = co_await orders.next()) {
//       const Question question{.model = "heron", .prompt = order->value.text, .deadline = 800ms};
//       const auto plan = co_await ask(fleet, question);
//       obey(plan ? plan->text : "hold position");
//     }  // the Fleet is closed
//   }
//   auto orders = Stream<Order>::open(*fleet, "robot/rover-7/orders", {.capacity = 8});
//   const Job mission = spawn(drive(*fleet, *std::move(orders)));
//
// A Coroutine runs when it is awaited or spawned. In it, co_await takes other Coroutines, Stream::next() and ask().
// Parameters are copied into it, what a lambda captured is not: give it its things as parameters, and what those refer
// to has to outlive the Job. Where g++ 12 is to build it, a struct in braces (`co_await go({.x_m = 3})`) stays out of
// co_await expressions: it destroys such a temporary twice. Name it first.
//
// Threads: a spawned coroutine runs on the thread that spawns it until it first has to wait; from then on always on
// the loop, as a callback does and with a callback's duties: short steps, nothing that waits for the fleet (Fleet::ask
// and the agreed values: FailedPrecondition). Only one thread at a time runs it. A thread of yours that has worked for
// it tells it by a message that it publishes.
//
// Lifetime: a Job owns its coroutine. Destroyed, it destroys the coroutine where that waits: it is never resumed, its
// question is cancelled, its subscriptions end. A step that is under way elsewhere is waited for; one that destroys its
// own Job is gone when it waits next. A Fleet that closes resumes all that wait, on the loop, with Unavailable. Such an
// error is final: leave the loop that awaits. What leaves a Coroutine as an exception ends the program, as in a
// callback.
//
// Rejected (docs/adr/0023): Asio's coroutines, which would put Boost into every robot's build; a timer to sleep by,
// which the Fleet does not have: a deadline of the subscription or the question says how long is waited.
#pragma once

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "sedge/codec.h"
#include "sedge/sedge.h"
#include "sedge/typed.h"

namespace sedge::robot {

template <class T = void>
class Coroutine;

namespace detail {

struct Awaitable {};  // what a Coroutine may await

inline thread_local int steps_here = 0;  // of coroutines, on this thread

// A spawned coroutine and those it awaits, as one thread of control that moves between real ones. It runs, and then
// nobody else touches it; or it waits, and then one may wake it or destroy it, whoever comes first.
class Run : public std::enable_shared_from_this<Run> {
 public:
  explicit Run(std::coroutine_handle<> root) : root_(root) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void start() {
    runner_ = std::this_thread::get_id();
    step(root_);
  }

  // In a step, within await_suspend(): `with` goes on when the coroutine there is suspended. A loop in step() and no
  // symmetric transfer, which takes stack in builds without tail calls.
  void go_on(std::coroutine_handle<> with) { *next_ = with; }

  // In a step, as the last thing of await_suspend(): others may wake `handle` from here on, or have done so already.
  // The caller may be gone when this returns.
  void wait(std::coroutine_handle<> handle) {
    const auto self = shared_from_this();
    {
      const std::lock_guard lock(mutex_);
      if (!abandoned_) {
        if (std::exchange(woken_, false)) return go_on(handle);
        state_ = State::kWaiting;
        return changed_.notify_all();
      }
    }
    end();
  }

  void wake(std::coroutine_handle<> handle) {
    {
      const std::lock_guard lock(mutex_);
      if (state_ == State::kRunning) woken_ = true;  // it is about to wait
      if (state_ != State::kWaiting) return;
      state_ = State::kRunning;
      runner_ = std::this_thread::get_id();
    }
    step(handle);
  }

  // In the outermost coroutine's last step, or whoever may run it: destroys it.
  void end() {
    const auto self = shared_from_this();
    std::exchange(root_, nullptr).destroy();  // without the lock: it may wait for the loop, and the loop for the lock
    const std::lock_guard lock(mutex_);
    state_ = State::kOver;
    changed_.notify_all();
  }

  void abandon() {
    {
      std::unique_lock lock(mutex_);
      if (state_ == State::kRunning && runner_ == std::this_thread::get_id()) {
        abandoned_ = true;
        return;
      }
      changed_.wait(lock, [this] { return state_ != State::kRunning; });
      if (state_ == State::kOver) return;
      state_ = State::kRunning;  // so that nobody wakes it
      runner_ = std::this_thread::get_id();
    }
    end();
  }

  bool done() const {
    const std::lock_guard lock(mutex_);
    return state_ == State::kOver;
  }
  bool wait_done(std::optional<std::chrono::milliseconds> patience) const {
    const auto over = [this] { return state_ == State::kOver; };
    std::unique_lock lock(mutex_);
    if (patience) return changed_.wait_for(lock, *patience, over);
    changed_.wait(lock, over);
    return true;
  }

 private:
  enum class State { kRunning, kWaiting, kOver };

  // Once the coroutine waits it may be on another thread before resume() returns here: only `next` is looked at then.
  void step(std::coroutine_handle<> handle) {
    std::coroutine_handle<> next = handle;
    next_ = &next;
    ++steps_here;
    while (next) std::exchange(next, nullptr).resume();
    --steps_here;
  }

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  State state_ = State::kRunning;
  bool woken_ = false;      // before it waited
  bool abandoned_ = false;  // in its own step: it ends where it waits next
  std::thread::id runner_;
  std::coroutine_handle<> root_;             // of who runs it
  std::coroutine_handle<>* next_ = nullptr;  // of the step that is under way
};

// Who waits for one thing.
struct Waiter {
  std::shared_ptr<Run> run{};
  std::coroutine_handle<> handle{};
  void wake() const {
    if (run) run->wake(handle);
  }
};

// What is awaited, as a temporary of the full expression that lives until it is resumed. A reference in a value,
// because g++ 12 copies what await_transform() returns by reference.
template <class Awaited>
struct Awaiting {
  Awaited& awaited;
  bool await_ready() { return awaited.await_ready(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    awaited.await_suspend(handle);
  }
  decltype(auto) await_resume() { return awaited.await_resume(); }
};

struct PromiseBase {
  struct Final {
    bool await_ready() const noexcept { return false; }
    // A mutex that cannot be locked ends the program, here and in ~Job: nothing could go on.
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> ended) const noexcept {  // NOLINT(bugprone-exception-escape)
      PromiseBase& promise = ended.promise();
      if (promise.then)
        promise.run->go_on(promise.then);
      else
        promise.run->end();
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  Final final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  template <class Awaited>
  Awaiting<std::remove_reference_t<Awaited>> await_transform(Awaited&& awaited) const noexcept {
    static_assert(std::derived_from<std::remove_cvref_t<Awaited>, Awaitable>,
                  "Sedge: a Coroutine awaits Coroutines, Stream::next() and ask(): others would resume it anywhere");
    static_assert(!std::is_lvalue_reference_v<Awaited>,
                  "Sedge: await it where it is made, or std::move it: it is awaited once");
    return {awaited};
  }

  Run* run = nullptr;            // set when it is awaited or spawned
  std::coroutine_handle<> then;  // who awaits it; none: it was spawned
};

template <class T>
struct Promise : PromiseBase {
  Coroutine<T> get_return_object() noexcept;
  template <class From = T>
    requires std::constructible_from<T, From>
  void return_value(From&& from) {
    value.emplace(std::forward<From>(from));
  }
  T take() { return *std::move(value); }
  std::optional<T> value;
};

template <>
struct Promise<void> : PromiseBase {
  Coroutine<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const noexcept {}
};

}  // namespace detail

class Job;

// A coroutine that gives a T. Nothing of it runs before it is awaited or spawned, which is done once.
template <class T>
class [[nodiscard]] Coroutine : public detail::Awaitable {
 public:
  using promise_type = detail::Promise<T>;

  Coroutine(Coroutine&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Coroutine& operator=(Coroutine&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Coroutine() {
    if (handle_) handle_.destroy();
  }

  // For co_await.
  bool await_ready() const noexcept {
    if (!handle_) std::terminate();  // a second time: the program is wrong
    return false;
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    promise_type& promise = handle_.promise();
    promise.run = awaiting.promise().run;
    promise.then = awaiting;
    promise.run->go_on(handle_);
  }
  T await_resume() {
    const Coroutine ended = std::move(*this);
    return ended.handle_.promise().take();
  }

 private:
  friend promise_type;
  friend Job spawn(Coroutine<void> task);
  explicit Coroutine(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

template <class T>
Coroutine<T> detail::Promise<T>::get_return_object() noexcept {
  return Coroutine<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Coroutine<void> detail::Promise<void>::get_return_object() noexcept {
  return Coroutine<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

// Owns a coroutine that was spawned; destroyed, assigned or cancelled it ends it. Threads: any, one at a time; done()
// and wait() also beside each other.
class [[nodiscard]] Job {
 public:
  Job() = default;  // none: it is done
  Job(Job&&) noexcept = default;
  Job& operator=(Job&& other) noexcept {
    Job old = std::move(*this);
    run_ = std::move(other.run_);
    return *this;
  }
  ~Job() { cancel(); }  // NOLINT(bugprone-exception-escape)

  void cancel() {
    if (const auto run = std::exchange(run_, nullptr)) run->abandon();
  }
  bool done() const { return !run_ || run_->done(); }
  // Until it has come to its end. Errors: DeadlineExceeded; FailedPrecondition: this is a step of a coroutine. Nor may
  // a callback call it: the loop would wait for itself.
  Status wait(std::optional<std::chrono::milliseconds> patience = std::nullopt) const {
    if (detail::steps_here > 0) {
      return std::unexpected(
          Error{Code::kFailedPrecondition, "a coroutine awaits another, it does not wait for its Job"});
    }
    if (!run_ || run_->wait_done(patience)) return {};
    return std::unexpected(Error{Code::kDeadlineExceeded, "the coroutine is still under way"});
  }

 private:
  friend Job spawn(Coroutine<void> task);
  explicit Job(std::shared_ptr<detail::Run> run) : run_(std::move(run)) {}

  std::shared_ptr<detail::Run> run_;
};

// Runs it on this thread until it has to wait. What it finds goes where its parameters say: a Job has no result.
inline Job spawn(Coroutine<void> task) {
  const auto handle = std::exchange(task.handle_, nullptr);
  if (!handle) return {};
  auto run = std::make_shared<detail::Run>(handle);
  handle.promise().run = run.get();
  Job job(run);
  run->start();
  return job;
}

template <class T>
struct Received {
  T value;
  std::string topic;
  std::string origin;  // id of the node that published it
};

struct StreamOptions {
  std::size_t capacity = 64;  // messages that wait to be taken; one more drops the oldest, and dropped() counts it
  OnMalformed on_malformed{};
  Subscribe subscription{};  // with a deadline, a next() that waits ends with DeadlineExceeded whenever on_late is due
};

namespace detail {

// Between the subscription's callback and who takes. The waiter is woken without the lock.
template <class T>
class Mailbox {
 public:
  explicit Mailbox(std::size_t capacity) : capacity_(capacity) {}

  void put(Received<T> message) {
    std::optional<Received<T>> oldest;  // destroyed without the lock
    Waiter waiter;
    {
      const std::lock_guard lock(mutex_);
      if (cancelled_) return;
      if (messages_.size() == capacity_) {
        oldest = std::move(messages_.front());
        messages_.pop_front();
        ++dropped_;
      }
      messages_.push_back(std::move(message));
      waiter = std::exchange(waiter_, {});
    }
    waiter.wake();
  }
  void count_malformed() {
    const std::lock_guard lock(mutex_);
    ++malformed_;
  }
  void late() {
    Waiter waiter;
    {
      const std::lock_guard lock(mutex_);
      if (!waiter_.run) return;
      late_ = true;
      waiter = std::exchange(waiter_, {});
    }
    waiter.wake();
  }
  void end() {
    Waiter waiter;
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      waiter = std::exchange(waiter_, {});
    }
    waiter.wake();
  }
  // The Stream goes. False: the subscription is gone already.
  bool cancel() {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    return !ended_;
  }

  bool ready() const {
    const std::lock_guard lock(mutex_);
    return !messages_.empty() || ended_;
  }
  enum class Armed { kWaits, kReady, kTaken };
  Armed arm(const Waiter& waiter) {
    const std::lock_guard lock(mutex_);
    if (!messages_.empty() || ended_) return Armed::kReady;
    if (waiter_.run) return Armed::kTaken;
    waiter_ = waiter;
    return Armed::kWaits;
  }
  void disarm(std::coroutine_handle<> handle) {
    Waiter waiter;
    const std::lock_guard lock(mutex_);
    if (waiter_.handle == handle) waiter = std::exchange(waiter_, {});
  }

  std::optional<Received<T>> poll() {
    const std::lock_guard lock(mutex_);
    if (messages_.empty()) return std::nullopt;
    std::optional<Received<T>> first = std::move(messages_.front());
    messages_.pop_front();
    return first;
  }
  Result<Received<T>> take() {
    const bool late = take_late();
    if (auto first = poll()) return *std::move(first);
    if (late)
      return std::unexpected(Error{Code::kDeadlineExceeded, "no message came within the subscription's deadline"});
    const std::lock_guard lock(mutex_);
    if (cancelled_) return std::unexpected(Error{Code::kCancelled, "this Stream was destroyed"});
    if (ended_) return std::unexpected(Error{Code::kUnavailable, "this Fleet is closed"});
    return std::unexpected(Error{Code::kAborted, "another took the message that came: await again"});
  }
  std::uint64_t dropped() const {
    const std::lock_guard lock(mutex_);
    return dropped_;
  }
  std::uint64_t malformed() const {
    const std::lock_guard lock(mutex_);
    return malformed_;
  }

 private:
  bool take_late() {
    const std::lock_guard lock(mutex_);
    return std::exchange(late_, false);
  }

  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::deque<Received<T>> messages_;  // at most capacity_
  std::uint64_t dropped_ = 0;
  std::uint64_t malformed_ = 0;
  bool ended_ = false;      // the subscription is gone: nothing comes any more
  bool cancelled_ = false;  // the Stream is gone
  bool late_ = false;       // the deadline passed while somebody waited
  Waiter waiter_;
};

// Held by the subscription's callbacks alone. They are destroyed with the subscription or the node, on the loop.
template <class T>
struct Source {
  explicit Source(std::shared_ptr<Mailbox<T>> box) : mailbox(std::move(box)) {}
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  ~Source() { mailbox->end(); }
  std::shared_ptr<Mailbox<T>> mailbox;
};

template <class T>
class [[nodiscard]] Next : public Awaitable {
 public:
  explicit Next(std::shared_ptr<Mailbox<T>> mailbox) : mailbox_(std::move(mailbox)) {}
  Next(const Next&) = delete;
  Next& operator=(const Next&) = delete;
  ~Next() {
    if (armed_) mailbox_->disarm(armed_);
  }

  bool await_ready() const { return mailbox_->ready(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    Run& run = *handle.promise().run;
    armed_ = handle;
    switch (mailbox_->arm({run.shared_from_this(), handle})) {
      case Mailbox<T>::Armed::kWaits:
        return run.wait(handle);
      case Mailbox<T>::Armed::kTaken:
        taken_ = true;
        break;
      case Mailbox<T>::Armed::kReady:
        break;
    }
    armed_ = nullptr;
    run.go_on(handle);
  }
  Result<Received<T>> await_resume() {
    armed_ = nullptr;
    if (taken_)
      return std::unexpected(Error{Code::kFailedPrecondition, "another coroutine waits on this Stream: one may"});
    return mailbox_->take();
  }

 private:
  std::shared_ptr<Mailbox<T>> mailbox_;
  std::coroutine_handle<> armed_;  // waits, or has been woken and not been resumed
  bool taken_ = false;
};

}  // namespace detail

// The messages of a subscription, one after the other, as they are taken. Bounded: who takes too slowly gets the newest
// ones. Keeps the Fleet's address, which is not to change; it may outlive the Fleet.
// Threads: any; one coroutine may wait at a time.
template <class T>
class Stream {
  static_assert(Encodable<T>,
                "Sedge: this type has no Codec: give it fields(visit), or specialise sedge::robot::Codec");

 public:
  // Errors: those of Fleet::subscribe; InvalidArgument: no capacity.
  static Result<Stream> open(Fleet& fleet, std::string_view filter, StreamOptions options = {}) {
    if (options.capacity == 0)
      return std::unexpected(Error{Code::kInvalidArgument, "a stream holds a message or more"});
    const auto mailbox = std::make_shared<detail::Mailbox<T>>(options.capacity);
    const auto source = std::make_shared<detail::Source<T>>(mailbox);
    SubscribeTyped typed{.on_malformed = {}, .subscription = std::move(options.subscription)};
    typed.on_malformed = [source, tell = std::move(options.on_malformed)](const Malformed& malformed) {
      source->mailbox->count_malformed();
      if (tell) tell(malformed);
    };
    if (typed.subscription.deadline) {
      typed.subscription.on_late = [source, tell = std::move(typed.subscription.on_late)](std::string_view topic) {
        if (tell) tell(topic);
        source->mailbox->late();
      };
    }
    const auto put = [source](T&& value, const Message& message) {
      source->mailbox->put({std::move(value), std::string(message.topic), std::string(message.origin)});
    };
    const auto id = detail::hear<T>(fleet, filter, put, std::move(typed));
    if (!id) return std::unexpected(id.error());
    return Stream(fleet, *id, mailbox);
  }
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&& other) noexcept {
    std::swap(fleet_, other.fleet_);
    std::swap(id_, other.id_);
    std::swap(mailbox_, other.mailbox_);
    return *this;
  }
  // Ends the subscription; a coroutine that waits here is resumed on the loop with Cancelled.
  ~Stream() {
    if (mailbox_ && mailbox_->cancel()) fleet_->unsubscribe(id_);
  }

  // co_await gives Result<Received<T>>: the oldest message that waits, else the next that comes.
  // Errors: Unavailable: the Fleet is closed and nothing waits any more; Cancelled: the Stream was destroyed; both are
  // final. DeadlineExceeded: the subscription's deadline passed. FailedPrecondition: another coroutine waits here.
  // Aborted: poll() was faster.
  detail::Next<T> next() { return detail::Next<T>(mailbox_); }
  // The oldest message that waits, if there is one: for a control loop of its own thread.
  std::optional<Received<T>> poll() { return mailbox_->poll(); }

  std::uint64_t dropped() const { return mailbox_->dropped(); }
  std::uint64_t malformed() const { return mailbox_->malformed(); }  // messages that were no T

 private:
  Stream(Fleet& fleet, SubscriptionId id, std::shared_ptr<detail::Mailbox<T>> mailbox)
      : fleet_(&fleet), id_(id), mailbox_(std::move(mailbox)) {}

  Fleet* fleet_;
  SubscriptionId id_;
  std::shared_ptr<detail::Mailbox<T>> mailbox_;  // none: moved away
};

namespace detail {

class [[nodiscard]] Asking : public Awaitable {
 public:
  Asking(Fleet& fleet, Question question, Fleet::OnText on_text)
      : fleet_(&fleet), question_(std::move(question)), on_text_(std::move(on_text)) {}
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;
  ~Asking() {
    if (open_ && owed_->forget()) fleet_->cancel(task_);
  }

  bool await_ready() {
    const auto task = fleet_->start(std::move(question_), std::move(on_text_),
                                    [owed = owed_](const Result<Answer>& answer) { owed->tell(answer); });
    open_ = true;
    if (task) task_ = *task;
    return owed_->told();
  }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    Run& run = *handle.promise().run;
    if (owed_->arm({run.shared_from_this(), handle})) return run.wait(handle);
    run.go_on(handle);
  }
  Result<Answer> await_resume() {
    open_ = false;
    return owed_->take();
  }

 private:
  class Owed {
   public:
    void tell(const Result<Answer>& answer) {
      Waiter waiter;
      {
        const std::lock_guard lock(mutex_);
        answer_ = answer;
        waiter = std::exchange(waiter_, {});
      }
      waiter.wake();
    }
    bool told() const {
      const std::lock_guard lock(mutex_);
      return answer_.has_value();
    }
    bool arm(const Waiter& waiter) {
      const std::lock_guard lock(mutex_);
      if (!answer_) waiter_ = waiter;
      return !answer_;
    }
    // Whether the answer is still to come.
    bool forget() {
      Waiter waiter;
      const std::lock_guard lock(mutex_);
      waiter = std::exchange(waiter_, {});
      return !answer_;
    }
    Result<Answer> take() {
      const std::lock_guard lock(mutex_);
      return *std::move(answer_);
    }

   private:
    mutable std::mutex mutex_;
    std::optional<Result<Answer>> answer_;
    Waiter waiter_;
  };

  Fleet* fleet_;
  Question question_;
  Fleet::OnText on_text_;
  TaskId task_;
  bool open_ = false;  // asked, and the answer not taken
  std::shared_ptr<Owed> owed_ = std::make_shared<Owed>();
};

}  // namespace detail

// co_await gives Result<Answer>, as Fleet::ask does and with its errors, but waits in the coroutine alone.
// A question has a name, and is not braces in the co_await expression: those g++ 12 would destroy twice.
inline detail::Asking ask(Fleet& fleet, const Question& question, Fleet::OnText on_text = {}) {
  return {fleet, question, std::move(on_text)};
}
detail::Asking ask(Fleet& fleet, Question&& question, Fleet::OnText on_text = {}) = delete;

}  // namespace sedge::robot
