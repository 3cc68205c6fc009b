// libsedge: a robot's program as a node of the fleet, with the powers of the command line.
//
// A Fleet is a whole node inside your process: it joins, listens, replicates, answers for its models and owns the tasks
// it asks. A client that talks to a `sedge up` over a socket was rejected: it would be a second process to keep alive
// on the robot, and its death would take the robot out of the fleet.
//
//   auto fleet = sedge::robot::Fleet::open({.home = "rover-7", .invitation = text, .name = "rover-7"});
//   if (!fleet) return complain(fleet.error());
//   (void)fleet->subscribe("robot/rover-7/orders", [](const sedge::robot::Message& order) { obey(order.payload); });
//   (void)fleet->publish("robot/rover-7/telemetry", "battery 81");
//   auto answer = fleet->ask({.model = "heron", .prompt = "What now?", .deadline = std::chrono::milliseconds(800)});
//
// Threads: every call may come from any thread. The node runs on one thread of the library, the loop; callbacks run
// there, one at a time, and everything else the node does waits for them: keep them short, hand long work to a thread
// of yours. A callback may call everything but what waits for the fleet (ask, await_model: FailedPrecondition), and
// must not destroy its Fleet. A write made in a callback returns when it is accepted, elsewhere when it is durable.
// Payloads and values are bytes; texts are UTF-8. Nothing here throws.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sedge/loan.h"

namespace sedge::robot {

// Each with the caller's next move. Numbers as gRPC's.
enum class Code {
  kCancelled = 1,           // you gave up: nothing more
  kUnknown = 2,             // report it
  kInvalidArgument = 3,     // correct the request, do not retry
  kDeadlineExceeded = 4,    // too late: use what you have
  kNotFound = 5,            // name another thing
  kAlreadyExists = 6,       // use what is there
  kPermissionDenied = 7,    // a grant is missing: ask who invited this node
  kResourceExhausted = 8,   // full: retry later
  kFailedPrecondition = 9,  // do first what the message names
  kAborted = 10,            // lost a race: start again
  kOutOfRange = 11,         // past an end
  kUnimplemented = 12,      // this version cannot
  kInternal = 13,           // our bug: report it
  kUnavailable = 14,        // nobody there now, or this Fleet is closed
  kDataLoss = 15,           // damaged bytes
  kUnauthenticated = 16,    // not who it says
};

struct Error {
  Code code = Code::kUnknown;
  std::string message;  // for people: names the thing and the way out
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

struct Options {
  std::string home{};                 // folder of this node's identity and state, made when missing
  std::string invitation{};           // text of `sedge fleet invite`; only used while the home belongs to no fleet
  std::string name{};                 // wanted when joining; empty: the invitation's, else the host's
  std::string listen = "0.0.0.0:0";   // HOST:PORT for other nodes; port 0: any free one
  std::vector<std::string> seeds{};   // HOST:PORT of nodes to dial, besides the invitation's and those known before
  std::vector<std::string> models{};  // GGUF files to load and offer to the fleet
  unsigned engine_threads = 0;        // 0: all cores
  bool beacons = true;                // find and be found by multicast
  std::string overlay = "partial";    // which links this node wants, as `sedge up --overlay`: "star", "nearest:6"
  std::string zone{};                 // of a hierarchy; empty: where round trips place it
  std::optional<std::uint16_t> gateway_rank{};  // 0 to 15, where the overlay has gateways; not set: by cores
  std::size_t loans_kept = 16;                  // published ones, for who comes to read them
  std::uint64_t loan_bytes_kept = 128u << 20;   // of them together, and so of one; as much of what is still read
  double privacy_budget = 10;  // epsilon that all private messages of one topic may spend together, for ever
  std::chrono::milliseconds patience{30'000};          // to join
  std::function<void(const std::string& line)> log{};  // what a person may want to know; may come from any thread
};

struct Message {
  std::string_view topic;  // both valid within the callback
  std::string_view payload;
  std::string_view origin;  // id of the node that published it
};

// On every link the more urgent goes first, whatever waits there already.
enum class Urgency { kUrgent, kNormal, kLow, kBulk, kIdle };

// Of a message that is a number: it is clamped to the bounds and given noise, so that what is heard is nearly as
// likely, by a factor of e^epsilon, whatever the number was. Smaller hides more. The bounds must not depend on the
// number.
struct Private {
  double epsilon = 0;  // 0.001 to 100; taken from the topic's budget, durably
  double low = 0;
  double high = 0;
};

struct Publish {
  bool reliable = true;  // false: may be lost, never waits behind others
  // A reliable message that must reach the slowest too: where a link does not keep up, ResourceExhausted until it does,
  // whoever else could take more. Without it a node whose links carry less than a quarter of others' is left behind: it
  // gets the last 10 s (8 MiB) as it can, and loses what is older.
  bool wait_for_all = false;
  bool retain = false;      // the topic's last value: durable, and given at once to who subscribes later
  std::uint32_t depth = 1;  // of a retained topic: how many of its last values, the oldest first
  Urgency urgency = Urgency::kNormal;
  std::optional<std::chrono::milliseconds> lifespan = std::nullopt;  // nobody gets it later: an order that is over
  // Delivered nowhere before the causal messages that this node's subscriptions had been given, nor before its own
  // earlier ones: an answer never before its question. Reliable and not retained; what is lost is waited for at most
  // 10 s.
  bool causal = false;
  std::optional<Private> privacy = std::nullopt;  // waits for the disk. ResourceExhausted: the topic's budget is spent
};

// What a subscription tells besides its messages, by callbacks like theirs.
struct Subscribe {
  // A topic that was heard is expected again within this, one without wildcards from the start; if it is not, on_late
  // is called, once a period.
  std::optional<std::chrono::milliseconds> deadline = std::nullopt;
  std::function<void(std::string_view topic)> on_late{};
  // A publisher (its node's id) was heard for the first time, or has died or left the fleet.
  std::function<void(std::string_view publisher, bool alive)> on_liveliness{};
};

struct SubscribeLoans {
  std::function<void(const MissedLoan&)> on_missed{};
  Subscribe subscription{};
};

// One replicated value. It is the same everywhere once the fleet has met; concurrent writes merge by its kind.
struct Entry {
  enum class Kind { kRegister, kMulti, kCounter, kSet, kLog, k2PSet };
  Kind kind = Kind::kRegister;      // register: the last write wins. multi: concurrent ones stand side by side
  std::vector<std::string> values;  // register: one. multi, set: all. log: the last ones, oldest first
  std::int64_t total = 0;           // counter
  std::string writer;               // id of the newest write's node
};

// One value that the whole fleet agrees on, whoever asks where: written and read by a majority of the fleet's voters.
struct Agreed {
  std::string value;
  std::uint64_t version = 0;  // grows with every write anywhere; 0: there is no value
};

// Of one value from each node that took part and lived.
struct Average {
  double mean = 0;
  double sum = 0;
  std::uint64_t count = 0;
  std::uint32_t rounds = 0;  // above 1: the fleet was in motion, and it was tried again
};

struct Leader {
  std::string id;
  std::string name;
  std::uint64_t term = 0;  // grows with each election: a fencing token for what a leader orders
  bool self = false;
};

struct Member {
  std::string id;
  std::string name;
  std::string state;  // alive, suspect, dead, left
  bool self = false;
  bool linked = false;  // to this node, directly
  std::chrono::nanoseconds round_trip{};
  std::vector<std::string> models;
};

struct Question {
  std::string model;
  std::string prompt;
  bool chat = true;  // through the model's chat template; false: the raw text goes on
  std::uint32_t tokens_max = 256;
  std::optional<std::chrono::milliseconds> deadline;  // from now; none: whenever
  std::optional<std::string> fallback;                // the answer when the model's cannot come in time
  bool fallback_last_good = false;                    // rather the last good answer to this question, if there was one
  double temperature = 0;                             // 0: the likeliest token, always
  double top_p = 1;
  std::uint64_t seed = 0;
  std::vector<std::string> stops;
  std::vector<std::string> publish;  // topics: the answer or fallback is published there, heard once for this task
};

struct Answer {
  std::string text;
  bool fallback = false;      // not the model's words; `reason` says why
  bool deadline_met = false;  // by the model, never by a fallback
  std::string reason;
  std::string served_by;       // name of the node that ran the model
  std::uint32_t attempts = 0;  // above 1: a node refused or died, and another went on
  std::uint32_t tokens = 0;
  std::chrono::nanoseconds first_token{};
  std::chrono::nanoseconds total{};
};

using SubscriptionId = std::uint64_t;
using WatchId = std::uint64_t;
using TaskId = std::string;

class Fleet {
 public:
  // Joins if it must, opens the state, loads the models, listens, and starts the loop. Blocks for as long.
  // Errors: InvalidArgument, FailedPrecondition (no fleet and no invitation; the home is in use), Unavailable (the
  // issuer does not answer), PermissionDenied (the invitation is spent), DataLoss (a damaged home or model).
  static Result<Fleet> open(Options options);
  Fleet(Fleet&&) noexcept;
  Fleet& operator=(Fleet&&) noexcept;
  ~Fleet();  // closes

  std::string id() const;
  std::string name() const;
  std::string address() const;  // where it listens

  // Topics are levels joined by '/'; in filters '+' is one level and a final '#' all that follow.
  // publish() does not wait: what it took leaves at the loop's next turn, a thread's messages of one urgency in their
  // order. A retained one returns when it is durable.
  // Errors: InvalidArgument; PermissionDenied (publish); ResourceExhausted (publish): a neighbour does not keep up,
  // nothing was taken, try again a little later. A message is at most 60 KiB.
  Status publish(std::string_view topic, std::string_view payload, Publish options = {});
  Result<SubscriptionId> subscribe(std::string_view filter, std::function<void(const Message&)> callback,
                                   Subscribe options = {});
  // The publisher's own deadline: on_late says that this node did not publish on the topic in time, once a period.
  Result<SubscriptionId> promise(std::string_view topic, std::chrono::milliseconds deadline,
                                 std::function<void(std::string_view topic)> on_late);
  void unsubscribe(SubscriptionId id);  // or a promise

  // Large payloads for processes of this host, without a copy (sedge/loan.h). Errors: InvalidArgument: 0 bytes, or more
  // than loan_bytes_kept; ResourceExhausted: no shared memory; Unavailable: this system cannot lend any.
  Result<Loan> loan(std::size_t bytes);
  // As publish(), with its errors; neither retained nor private. After an error the loan is as it was. An ordinary
  // subscription hears the message that names the loan (docs/formats/loan.md).
  Status publish(std::string_view topic, Loan&& loan, Publish options = {});
  // Hears the loans on these topics and nothing else there. Those of one publisher come in their order.
  Result<SubscriptionId> subscribe_loans(std::string_view filter, std::function<void(const LoanMessage&)> callback,
                                         SubscribeLoans options = {});
  Result<LoanStats> loan_stats();

  // Errors: InvalidArgument; PermissionDenied; FailedPrecondition: another kind of entry lives there;
  // OutOfRange: a counter's end; ResourceExhausted: too many writes wait for the disk.
  Status set(std::string_view path, std::string_view value);
  Status set_multi(std::string_view path, std::string_view value);
  // What is at a path, or at all paths that a filter chooses ("robot/7/#"): as it is seen here, so that what another
  // node adds meanwhile stays. Counters stay too. NotFound: a filter that chooses nothing. FailedPrecondition: counters
  // only.
  Status erase(std::string_view path);
  Status add(std::string_view path, std::int64_t change);
  Status insert(std::string_view path, std::string_view element);
  Status remove(std::string_view path, std::string_view element);
  // A two-phase set: who is removed is out for good, whoever inserts it again. FailedPrecondition: it was removed.
  Status insert_2p(std::string_view path, std::string_view element);
  Status remove_2p(std::string_view path, std::string_view element);
  // To a log of the `keep` newest entries, at most 1024. FailedPrecondition: the log there keeps another number.
  Status append(std::string_view path, std::string_view entry, std::uint32_t keep);
  // NotFound: nothing is written there.
  Result<Entry> get(std::string_view path);
  // Called for what is there already, then for every change; no entry: it was erased.
  using OnChange = std::function<void(std::string_view path, const std::optional<Entry>& entry)>;
  Result<WatchId> watch(std::string_view filter, OnChange callback);
  void unwatch(WatchId id);

  // Model parameters: a register of any size (up to 1 GiB; the nodes' --tensor-mib bounds what they hold together). The
  // last writer wins; of a new version only the parts that changed travel, behind everything more urgent. Returns when
  // it is durable here. InvalidArgument: never under sys/; ResourceExhausted: no room, or the disk does not keep up;
  // Aborted: another write took the path meanwhile. Large ones take a while, and more than 8 MiB wait for the disk: not
  // in a callback.
  Status put_tensor(std::string_view path, std::string_view bytes);
  // The newest version that is whole here. NotFound: nothing, or no tensor, is written there; Unavailable: its first
  // version is still on its way, or there is no room for it; a watch of the path is called when it has come.
  Result<std::string> get_tensor(std::string_view path);

  // Agreed values: linearizable, so also slower, and Unavailable where no majority of the voters can be reached within
  // `patience` (a write may then have been carried out, or may yet be). Not in a callback. `if_version`: only where the
  // value there has it; 0: only where there is none; else FailedPrecondition. Returns the new version.
  Result<std::uint64_t> set_agreed(std::string_view path, std::string_view value,
                                   std::optional<std::uint64_t> if_version = {},
                                   std::chrono::milliseconds patience = std::chrono::seconds(10));
  Result<Agreed> get_agreed(std::string_view path, std::chrono::milliseconds patience = std::chrono::seconds(10));
  // Who leads the fleet, as this node knows. Unavailable: nobody, or it has not heard.
  Result<Leader> leader();

  // The mean of one value from each node that calls this with the same name, a topic's, within about window / 2: by
  // gossip, with no leader and no majority, so that a part of the fleet that is cut off gets its own. Waits for the
  // window, at most three times. Not in a callback. Errors: InvalidArgument: no finite number, or a window outside 1 s
  // to 10 min; PermissionDenied: no grant pub:NAME; AlreadyExists: this node takes part already; ResourceExhausted: too
  // many averagings; Unavailable: it did not settle.
  Result<Average> average(std::string_view name, double value,
                          std::chrono::milliseconds window = std::chrono::seconds(5));

  // Asks the fleet's fastest fitting node, and goes on elsewhere when that one dies. `on_text` gets the text as it
  // comes. Errors: NotFound: no node offers the model; ResourceExhausted: refused, the message says why and when to
  // retry; DeadlineExceeded; Unavailable: it failed on the way; Cancelled. With a fallback the first four are answers.
  // InvalidArgument: no engine could run it, or a topic is malformed; PermissionDenied: this node may not.
  using OnText = std::function<void(std::string_view text)>;
  Result<Answer> ask(Question question, OnText on_text = {});
  // The same without waiting: `on_answer` is called exactly once, possibly within this call. Returns the task's id.
  using OnAnswer = std::function<void(const Result<Answer>&)>;
  Result<TaskId> start(Question question, OnText on_text, OnAnswer on_answer);
  void cancel(const TaskId& task);
  // Waits until a node that we can reach offers it. DeadlineExceeded: none did.
  Status await_model(std::string_view model, std::chrono::milliseconds patience);

  Result<std::vector<Member>> members();

  // Tells the fleet, ends open tasks, makes all writes durable, ends the loop. Errors: why the loop had ended before,
  // such as a full disk. In a callback it only begins; the destructor waits.
  Status close();

 private:
  class Impl;
  explicit Fleet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sedge::robot
