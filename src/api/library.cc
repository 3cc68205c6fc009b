// The C++ library (include/sedge/sedge.h) over platform::Runtime: a node on a thread of its own, and calls that reach
// it from any other. A call is posted to the loop and waits for what it returns; made on the loop itself, in a
// callback, it runs at once. Nothing is shared between the two but the queue of the loop.
//
// The loop may end at any time (close, a full disk). What was posted and not run is then destroyed with it, and with it
// the promise that its caller waits for: a broken promise is how a call learns that the Fleet is closed.
#include "sedge/sedge.h"

#include <algorithm>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "crdt/replica.h"
#include "mesh/membership.h"
#include "mesh/pubsub.h"
#include "mesh/state_sync.h"
#include "node/node.h"
#include "platform/home.h"
#include "platform/join_client.h"
#include "platform/runtime.h"

namespace sedge::robot {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(20);  // of await_model
constexpr char kInCallback[] = "this call waits for the fleet, and a callback runs on the loop that it would wait for";

Error told(const sedge::Error& error) { return {static_cast<Code>(error.code), error.message}; }

template <class T>
Result<T> told(sedge::Result<T> result) {
  if (!result) return std::unexpected(told(result.error()));
  if constexpr (std::is_void_v<T>) return {};
  else return *std::move(result);
}

std::string text_of(const Buffer& bytes) { return std::string(as_text(bytes)); }

Entry entry_of(const crdt::Value& value) {
  Entry entry{.kind = static_cast<Entry::Kind>(value.family), .values = {}, .total = value.total, .writer = value.writer.hex()};
  std::ranges::transform(value.values, std::back_inserter(entry.values), text_of);
  return entry;
}
static_assert(static_cast<int>(Entry::Kind::kSet) == static_cast<int>(crdt::Family::kSet));
static_assert(static_cast<int>(Entry::Kind::kMulti) == static_cast<int>(crdt::Family::kMulti));

bool offers(const place::NodeView& view, std::string_view model) {
  return std::ranges::any_of(view.offers, [&](const env::ModelOffer& offer) { return offer.name == model; });
}

bool offered(const node::Node& node, std::string_view model) {
  return std::ranges::any_of(node.owner().nodes(), [&](const auto& each) { return offers(each.second, model); });
}

std::string_view state_name(mesh::MemberState state) {
  static constexpr std::string_view kNames[] = {"alive", "suspect", "dead", "left"};
  return kNames[static_cast<std::size_t>(state)];
}

Member member_of(const node::Node& node, const mesh::Member& member) {
  Member told{.id = member.id.hex(),
              .name = member.name,
              .state = std::string(state_name(member.state)),
              .self = member.id == node.id(),
              .linked = member.linked,
              .round_trip = node.membership().rtt(member.id),
              .models = {}};
  const auto& views = node.owner().nodes();
  if (const auto view = views.find(member.id); view != views.end()) {
    for (const env::ModelOffer& offer : view->second.offers) told.models.push_back(offer.name);
  }
  return told;
}

Result<node::TaskRequest> request_of(Question question) {
  if (question.model.empty()) return std::unexpected(Error{Code::kInvalidArgument, "a question names a model"});
  if (question.deadline && question.deadline->count() <= 0) {
    return std::unexpected(Error{Code::kInvalidArgument, "a deadline lies in the future"});
  }
  node::TaskRequest task;
  task.spec.model = std::move(question.model);
  if (question.chat) task.spec.turns.push_back({"user", std::move(question.prompt)});
  else task.spec.prompt = std::move(question.prompt);
  task.spec.tokens_max = question.tokens_max;
  task.spec.stops = std::move(question.stops);
  task.spec.sampling.temperature = question.temperature;
  task.spec.sampling.top_p = question.top_p;
  task.spec.sampling.seed = question.seed;
  if (question.deadline) task.deadline = *question.deadline;
  task.fallback = std::move(question.fallback);
  task.fallback_last_good = question.fallback_last_good;
  return task;
}

Result<Answer> answer_of(const node::Node& node, const std::string& model, const node::TaskResult& result) {
  using node::Outcome;
  if (result.outcome == Outcome::kAnswered || result.outcome == Outcome::kFallback) {
    const auto server = node.membership().find(result.served_by);
    return Answer{.text = result.text,
                  .fallback = result.outcome == Outcome::kFallback,
                  .deadline_met = result.deadline_met,
                  .reason = result.reason,
                  .served_by = server ? server->name : "",
                  .attempts = result.attempts,
                  .tokens = static_cast<std::uint32_t>(result.tokens.size()),
                  .first_token = result.first_token,
                  .total = result.total};
  }
  static constexpr std::pair<Outcome, Code> kCodes[] = {{Outcome::kRefused, Code::kResourceExhausted},
                                                        {Outcome::kDeadlineExceeded, Code::kDeadlineExceeded},
                                                        {Outcome::kFailed, Code::kUnavailable},
                                                        {Outcome::kCancelled, Code::kCancelled}};
  Error error{std::ranges::find(kCodes, result.outcome, &std::pair<Outcome, Code>::first)->second, result.reason};
  if (result.outcome == Outcome::kRefused && !offered(node, model)) error.code = Code::kNotFound;
  if (result.retry_after > Duration::zero()) error.message += fmt::format("; retry in {:.0f} ms", to_ms(result.retry_after));
  return std::unexpected(std::move(error));
}

// An answer that is owed: told once, at the latest when everything that could give it is gone.
class Owed {
 public:
  explicit Owed(Fleet::OnAnswer tell) : tell_(std::move(tell)) {}
  Owed(const Owed&) = delete;
  Owed& operator=(const Owed&) = delete;
  ~Owed() { tell(std::unexpected(Error{Code::kUnavailable, "this Fleet was closed before the answer came"})); }
  void tell(const Result<Answer>& answer) {
    if (const auto once = std::exchange(tell_, nullptr)) once(answer);
  }

 private:
  Fleet::OnAnswer tell_;
};

thread_local const void* this_loop = nullptr;  // the Impl whose loop this thread runs

}  // namespace

class Fleet::Impl {
 public:
  explicit Impl(std::unique_ptr<platform::Runtime> runtime)
      : id(runtime->node().id().hex()),
        name(runtime->node().options().name),
        address(runtime->listening().text()),
        runtime_(std::move(runtime)),
        thread_([this] { run(); }) {}
  ~Impl() { (void)close(); }

  bool in_callback() const { return this_loop == this; }

  // What `call(node, now)` returns, a Result, once it ran on the loop.
  template <class Call>
  auto on_loop(Call call) -> std::invoke_result_t<Call, node::Node&, Instant> {
    using Returned = std::invoke_result_t<Call, node::Node&, Instant>;
    if (in_callback()) return call(runtime_->node(), platform::now());
    return wait_for<Returned>([call = std::move(call)](node::Node& node, Instant now, const auto& promise) {
      promise->set_value(call(node, now));
    });
  }

  // For what is done later than it returns: `call(node, now, done)`. In a callback, what was refused at once.
  template <class Call>
  Status when_done(Call call) {
    if (in_callback()) {
      const auto refused = std::make_shared<Status>();
      call(runtime_->node(), platform::now(), [refused](const sedge::Status& status) { *refused = told(status); });
      return *refused;
    }
    return wait_for<Status>([call = std::move(call)](node::Node& node, Instant now, const auto& promise) {
      call(node, now, [promise](const sedge::Status& status) { promise->set_value(told(status)); });
    });
  }

  // write(node.state(), now) gives the ticket.
  template <class Write>
  Status write(Write write) {
    return when_done([write = std::move(write)](node::Node& node, Instant now, node::Node::Done done) {
      node.when_durable(write(node.state(), now), std::move(done));
    });
  }

  Status close() {
    {
      const std::lock_guard lock(mutex_);
      if (runtime_ && !std::exchange(closing_, true)) runtime_->stop();
    }
    if (in_callback()) return {};
    const std::lock_guard lock(joining_);
    if (thread_.joinable()) thread_.join();
    return end_;
  }

  const std::string id;
  const std::string name;
  const std::string address;

 private:
  void run() {
    this_loop = this;
    const Status end = told(runtime_->run());
    std::unique_ptr<platform::Runtime> over;
    {
      const std::lock_guard lock(mutex_);
      end_ = end;
      over = std::move(runtime_);
    }
    over.reset();  // breaks the promises of those who wait
  }

  template <class Returned, class Call>
  Returned wait_for(Call call) {
    const auto promise = std::make_shared<std::promise<Returned>>();
    auto answer = promise->get_future();
    {
      const std::lock_guard lock(mutex_);
      if (!runtime_) return std::unexpected(closed());
      runtime_->post([call = std::move(call), promise = std::weak_ptr(promise), keep = promise](node::Node& node, Instant now) {
        call(node, now, keep);
      });
    }
    return take<Returned>(answer, promise);
  }

  std::unique_ptr<platform::Runtime> runtime_;  // none: the loop has ended. Only the loop's thread takes it away
  Status end_;
  bool closing_ = false;
  std::mutex mutex_;    // of the three above
  std::mutex joining_;  // of thread_
  std::thread thread_;  // last: it uses the rest
};

}  // namespace sedge::robot
