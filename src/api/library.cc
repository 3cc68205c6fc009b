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
#include "env/model_name.h"
#include "mesh/membership.h"
#include "mesh/overlay.h"
#include "mesh/pubsub.h"
#include "mesh/state_sync.h"
#include "node/node.h"
#include "platform/home.h"
#include "platform/join_client.h"
#include "platform/loan_memory.h"
#include "platform/loans.h"
#include "platform/runtime.h"
#include "platform/system.h"
#include "trust/home.h"
#include "trust/invitation.h"
#include "wire/loan_messages.h"

namespace sedge::robot {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(20);  // of await_model
constexpr auto kDiskPatience = std::chrono::seconds(30);       // with one chunk: 8 MiB at 280 kB/s
constexpr char kInCallback[] = "this call waits for the fleet, and a callback runs on the loop that it would wait for";

Error told(const sedge::Error& error) { return {static_cast<Code>(error.code), error.message}; }

template <class T>
Result<T> told(sedge::Result<T> result) {
  if (!result) return std::unexpected(told(result.error()));
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return *std::move(result);
}

// The node copies the callbacks it is given; what a user's callback remembers must stay in one place.
template <class Callback>
std::shared_ptr<const Callback> shared(Callback callback) {
  return std::make_shared<const Callback>(std::move(callback));
}

std::string text_of(const Buffer& bytes) { return std::string(as_text(bytes)); }

Entry entry_of(const crdt::Value& value) {
  Entry entry{
      .kind = static_cast<Entry::Kind>(value.family), .values = {}, .total = value.total, .writer = value.writer.hex()};
  std::ranges::transform(value.values, std::back_inserter(entry.values), text_of);
  return entry;
}
static_assert(static_cast<int>(Entry::Kind::kSet) == static_cast<int>(crdt::Family::kSet));
static_assert(static_cast<int>(Entry::Kind::kLog) == static_cast<int>(crdt::Family::kLog));
static_assert(static_cast<int>(Entry::Kind::k2PSet) == static_cast<int>(crdt::Family::k2PSet));
static_assert(static_cast<int>(Entry::Kind::kMulti) == static_cast<int>(crdt::Family::kMulti));

bool offers(const place::NodeView& view, std::string_view model) {
  return env::find_offer(view.offers, model).has_value();
}

bool offered(const node::Node& node, std::string_view model) {
  return std::ranges::any_of(node.owner().nodes(), [&](const auto& each) { return offers(each.second, model); });
}

env::Priority priority_of(Urgency urgency) {
  static constexpr env::Priority kPriorities[] = {env::Priority::kUrgent, env::Priority::kNormal, env::Priority::kLow,
                                                  env::Priority::kBulk, env::Priority::kIdle};
  return kPriorities[static_cast<std::size_t>(urgency)];
}

std::string_view state_name(mesh::MemberState state) {
  static constexpr std::string_view kNames[] = {"alive", "suspect", "dead", "left"};
  return kNames[static_cast<std::size_t>(state)];
}

Member member_of(const node::Node& node, const mesh::Member& member) {
  Member row{.id = member.id.hex(),
             .name = member.name,
             .state = std::string(state_name(member.state)),
             .self = member.id == node.id(),
             .linked = member.linked,
             .round_trip = node.membership().round_trip(member.id),
             .models = {}};
  const auto& views = node.owner().nodes();
  if (const auto view = views.find(member.id); view != views.end()) {
    for (const env::ModelOffer& offer : view->second.offers) row.models.push_back(offer.name);
  }
  return row;
}

Result<node::TaskRequest> request_of(Question question) {
  if (question.model.empty()) return std::unexpected(Error{Code::kInvalidArgument, "a question names a model"});
  if (question.deadline && question.deadline->count() <= 0) {
    return std::unexpected(Error{Code::kInvalidArgument, "a deadline lies in the future"});
  }
  node::TaskRequest task;
  task.spec.model = std::move(question.model);
  if (question.chat)
    task.spec.turns.push_back({"user", std::move(question.prompt)});
  else
    task.spec.prompt = std::move(question.prompt);
  task.spec.tokens_max = question.tokens_max;
  task.spec.stops = std::move(question.stops);
  task.spec.sampling.temperature = question.temperature;
  task.spec.sampling.top_p = question.top_p;
  task.spec.sampling.seed = question.seed;
  if (question.deadline) task.deadline = *question.deadline;
  task.fallback = std::move(question.fallback);
  task.fallback_last_good = question.fallback_last_good;
  task.publish = std::move(question.publish);
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
  if (result.code == sedge::Code::kInvalidArgument) error.code = Code::kInvalidArgument;
  if (result.code == sedge::Code::kPermissionDenied) error.code = Code::kPermissionDenied;
  if (result.retry_after > Duration::zero())
    error.message += fmt::format("; retry in {:.0f} ms", to_ms(result.retry_after));
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

Error closed(const Status& end) {
  return {Code::kUnavailable, end ? "this Fleet is closed" : "this node has ended: " + end.error().message};
}

// Which of a node's counts a loan that was not had belongs to.
std::uint64_t& count_of(LoanStats& stats, sedge::Code code) {
  switch (code) {
    case sedge::Code::kFailedPrecondition:
      return stats.elsewhere;
    case sedge::Code::kDataLoss:
    case sedge::Code::kPermissionDenied:
      return stats.refused;
    default:
      return stats.missed;
  }
}

// A subscription to loans. Whoever fetches one for it holds it weakly: once it is over, nothing is told.
struct HearsLoans {
  std::function<void(const LoanMessage&)> callback;
  std::function<void(const MissedLoan&)> on_missed;
};

thread_local const void* this_loop = nullptr;  // the Impl whose loop this thread runs

}  // namespace

class Fleet::Impl {
 public:
  Impl(std::unique_ptr<platform::Runtime> runtime, platform::LoanKeeping keeping)
      : id(runtime->node().id().hex()),
        name(runtime->node().options().name),
        address(runtime->listening().text()),
        lender(runtime->io(), keeping),
        runtime_(std::move(runtime)),
        loans_(std::make_unique<Loans>(*runtime_)),
        thread_([this] { run(); }) {}
  ~Impl() { (void)close(); }

  bool in_callback() const { return this_loop == this; }

  // What `call(node, now)` returns, a Result, once it ran on the loop.
  template <class Call>
  auto on_loop(Call call) -> std::invoke_result_t<Call, node::Node&, Instant> {
    using Returned = std::invoke_result_t<Call, node::Node&, Instant>;
    if (in_callback()) {
      if (!runtime_) return std::unexpected(closed(end_));
      return call(runtime_->node(), platform::now());
    }
    return wait_for<Returned>([call = std::move(call)](node::Node& node, Instant now, const auto& promise) {
      promise->set_value(call(node, now));
    });
  }

  // Again while the disk is behind. In a callback nothing goes to the disk meanwhile: refused at once.
  template <class Call>
  Status when_disk_has_room(const Call& call) {
    const auto until = std::chrono::steady_clock::now() + kDiskPatience;
    for (;;) {
      const Status done = on_loop(call);
      const bool full = !done && done.error().code == Code::kResourceExhausted;
      if (!full || in_callback() || std::chrono::steady_clock::now() >= until) return done;
      std::this_thread::sleep_for(kPollInterval);
    }
  }

  // For what is done later than it returns: `call(node, now, done)`. In a callback, what was refused at once.
  template <class Call>
  Status when_done(Call call) {
    if (in_callback()) {
      if (!runtime_) return std::unexpected(closed(end_));
      const auto refused = std::make_shared<Status>();
      call(runtime_->node(), platform::now(), [refused](const sedge::Status& status) { *refused = told(status); });
      return *refused;
    }
    return wait_for<Status>([call = std::move(call)](node::Node& node, Instant now, const auto& promise) {
      call(node, now, [promise](const sedge::Status& status) { promise->set_value(told(status)); });
    });
  }

  // From any thread but the loop's.
  Status publish(std::string_view topic, Bytes payload, const mesh::PublishOptions& options) {
    const std::lock_guard lock(mutex_);
    if (!runtime_) return std::unexpected(closed(end_));
    return told(runtime_->publish(topic, payload, options));
  }

  // On the loop.
  platform::LoanClient& loan_client() { return loans_->client; }
  LoanStats& loan_stats() { return loans_->stats; }

  // write(node.state(), now) gives the ticket.
  template <class Write>
  Status write(Write write) {
    return when_done([write = std::move(write)](node::Node& node, Instant now, node::Node::Done done) {
      node.when_durable(write(node.state(), now), std::move(done));
    });
  }
  // `method`: of StateSync, for one path and bytes.
  template <class Value>
  Status write(sedge::Result<mesh::Ticket> (mesh::StateSync::*method)(std::string_view, Value, Instant),
               std::string_view path, std::string_view bytes) {
    return write([method, path = std::string(path), value = to_buffer(as_bytes(bytes))](
                     mesh::StateSync& state, Instant now) { return (state.*method)(path, value, now); });
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
  platform::LoanServer lender;

 private:
  struct Loans {
    explicit Loans(platform::Runtime& runtime) : client(runtime.io(), [&runtime] { runtime.turn(); }) {}
    platform::LoanClient client;
    LoanStats stats;
  };

  void run() {
    this_loop = this;
    const Status end = told(runtime_->run());
    std::unique_ptr<platform::Runtime> over;
    {
      const std::lock_guard lock(mutex_);
      end_ = end;
      over = std::move(runtime_);
    }
    lender.close();  // its sockets, and those of the next, are of the loop
    loans_.reset();
    over.reset();  // breaks the promises of those who wait
  }

  template <class Returned, class Call>
  Returned wait_for(Call call) {
    auto promise = std::make_shared<std::promise<Returned>>();
    auto answer = promise->get_future();
    {
      const std::lock_guard lock(mutex_);
      if (!runtime_) return std::unexpected(closed(end_));
      // The promise goes with the call: nobody else keeps it whole when the loop ends.
      runtime_->post([call = std::move(call), promise = std::move(promise)](node::Node& node, Instant now) {
        call(node, now, promise);
      });
    }
    try {
      return answer.get();
    } catch (const std::future_error&) {
      const std::lock_guard lock(mutex_);
      return std::unexpected(closed(end_));
    }
  }

  std::unique_ptr<platform::Runtime> runtime_;  // none: the loop has ended. Only the loop's thread takes it away
  Status end_;
  bool closing_ = false;
  std::mutex mutex_;              // of the three above
  std::unique_ptr<Loans> loans_;  // the loop's
  std::mutex joining_;            // of thread_
  std::thread thread_;            // last: it uses the rest
};

Fleet::Fleet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Fleet::Fleet(Fleet&&) noexcept = default;
Fleet& Fleet::operator=(Fleet&&) noexcept = default;
Fleet::~Fleet() = default;

Result<Fleet> Fleet::open(Options options) {
  const std::filesystem::path home = options.home;
  if (home.empty()) return std::unexpected(Error{Code::kInvalidArgument, "a node needs a home: a folder of its own"});
  const auto overlay = mesh::parse_overlay(options.overlay);  // before an invitation is used
  if (!overlay) return std::unexpected(told(overlay.error()));
  std::vector<std::string> seeds = options.seeds;
  const bool member = platform::has_home_file(home, trust::HomeFile::kNodeCertificate);
  if (!member && options.invitation.empty()) {
    return std::unexpected(
        Error{Code::kFailedPrecondition,
              fmt::format("{} belongs to no fleet: give the text of `sedge fleet invite`", options.home)});
  }
  if (!options.invitation.empty()) {
    const auto invitation = trust::parse_invitation(options.invitation);
    if (!invitation) return std::unexpected(told(invitation.error()));
    seeds.insert(seeds.end(), invitation->seeds.begin(), invitation->seeds.end());
    if (!member) {
      const auto joined = platform::enrol(home, *invitation, options.name, options.seeds, options.patience);
      if (!joined) return std::unexpected(told(joined.error()));
      seeds.insert(seeds.end(), joined->seeds.begin(), joined->seeds.end());
    }
  }
  std::ranges::sort(seeds);
  seeds.erase(std::ranges::unique(seeds).begin(), seeds.end());
  platform::RuntimeOptions runtime;
  runtime.home = home;
  runtime.listen = std::move(options.listen);
  runtime.seeds = std::move(seeds);
  runtime.models.assign(options.models.begin(), options.models.end());
  runtime.engine_threads = options.engine_threads;
  runtime.beacons = options.beacons;
  runtime.overlay = *overlay;
  runtime.zone = std::move(options.zone);
  runtime.gateway_rank = options.gateway_rank;
  runtime.privacy_budget = options.privacy_budget;
  runtime.log = std::move(options.log);
  auto opened = platform::Runtime::open(std::move(runtime));
  if (!opened) return std::unexpected(told(opened.error()));
  const platform::LoanKeeping keeping{.loans_max = options.loans_kept, .bytes_max = options.loan_bytes_kept};
  return Fleet(std::make_unique<Impl>(*std::move(opened), keeping));
}

std::string Fleet::id() const { return impl_->id; }
std::string Fleet::name() const { return impl_->name; }
std::string Fleet::address() const { return impl_->address; }
Status Fleet::close() { return impl_->close(); }

Status Fleet::publish(std::string_view topic, std::string_view payload, Publish options) {
  if (options.lifespan && (options.retain || options.lifespan->count() <= 0)) {
    return std::unexpected(Error{Code::kInvalidArgument, "a lifespan lies ahead, and a retained message has none"});
  }
  if (options.retain && (options.depth == 0 || options.depth > crdt::kKeepMax)) {
    return std::unexpected(Error{Code::kInvalidArgument, fmt::format("a topic retains 1 to {} messages, not {}",
                                                                     crdt::kKeepMax, options.depth)});
  }
  if (options.causal && (options.retain || !options.reliable)) {
    return std::unexpected(Error{Code::kInvalidArgument, "a causal message is reliable, and not retained"});
  }
  if (options.wait_for_all && (options.retain || !options.reliable)) {
    return std::unexpected(Error{Code::kInvalidArgument, "who waits for all sends what is reliable, and not retained"});
  }
  const mesh::PublishOptions as_node{.reliable = options.reliable,
                                     .priority = priority_of(options.urgency),
                                     .once = std::nullopt,
                                     .lifespan = options.lifespan,
                                     .causal = options.causal,
                                     .for_all = options.wait_for_all};
  if (!options.retain && !options.privacy && !impl_->in_callback())
    return impl_->publish(topic, as_bytes(payload), as_node);
  return impl_->when_done([topic = std::string(topic), payload = std::string(payload),
                           retain = options.retain ? options.depth : 0, as_node,
                           privacy = options.privacy](node::Node& node, Instant now, node::Node::Done done) {
    if (privacy) {
      return node.publish_private(topic, as_bytes(payload), {privacy->epsilon, privacy->low, privacy->high}, as_node,
                                  retain, done, now);
    }
    node.publish(topic, as_bytes(payload), as_node, retain, std::move(done), now);
  });
}

Result<SubscriptionId> Fleet::subscribe(std::string_view filter, std::function<void(const Message&)> callback,
                                        Subscribe options) {
  if (!callback) return std::unexpected(Error{Code::kInvalidArgument, "a subscription needs a callback"});
  // The last publisher's id as text: most messages in a row are of one.
  struct Hears {
    std::function<void(const Message&)> callback;
    NodeId origin;
    std::string name;
  };
  auto hears = std::make_shared<Hears>(std::move(callback), NodeId{}, NodeId{}.hex());
  const auto on_message = [hears](const mesh::Message& message) {
    if (hears->origin != message.origin) hears->name = (hears->origin = message.origin).hex();
    hears->callback({.topic = message.topic, .payload = as_text(message.payload), .origin = hears->name});
  };
  mesh::SubscribeOptions wants{.deadline = options.deadline, .on_late = std::move(options.on_late)};
  if (options.on_liveliness) {
    wants.on_liveliness = [tell = std::move(options.on_liveliness)](NodeId publisher, bool alive) {
      tell(publisher.hex(), alive);
    };
  }
  return impl_->on_loop([filter = std::string(filter), on_message, wants = std::move(wants)](
                            node::Node& node, Instant now) -> Result<SubscriptionId> {
    const auto id = node.subscribe(filter, on_message, wants, now);
    if (!id) return std::unexpected(told(id.error()));
    return id->value;
  });
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): on_liveliness is a std::function, which frees what it holds

Result<SubscriptionId> Fleet::promise(std::string_view topic, std::chrono::milliseconds deadline,
                                      std::function<void(std::string_view topic)> on_late) {
  return impl_->on_loop([topic = std::string(topic), deadline, on_late = std::move(on_late)](
                            node::Node& node, Instant now) -> Result<SubscriptionId> {
    const auto id = node.promise(topic, deadline, on_late, now);
    if (!id) return std::unexpected(told(id.error()));
    return id->value;
  });
}

void Fleet::unsubscribe(SubscriptionId id) {
  (void)impl_->on_loop([id](node::Node& node, Instant) -> Status {
    node.unsubscribe(mesh::SubscriptionId{id});
    return {};
  });
}

Result<Loan> Fleet::loan(std::size_t bytes) {
  auto memory = impl_->lender.borrow(bytes);
  if (!memory) return std::unexpected(told(memory.error()));
  const auto span = std::as_writable_bytes((*memory)->bytes());
  return Loan(*std::move(memory), span);
}

Status Fleet::publish(std::string_view topic, Loan&& loan, Publish options) {
  if (!loan.memory_) return std::unexpected(Error{Code::kInvalidArgument, "this loan was published already"});
  if (options.retain || options.privacy) {
    return std::unexpected(Error{Code::kInvalidArgument, "a loan is neither retained nor a private number"});
  }
  const auto notice = impl_->lender.keep(loan.memory_);
  if (!notice) return std::unexpected(told(notice.error()));
  const Buffer payload = wire::encode_notice(*notice);
  const Status published = publish(topic, as_text(payload), options);
  if (!published) {
    impl_->lender.take_back(notice->id);
    return published;
  }
  loan.memory_.reset();
  loan.bytes_ = {};
  return {};
}

Result<SubscriptionId> Fleet::subscribe_loans(std::string_view filter, std::function<void(const LoanMessage&)> callback,
                                              SubscribeLoans options) {
  if (!callback) return std::unexpected(Error{Code::kInvalidArgument, "a subscription needs a callback"});
  const auto hears = std::make_shared<HearsLoans>(std::move(callback), std::move(options.on_missed));
  const auto on_message = [hears, impl = impl_.get()](const Message& message) {
    if (!wire::is_notice(as_bytes(message.payload))) return;
    const auto tell = [weak = std::weak_ptr(hears), impl, topic = std::string(message.topic),
                       origin = std::string(message.origin)](sedge::Result<platform::Mapping> got) {
      const auto still = weak.lock();
      if (!still) return;
      if (got) {
        ++impl->loan_stats().heard;
        const auto pages = std::make_shared<const platform::Mapping>(*std::move(got));
        return still->callback({topic, LoanView(pages, std::as_bytes(pages->bytes())), origin});
      }
      ++count_of(impl->loan_stats(), got.error().code);
      if (still->on_missed) still->on_missed({topic, origin, told(got.error())});
    };
    const auto notice = wire::decode_notice(as_bytes(message.payload));
    if (!notice) return tell(std::unexpected(notice.error()));
    impl->loan_client().fetch(*notice, tell);
  };
  return subscribe(filter, on_message, std::move(options.subscription));
}

Result<LoanStats> Fleet::loan_stats() {
  return impl_->on_loop([impl = impl_.get()](node::Node&, Instant) -> Result<LoanStats> { return impl->loan_stats(); });
}

Status Fleet::set(std::string_view path, std::string_view value) {
  return impl_->write(&mesh::StateSync::set, path, value);
}

Status Fleet::set_multi(std::string_view path, std::string_view value) {
  return impl_->write(&mesh::StateSync::set_multi, path, value);
}

Status Fleet::erase(std::string_view path) {
  return impl_->write(
      [path = std::string(path)](mesh::StateSync& state, Instant now) { return state.erase(path, now); });
}

Status Fleet::add(std::string_view path, std::int64_t change) {
  return impl_->write(
      [path = std::string(path), change](mesh::StateSync& state, Instant now) { return state.add(path, change, now); });
}

Status Fleet::insert(std::string_view path, std::string_view element) {
  return impl_->write(&mesh::StateSync::insert, path, element);
}

Status Fleet::remove(std::string_view path, std::string_view element) {
  return impl_->write(&mesh::StateSync::remove, path, element);
}

Status Fleet::insert_2p(std::string_view path, std::string_view element) {
  return impl_->write(&mesh::StateSync::insert_2p, path, element);
}

Status Fleet::remove_2p(std::string_view path, std::string_view element) {
  return impl_->write(&mesh::StateSync::remove_2p, path, element);
}

// Hashed on the caller's thread, and handed over chunk by chunk, so that the loop is never busy with it for long.
Status Fleet::put_tensor(std::string_view path, std::string_view bytes) {
  const auto manifest = mesh::make_manifest(as_bytes(bytes));
  if (!manifest) return std::unexpected(told(manifest.error()));
  struct Begun {
    mesh::UploadId upload;
    std::vector<std::uint32_t> lacking;
  };
  const auto begun =
      impl_->on_loop([value = mesh::encode_manifest(*manifest)](node::Node& node, Instant now) -> Result<Begun> {
        const auto upload = node.tensors().begin(value, node.id(), now);
        if (!upload) return std::unexpected(told(upload.error()));
        return Begun{*upload, node.tensors().lacking(*upload).value()};
      });
  if (!begun) return std::unexpected(begun.error());
  for (const std::uint32_t number : begun->lacking) {
    const Status given = impl_->when_disk_has_room(
        [upload = begun->upload, number, chunk = to_buffer(mesh::chunk_of(as_bytes(bytes), *manifest, number))](
            node::Node& node, Instant now) { return told(node.tensors().give(upload, number, chunk, now)); });
    if (!given) return given;
  }
  return impl_->when_done(
      [path = std::string(path), upload = begun->upload](node::Node& node, Instant now, const node::Node::Done& done) {
        if (const auto put = node.put_tensor(path, upload, done, now); !put) done(put);
      });
}

Result<std::string> Fleet::get_tensor(std::string_view path) {
  const auto version = impl_->on_loop(
      [path = std::string(path)](node::Node& node, Instant) { return told(node.tensors().complete_at(path)); });
  if (!version) return std::unexpected(version.error());
  std::string bytes;
  bytes.reserve(version->manifest.bytes);
  for (std::size_t number = 0; number < version->manifest.chunks.size(); ++number) {
    const auto chunk = impl_->on_loop(
        [path = std::string(path), hash = version->hash, number](node::Node& node, Instant) -> Result<Buffer> {
          const auto found = node.tensors().chunk(path, hash, number);
          if (!found) return std::unexpected(told(found.error()));
          return to_buffer(*found);
        });
    if (!chunk) return std::unexpected(chunk.error());
    bytes += as_text(*chunk);
  }
  return bytes;
}

Status Fleet::append(std::string_view path, std::string_view entry, std::uint32_t keep) {
  return impl_->write([path = std::string(path), entry = to_buffer(as_bytes(entry)), keep](
                          mesh::StateSync& state, Instant now) { return state.append(path, entry, keep, now); });
}

Result<Entry> Fleet::get(std::string_view path) {
  return impl_->on_loop([path = std::string(path)](node::Node& node, Instant) -> Result<Entry> {
    const auto value = node.state().replica().read(path);
    if (!value) return std::unexpected(Error{Code::kNotFound, fmt::format("nothing is written at '{}'", path)});
    return entry_of(*value);
  });
}

Result<WatchId> Fleet::watch(std::string_view filter, OnChange callback) {
  if (!callback) return std::unexpected(Error{Code::kInvalidArgument, "a watch needs a callback"});
  return impl_->on_loop([filter = std::string(filter), callback = shared(std::move(callback))](
                            node::Node& node, Instant) -> Result<WatchId> {
    const auto id = node.watch(filter, true, [callback](const auto& path, const auto& value, NodeId) {
      (*callback)(path, value ? std::optional(entry_of(*value)) : std::nullopt);
    });
    if (!id) return std::unexpected(told(id.error()));
    return id->value;
  });
}

void Fleet::unwatch(WatchId id) {
  (void)impl_->on_loop([id](node::Node& node, Instant) -> Status {
    node.unwatch(node::Node::WatchId{id});
    return {};
  });
}

namespace {

// Waits for the group's answer. The promise goes with the callback: it breaks when the loop ends.
template <class Impl>
Result<Agreed> agree(Impl& impl, wire::AgreedRequest request, std::chrono::milliseconds patience) {
  if (impl.in_callback()) return std::unexpected(Error{Code::kFailedPrecondition, kInCallback});
  auto promise = std::make_shared<std::promise<Result<Agreed>>>();
  auto answer = promise->get_future();
  const Status begun = impl.on_loop(
      [request = std::move(request), patience, promise = std::move(promise)](node::Node& node, Instant now) -> Status {
        node.agree(
            request, patience,
            [promise](const sedge::Result<consensus::Agreed>& given) {
              if (given)
                promise->set_value(Agreed{text_of(given->value), given->version});
              else
                promise->set_value(std::unexpected(told(given.error())));
            },
            now);
        return {};
      });
  if (!begun) return std::unexpected(begun.error());
  try {
    return answer.get();
  } catch (const std::future_error&) {
    return std::unexpected(Error{Code::kUnavailable, "this Fleet was closed before the answer came"});
  }
}

}  // namespace

Result<std::uint64_t> Fleet::set_agreed(std::string_view path, std::string_view value,
                                        std::optional<std::uint64_t> if_version, std::chrono::milliseconds patience) {
  wire::AgreedRequest request{.id = {}, .op = wire::AgreedOp::kSet, .path = std::string(path)};
  request.value = to_buffer(as_bytes(value));
  request.if_version = if_version;
  const auto agreed = agree(*impl_, std::move(request), patience);
  if (!agreed) return std::unexpected(agreed.error());
  return agreed->version;
}

Result<Agreed> Fleet::get_agreed(std::string_view path, std::chrono::milliseconds patience) {
  return agree(*impl_, {.id = {}, .op = wire::AgreedOp::kGet, .path = std::string(path)}, patience);
}

Result<Average> Fleet::average(std::string_view name, double value, std::chrono::milliseconds window) {
  if (impl_->in_callback()) return std::unexpected(Error{Code::kFailedPrecondition, kInCallback});
  auto promise = std::make_shared<std::promise<Result<Average>>>();
  auto answer = promise->get_future();
  const Status begun = impl_->on_loop(
      [name = std::string(name), value, window, promise = std::move(promise)](node::Node& node, Instant now) -> Status {
        const auto done = [promise](const sedge::Result<consensus::Average>& given) {
          if (given)
            promise->set_value(Average{given->mean, given->sum, given->count, given->rounds});
          else
            promise->set_value(std::unexpected(told(given.error())));
        };
        node.average(name, value, window, done, now);
        return {};
      });
  if (!begun) return std::unexpected(begun.error());
  try {
    return answer.get();
  } catch (const std::future_error&) {
    return std::unexpected(Error{Code::kUnavailable, "this Fleet was closed before the answer came"});
  }
}

Result<Leader> Fleet::leader() {
  return impl_->on_loop([](node::Node& node, Instant) -> Result<Leader> {
    const consensus::Lead lead = node.group().lead();
    if (lead.leader.is_zero()) {
      return std::unexpected(Error{Code::kUnavailable, "nobody leads, as far as this node knows: try again in 2 s"});
    }
    const auto member = node.membership().find(lead.leader);
    return Leader{.id = lead.leader.hex(),
                  .name = member ? member->name : "",
                  .term = lead.term.value,
                  .self = lead.leader == node.id()};
  });
}

Result<Answer> Fleet::ask(Question question, OnText on_text) {
  if (impl_->in_callback()) return std::unexpected(Error{Code::kFailedPrecondition, kInCallback});
  const auto promise = std::make_shared<std::promise<Result<Answer>>>();
  auto answer = promise->get_future();
  (void)start(std::move(question), std::move(on_text),
              [promise](const Result<Answer>& given) { promise->set_value(given); });
  return answer.get();
}

Result<TaskId> Fleet::start(Question question, OnText on_text, OnAnswer on_answer) {
  const auto owed = std::make_shared<Owed>(std::move(on_answer));
  const std::string model = question.model;
  auto request = request_of(std::move(question));
  if (!request) {
    owed->tell(std::unexpected(request.error()));
    return std::unexpected(request.error());
  }
  request->spec.asked_local_s = platform::local_seconds();
  return impl_->on_loop([request = *std::move(request), model, on_text = std::move(on_text), owed](
                            node::Node& node, Instant now) -> Result<TaskId> {
    node::RunOptions options;
    options.on_tokens = [on_text](std::span<const env::Token> tokens) {
      std::string text;
      for (const env::Token& token : tokens) text += token.bytes;
      if (on_text && !text.empty()) on_text(text);
    };
    options.on_result = [owed, model, &node](const node::TaskResult& result) {
      owed->tell(answer_of(node, model, result));
    };
    return node.run(request, std::move(options), now).hex();
  });
}

void Fleet::cancel(const TaskId& task) {
  const auto bytes = from_hex(task);
  const auto id = bytes ? id_from_bytes<sedge::TaskId>(*bytes) : std::unexpected(bytes.error());
  if (!id) return;  // no task is called that
  (void)impl_->on_loop([id = *id](node::Node& node, Instant now) -> Status {
    node.cancel(id, now);
    return {};
  });
}

Status Fleet::await_model(std::string_view model, std::chrono::milliseconds patience) {
  if (impl_->in_callback()) return std::unexpected(Error{Code::kFailedPrecondition, kInCallback});
  for (const Instant until = platform::now() + patience;;) {
    const auto there = impl_->on_loop(
        [model = std::string(model)](node::Node& node, Instant) -> Result<bool> { return offered(node, model); });
    if (!there) return std::unexpected(there.error());
    if (*there) return {};
    if (platform::now() >= until) {
      return std::unexpected(Error{Code::kDeadlineExceeded, fmt::format("no node offered model '{}' in time", model)});
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

Result<std::vector<Member>> Fleet::members() {
  return impl_->on_loop([](node::Node& node, Instant) -> Result<std::vector<Member>> {
    std::vector<Member> all;
    for (const mesh::Member& member : node.membership().members()) all.push_back(member_of(node, member));
    return all;
  });
}

}  // namespace sedge::robot
