// TaskOwner and TaskWorker against each other: every message encoded, carried for a millisecond, decoded. The compute
// is a model that costs virtual time: its next token is a hash of the prompt and all tokens before, so that a text that
// was resumed wrongly, anywhere, differs from there on.
#include <array>
#include <memory>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/prng.h"
#include "node/task_owner.h"
#include "node/task_worker.h"

namespace sedge::node {
namespace {

constexpr Duration kLatency = 1ms;
constexpr std::int32_t kFlush = -1;

NodeId node_number(std::size_t number) {
  NodeId id;
  id.bytes[0] = static_cast<std::uint8_t>(number);
  return id;
}

TaskId task_number(std::uint8_t number) {
  TaskId id;
  id.bytes[0] = number;
  return id;
}

// Everything that happens later, in order of time, then of asking.
class Timeline {
 public:
  using Event = std::function<void()>;
  void after(Duration delay, Event event) { events_.emplace(std::pair(now + delay, ++count_), std::move(event)); }
  Instant next() const { return events_.empty() ? kNever : events_.begin()->first.first; }
  void run_due() {
    while (!events_.empty() && events_.begin()->first.first <= now) {
      const auto event = events_.extract(events_.begin());
      event.mapped()();
    }
  }
  Instant now{};

 private:
  std::map<std::pair<Instant, std::uint64_t>, Event> events_;
  std::uint64_t count_ = 0;
};

struct Model {
  Duration step = 10ms;
  std::size_t length = 20;      // tokens until it stops by itself
  bool flush = false;           // its end brings text that was held back
  std::size_t stuck_at = 1000;  // makes so many tokens in all, then none
  std::optional<Error> error;   // instead of an answer
};

std::int32_t next_token(const std::string& prompt, const std::vector<std::int32_t>& before) {
  std::uint64_t state = prompt.size();
  for (const char c : prompt) state = splitmix64(state) ^ static_cast<std::uint8_t>(c);
  for (const std::int32_t token : before) state = splitmix64(state) ^ static_cast<std::uint32_t>(token);
  return static_cast<std::int32_t>(splitmix64(state) % 1000);
}

std::string word(std::int32_t token) { return std::to_string(token) + " "; }

// Nearly as long as a vector may be.
std::string vector_of(const std::string& text) { return std::string(60'000, text[0]); }

std::string undisturbed(const std::string& prompt, std::size_t length) {
  std::vector<std::int32_t> tokens;
  std::string text;
  while (tokens.size() < length) text += word(tokens.emplace_back(next_token(prompt, tokens)));
  return text;
}

class FakeCompute final : public env::Compute {
 public:
  FakeCompute(Model model, Timeline& time) : model_(std::move(model)), time_(time) {}
  std::vector<env::ModelOffer> offers() const override {
    return {{"m", "hash", "class", 1, 4096, 1e6, 1e9 / static_cast<double>(model_.step.count())}};
  }
  std::uint32_t workers() const override { return 1; }
  void start(TaskId task, env::JobSpec spec) override {
    EXPECT_FALSE(jobs.contains(task)) << "started twice without a release";
    for (const std::int32_t token : spec.resume) EXPECT_GE(token, 0) << "resumed with what is no token";
    auto job = std::make_shared<Job>();
    asked.push_back(spec.asked_local_s);
    job->tokens = spec.resume;
    job->spec = std::move(spec);
    jobs[task] = std::move(job);
  }
  void run(TaskId task, std::uint32_t steps, env::Urgency /*urgency*/) override {
    ASSERT_TRUE(jobs.contains(task));
    step(task, jobs.at(task), steps);
  }
  void release(TaskId task) override {
    jobs.at(task)->released = true;
    jobs.erase(task);
  }

  struct Job {
    env::JobSpec spec;
    std::vector<std::int32_t> tokens;
    bool released = false;
  };
  std::map<TaskId, std::shared_ptr<Job>> jobs;
  std::size_t made = 0;
  std::vector<std::optional<std::int64_t>> asked;  // of each start
  std::function<void(const env::SliceReport&)> report;

 private:
  void step(TaskId task, const std::shared_ptr<Job>& job, std::uint32_t steps) {
    if (made >= model_.stuck_at) return;
    time_.after(model_.step, [this, task, job, steps] {
      if (job->released) return;
      env::SliceReport slice{
          .task = task, .tokens = {}, .error = {}, .prompt_tokens = 7, .prefilled = 7, .busy = model_.step};
      if (model_.error) {
        slice.end = env::JobEnd::kFailed;
        slice.error = *model_.error;
      } else if (job->tokens.size() < std::min<std::size_t>(model_.length, job->spec.tokens_max)) {
        if (!job->spec.texts.empty()) return embed(task, job, steps, std::move(slice));
        const std::int32_t token = next_token(job->spec.prompt, job->tokens);
        job->tokens.push_back(token);
        slice.tokens.push_back({token, word(token)});
        ++made;
      } else {
        slice.end = job->tokens.size() < job->spec.tokens_max ? env::JobEnd::kStop : env::JobEnd::kLength;
        if (model_.flush) slice.tokens.push_back({kFlush, "END"});
      }
      go_on(task, job, steps, slice);
    });
  }
  // Twenty vectors a step: more than a frame holds.
  void embed(TaskId task, const std::shared_ptr<Job>& job, std::uint32_t steps, env::SliceReport slice) {
    const auto& texts = job->spec.texts;
    for (int i = 0; i < 20 && job->tokens.size() < texts.size(); ++i, ++made) {
      const std::size_t place = job->tokens.size();
      job->tokens.push_back(static_cast<std::int32_t>(place));
      slice.tokens.push_back({job->tokens.back(), vector_of(texts[place])});
    }
    if (job->tokens.size() == texts.size()) slice.end = env::JobEnd::kStop;
    go_on(task, job, steps, slice);
  }
  void go_on(TaskId task, const std::shared_ptr<Job>& job, std::uint32_t steps, env::SliceReport& slice) {
    slice.more = steps > 1 && slice.end == env::JobEnd::kNone;
    if (slice.more) step(task, job, steps - 1);
    report(slice);
  }

  Model model_;
  Timeline& time_;
};

// Node 0 owns the tasks, nodes 1.. serve them, the smaller number the more gladly.
class Nodes {
 public:
  struct Server {
    Server(const Model& model, Timeline& time) : compute(model, time), worker({}, compute) {}
    FakeCompute compute;
    TaskWorker worker;
    bool alive = true;
    bool mute = false;  // what it says is held back
    std::vector<std::function<void()>> held;
    std::optional<wire::MessageType> swallowed;  // a kind of message that never arrives
  };

  explicit Nodes(const std::vector<Model>& models, TaskOwnerOptions options = {}) : owner(with_self(options)) {
    for (const Model& model : models) {
      servers.push_back(std::make_unique<Server>(model, time));
      Server& server = *servers.back();
      server.compute.report = [this, &server](const env::SliceReport& slice) {
        if (server.alive) server.worker.on_slice(slice, time.now);
      };
      show(servers.size());
    }
  }

  Server& server(std::size_t number) { return *servers.at(number - 1); }

  // Makes the server known to the owner.
  void show(std::size_t number) {
    place::NodeView& view = owner.nodes()[node_number(number)];
    view.offers = server(number).compute.offers();
    view.linked = true;
    view.round_trip = static_cast<std::int64_t>(number) * kLatency;
  }

  void kill(std::size_t number) {
    server(number).alive = false;
    time.after(kLatency, [this, number] { owner.on_node_lost(node_number(number), time.now); });
  }

  void unmute(std::size_t number) {
    server(number).mute = false;
    for (const auto& deliver : std::exchange(server(number).held, {})) deliver();
  }

  void ask(TaskRequest request, OnTokens on_tokens = {}, bool manual_credit = false) {
    auto listen = [this, inner = std::move(on_tokens)](std::span<const env::Token> tokens) {
      for (const env::Token& token : tokens) streamed += token.bytes;
      pieces += tokens.size();
      if (inner) inner(tokens);
    };
    owner.submit(
        std::move(request), std::move(listen),
        [this](const TaskResult& end) {
          EXPECT_FALSE(result) << "told twice";
          result = end;
        },
        manual_credit, time.now);
  }

  // Until the condition holds; false when it does not within the limit.
  template <class Condition>
  bool run_until(Condition condition, Duration limit) {
    const Instant end = time.now + limit;
    for (;;) {
      carry();
      if (condition()) return true;
      Instant next = std::min(time.next(), owner.next_deadline());
      for (const auto& each : servers) {
        if (each->alive) next = std::min(next, each->worker.next_deadline());
      }
      if (next > end) return time.now = end, false;
      time.now = std::max(time.now, next);
      time.run_due();
      owner.on_timer(time.now);
      for (const auto& each : servers) {
        if (each->alive) each->worker.on_timer(time.now);
      }
    }
  }
  void run(Duration duration) {
    (void)run_until([] { return false; }, duration);
  }
  bool ends(Duration limit = 10s) {
    return run_until([this] { return result.has_value(); }, limit);
  }

  struct Assigned {
    Instant at;
    std::size_t server;
    wire::TaskAssign message;
  };

  Timeline time;
  TaskOwner owner;
  std::vector<std::unique_ptr<Server>> servers;
  std::vector<Assigned> assigned;
  std::map<std::size_t, Instant> heard;  // the owner, from each server, last
  std::optional<TaskResult> result;
  std::string streamed;
  std::size_t pieces = 0;

 private:
  static TaskOwnerOptions with_self(TaskOwnerOptions options) {
    options.self = node_number(0);
    return options;
  }

  void carry() {
    env::Outbox out;
    owner.drain(out);
    for (env::Send& send : out.sends) to_server(send.to.bytes[0], std::move(send.frame));
    for (std::size_t number = 1; number <= servers.size(); ++number) {
      env::Outbox answers;
      server(number).worker.drain(answers);
      if (!server(number).alive) continue;
      for (env::Send& send : answers.sends) to_owner(number, std::move(send.frame));
    }
  }

  void to_server(std::size_t number, Buffer frame) {
    const auto opened = wire::open_frame(frame).value();
    if (opened.type == wire::MessageType::kTaskAssign) {
      assigned.push_back({time.now, number, wire::decode<wire::TaskAssign>(opened.body).value()});
    }
    time.after(kLatency, [this, number, frame = std::move(frame)] {
      const auto [type, body] = wire::open_frame(frame).value();
      Server& to = server(number);
      if (!to.alive) return;
      const NodeId from = node_number(0);
      if (type == wire::MessageType::kTaskAssign)
        to.worker.on_assign(from, *wire::decode<wire::TaskAssign>(body), time.now);
      if (type == wire::MessageType::kTaskCancel)
        to.worker.on_cancel(from, *wire::decode<wire::TaskCancel>(body), time.now);
      if (type == wire::MessageType::kTaskCredit)
        to.worker.on_credit(from, *wire::decode<wire::TaskCredit>(body), time.now);
    });
  }

  void to_owner(std::size_t number, Buffer frame) {
    EXPECT_LE(frame.size(), env::kFrameBytesMax);
    const auto deliver = [this, number, frame = std::move(frame)] {
      const auto [type, body] = wire::open_frame(frame).value();
      if (server(number).swallowed == type) return;
      const NodeId from = node_number(number);
      heard[number] = time.now;
      if (type == wire::MessageType::kTaskAnswer)
        owner.on_answer(from, *wire::decode<wire::TaskAnswer>(body), time.now);
      if (type == wire::MessageType::kTaskTokens)
        owner.on_tokens(from, *wire::decode<wire::TaskTokens>(body), time.now);
      if (type == wire::MessageType::kTaskDone) owner.on_done(from, *wire::decode<wire::TaskDone>(body), time.now);
    };
    if (server(number).mute)
      server(number).held.push_back(deliver);
    else
      time.after(kLatency, deliver);
  }
};

TaskRequest question(std::uint32_t tokens_max = 100) {
  TaskRequest request;
  request.id = task_number(1);
  request.spec.model = "m";
  request.spec.prompt = "where is the field?";
  request.spec.tokens_max = tokens_max;
  return request;
}

std::string undisturbed(std::size_t length) { return undisturbed(question().spec.prompt, length); }

TEST(Task, is_served_by_another_node) {
  Nodes nodes({Model{}});
  TaskRequest request = question();
  request.deadline = 5s;
  nodes.ask(std::move(request));
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->outcome, Outcome::kAnswered);
  EXPECT_EQ(nodes.result->text, undisturbed(20));
  EXPECT_EQ(nodes.streamed, nodes.result->text);
  EXPECT_EQ(nodes.result->tokens.size(), 20u);
  EXPECT_TRUE(nodes.result->stopped);
  EXPECT_TRUE(nodes.result->deadline_met);
  EXPECT_EQ(nodes.result->served_by, node_number(1));
  EXPECT_EQ(nodes.result->prompt_tokens, 7u);
  EXPECT_EQ(nodes.result->attempts, 1u);
  EXPECT_EQ(nodes.result->first_token, 10ms + 2 * kLatency);
  EXPECT_TRUE(nodes.server(1).compute.jobs.empty());
  EXPECT_EQ(nodes.owner.open(), 0u);
}

TEST(Task, says_the_same_date_to_every_node_that_it_goes_to) {
  Model broken;
  broken.error = Error{Code::kInternal, "out of luck"};
  Nodes nodes({broken, Model{}});
  TaskRequest request = question();
  request.spec.asked_local_s = 1'772'701'622;
  nodes.ask(std::move(request));
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->attempts, 2u);
  EXPECT_EQ(nodes.server(1).compute.asked, std::vector<std::optional<std::int64_t>>{1'772'701'622});
  EXPECT_EQ(nodes.server(2).compute.asked, nodes.server(1).compute.asked);
}

TEST(Task, ends_by_length_at_the_most_tokens_it_asked_for) {
  Nodes nodes({Model{}});
  nodes.ask(question(5));
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->text, undisturbed(5));
  EXPECT_FALSE(nodes.result->stopped);
}

TEST(Task, a_refusal_passes_it_to_the_next_node) {
  Nodes nodes({Model{.step = 20ms}, Model{.step = 2ms}});
  nodes.owner.nodes()[node_number(1)].offers[0].decode_tok_s = 1e6;  // its view is old: it promises what it cannot
  TaskRequest request = question(20);
  request.deadline = 200ms;
  nodes.ask(std::move(request));
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->outcome, Outcome::kAnswered);
  EXPECT_TRUE(nodes.result->deadline_met);
  EXPECT_EQ(nodes.result->served_by, node_number(2));
  EXPECT_EQ(nodes.result->attempts, 2u);
  EXPECT_TRUE(nodes.server(1).compute.jobs.empty());
}

TEST(Task, refused_by_all_is_told_at_once_with_the_reason) {
  Nodes nodes({Model{.step = 20ms}, Model{.step = 20ms}});
  TaskRequest request = question(20);
  request.deadline = 200ms;
  nodes.ask(std::move(request));
  ASSERT_TRUE(nodes.ends(50ms));
  EXPECT_EQ(nodes.result->outcome, Outcome::kRefused);
  EXPECT_NE(nodes.result->reason.find("too late"), std::string::npos) << nodes.result->reason;
}

TEST(Task, what_no_engine_could_run_ends_at_once_and_what_one_could_not_goes_to_the_next) {
  Model wrong, broken;
  wrong.error = Error{Code::kInvalidArgument, "the prompt does not fit the context"};
  broken.error = Error{Code::kInternal, "out of luck"};
  Nodes refused({wrong, Model{}});
  refused.ask(question());
  ASSERT_TRUE(refused.ends());
  EXPECT_EQ(refused.result->outcome, Outcome::kFailed);
  EXPECT_EQ(refused.result->code, Code::kInvalidArgument);
  EXPECT_EQ(refused.result->reason, "the prompt does not fit the context");
  EXPECT_EQ(refused.result->attempts, 1u);
  Nodes moved({broken, Model{}});
  moved.ask(question());
  ASSERT_TRUE(moved.ends());
  EXPECT_EQ(moved.result->outcome, Outcome::kAnswered);
  EXPECT_EQ(moved.result->attempts, 2u);
}

TEST(Task, a_model_that_nobody_has_is_refused_by_name) {
  Nodes nodes({Model{}});
  TaskRequest request = question();
  request.spec.model = "nightjar";
  nodes.ask(std::move(request));
  ASSERT_TRUE(nodes.result);
  EXPECT_EQ(nodes.result->outcome, Outcome::kRefused);
  EXPECT_NE(nodes.result->reason.find("nightjar"), std::string::npos);
}

TEST(Task, goes_on_elsewhere_with_the_same_text_when_its_server_dies) {
  Nodes nodes({Model{}, Model{}});
  nodes.ask(question());
  ASSERT_TRUE(nodes.run_until([&] { return nodes.pieces >= 7; }, 1s));
  nodes.kill(1);
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->outcome, Outcome::kAnswered);
  EXPECT_EQ(nodes.result->text, undisturbed(20));
  EXPECT_EQ(nodes.streamed, undisturbed(20));
  EXPECT_EQ(nodes.pieces, 20u);
  EXPECT_EQ(nodes.result->attempts, 2u);
  ASSERT_EQ(nodes.assigned.size(), 2u);
  EXPECT_EQ(nodes.assigned[1].message.resume.size(), 7u);
  EXPECT_EQ(nodes.server(2).compute.made, 13u);
}

TaskRequest texts_to_embed(std::size_t count) {
  TaskRequest request = question(static_cast<std::uint32_t>(count));
  request.spec.prompt.clear();
  for (std::size_t i = 0; i < count; ++i) request.spec.texts.emplace_back(1, static_cast<char>('a' + i % 26));
  return request;
}

std::string vectors(std::size_t count) {
  std::string all;
  for (const std::string& text : texts_to_embed(count).spec.texts) all += vector_of(text);
  return all;
}

TEST(Task, vectors_of_texts_go_on_elsewhere_after_those_that_are_there) {
  Nodes nodes({Model{.length = 100}, Model{.length = 100}});
  nodes.ask(texts_to_embed(40));
  ASSERT_TRUE(nodes.run_until([&] { return nodes.pieces >= 20; }, 1s));
  nodes.kill(1);
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->outcome, Outcome::kAnswered);
  EXPECT_TRUE(nodes.result->text == vectors(40));
  EXPECT_EQ(nodes.pieces, 40u);
  EXPECT_EQ(nodes.assigned.at(1).message.resume.size(), 20u);
}

// A reader that takes nothing for a while: then all that waited comes at once.
TEST(Task, vectors_that_waited_for_credit_come_in_frames_that_fit) {
  Nodes nodes({Model{.length = 100}}, {.credit = 1});
  nodes.ask(texts_to_embed(40), {}, true);
  nodes.run(1s);
  EXPECT_EQ(nodes.pieces, 1u);
  nodes.owner.consumed(task_number(1), 64);
  ASSERT_TRUE(nodes.ends());
  EXPECT_TRUE(nodes.result->text == vectors(40));
}

TEST(Task, goes_on_only_where_the_same_model_gives_the_same_text) {
  Nodes nodes({Model{}, Model{}, Model{}});
  nodes.owner.nodes()[node_number(2)].offers[0].numeric_class = "another";
  nodes.ask(question());
  ASSERT_TRUE(nodes.run_until([&] { return nodes.pieces >= 7; }, 1s));
  nodes.kill(1);
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->served_by, node_number(3));
  EXPECT_EQ(nodes.streamed, undisturbed(20));
}

TEST(Task, silence_moves_it_after_four_steps_or_the_least_gap_and_late_tokens_are_ignored) {
  for (const Duration step : {10ms, 50ms}) {
    const Duration gap = std::max(4 * step, Duration(100ms));
    Nodes nodes({Model{.step = step}, Model{.step = step}});
    nodes.ask(question());
    ASSERT_TRUE(nodes.run_until([&] { return nodes.pieces >= 5; }, 2s));
    nodes.server(1).mute = true;
    ASSERT_TRUE(nodes.run_until([&] { return nodes.assigned.size() == 2; }, 2s));
    EXPECT_EQ(nodes.assigned[1].at, nodes.heard[1] + gap);
    nodes.run(step + 5ms);
    EXPECT_EQ(nodes.server(1).worker.tasks(), 0u) << "it still lives, and was told to stop";
    EXPECT_GT(nodes.server(1).compute.made, 5u);
    nodes.unmute(1);  // now its tokens come, late; and others that it never had
    const auto first = static_cast<std::uint32_t>(nodes.pieces);
    const wire::TaskTokens wrong{.task = task_number(1), .attempt = 1, .first = first, .tokens = {{999, "late"}}};
    nodes.owner.on_tokens(node_number(1), wrong, nodes.time.now);
    nodes.owner.on_tokens(node_number(2), wrong, nodes.time.now);
    nodes.owner.on_done(node_number(1), {.task = task_number(1), .attempt = 1}, nodes.time.now);
    nodes.owner.on_done(node_number(1), {.task = task_number(1), .attempt = 2}, nodes.time.now);
    EXPECT_FALSE(nodes.result);
    ASSERT_TRUE(nodes.ends());
    EXPECT_EQ(nodes.result->outcome, Outcome::kAnswered);
    EXPECT_EQ(nodes.streamed, undisturbed(20));
    EXPECT_EQ(nodes.pieces, 20u);
    EXPECT_EQ(nodes.result->served_by, node_number(2));
  }
}

// A board that is suspended or has no core to spare: its timer comes before what waits to be read.
TEST(Task, an_owner_that_stood_still_listens_before_it_calls_anybody_silent) {
  Nodes nodes({Model{}, Model{}});
  nodes.ask(question());
  ASSERT_TRUE(nodes.run_until([&] { return nodes.pieces >= 5; }, 2s));
  nodes.time.now += 3s;
  nodes.owner.on_timer(nodes.time.now);
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.assigned.size(), 1u);
  EXPECT_EQ(nodes.streamed, undisturbed(20));
}

TEST(Task, a_long_silence_of_the_engine_is_no_silence_of_the_node) {
  Nodes nodes({Model{.step = 10ms, .stuck_at = 3}});
  nodes.ask(question());
  nodes.run(3s);  // the engine says nothing, the node does
  EXPECT_FALSE(nodes.result);
  EXPECT_EQ(nodes.assigned.size(), 1u);
}

TEST(Task, a_passed_deadline_gives_the_fallback_and_says_so) {
  Nodes nodes({Model{.stuck_at = 3}});
  TaskRequest request = question(10);
  request.deadline = 300ms;
  request.fallback = "hold position";
  nodes.ask(std::move(request));
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->outcome, Outcome::kFallback);
  EXPECT_EQ(nodes.result->text, "hold position");
  EXPECT_NE(nodes.result->reason.find("deadline"), std::string::npos);
  EXPECT_FALSE(nodes.result->deadline_met);
  EXPECT_EQ(nodes.result->tokens.size(), 3u);
  EXPECT_EQ(nodes.result->total, 300ms);
  nodes.run(10ms);
  EXPECT_EQ(nodes.server(1).worker.tasks(), 0u);
  EXPECT_TRUE(nodes.server(1).compute.jobs.empty());
}

TEST(Task, a_passed_deadline_without_a_fallback_is_an_error_with_what_was_there) {
  Nodes nodes({Model{.stuck_at = 3}});
  TaskRequest request = question(10);
  request.deadline = 300ms;
  nodes.ask(std::move(request));
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->outcome, Outcome::kDeadlineExceeded);
  EXPECT_EQ(nodes.result->text, undisturbed(3));
}

TEST(Task, the_last_good_answer_to_the_same_question_may_be_the_fallback) {
  Nodes nodes({Model{.stuck_at = 12}});
  nodes.ask(question(10));
  ASSERT_TRUE(nodes.ends());
  nodes.result.reset();
  TaskRequest again = question(10);
  again.deadline = 300ms;
  again.fallback_last_good = true;
  again.fallback = "a rule";
  nodes.ask(std::move(again));
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->outcome, Outcome::kFallback);
  EXPECT_EQ(nodes.result->text, undisturbed(10));
}

TEST(Task, a_slow_reader_parks_it_and_loses_nothing) {
  Nodes nodes({Model{.length = 60}}, {.credit = 8});
  nodes.ask(question(), {}, true);
  nodes.run(1s);
  EXPECT_EQ(nodes.pieces, 8u);
  const std::size_t made = nodes.server(1).compute.made;
  EXPECT_LT(made, 30u);
  nodes.run(5s);
  EXPECT_EQ(nodes.server(1).compute.made, made) << "parked: no slices";
  EXPECT_FALSE(nodes.result);
  nodes.owner.consumed(task_number(1), 100);
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.streamed, undisturbed(60));
  EXPECT_EQ(nodes.result->attempts, 1u);
}

TEST(Task, whose_tokens_nobody_takes_gives_up_its_place) {
  for (const std::uint32_t tokens_max : {1u, 100u}) {  // ended and waiting to say so; parked
    Nodes nodes({Model{}});
    TaskWorker& worker = nodes.server(1).worker;
    wire::TaskAssign assign{.task = task_number(1), .attempt = 1, .spec = question(tokens_max).spec};
    worker.on_assign(node_number(9), assign, nodes.time.now);
    nodes.run(29s);
    EXPECT_EQ(worker.tasks(), 1u);
    nodes.run(2s);
    EXPECT_EQ(worker.tasks(), 0u);
    EXPECT_TRUE(nodes.server(1).compute.jobs.empty());
  }
}

TEST(Task, a_reader_that_comes_too_late_has_its_answer_from_another_attempt) {
  Nodes nodes({Model{.length = 12}, Model{.length = 12}}, {.credit = 8});
  nodes.ask(question(), {}, true);
  nodes.run(35s);
  EXPECT_EQ(nodes.server(1).worker.tasks(), 0u);
  EXPECT_EQ(nodes.assigned.size(), 2u);
  nodes.owner.consumed(task_number(1), 100);
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->outcome, Outcome::kAnswered);
  EXPECT_EQ(nodes.streamed, undisturbed(12));
}

// Places are held by what has ended too, as long as nobody takes its tokens.
TEST(Task, an_owner_has_three_quarters_of_the_places_and_all_together_no_more_than_there_are) {
  Timeline time;
  FakeCompute compute(Model{}, time);
  TaskWorker worker({.scheduler = {.tasks_max = 8}}, compute);
  compute.report = [&](const env::SliceReport& slice) { worker.on_slice(slice, time.now); };
  std::uint8_t number = 0;
  const auto takes = [&](std::size_t owner) {
    worker.on_assign(node_number(owner), {.task = task_number(++number), .attempt = 1, .spec = question(1).spec},
                     time.now);
    env::Outbox out;
    worker.drain(out);
    for (time.now += 1s; time.next() <= time.now;) time.run_due();
    const auto frame = wire::open_frame(out.sends.at(0).frame).value();
    return wire::decode<wire::TaskAnswer>(frame.body)->accepted;
  };
  std::size_t one = 0, others = 0;
  for (int i = 0; i < 10; ++i) one += takes(1);
  for (std::size_t owner = 2; owner < 10; ++owner) others += takes(owner);
  EXPECT_EQ(one, 6u);
  EXPECT_EQ(others, 2u);
  EXPECT_EQ(worker.tasks(), 8u);
}

TEST(Task, any_backlog_and_any_time_to_come_back_are_times) {
  Nodes nodes({Model{}, Model{}});
  nodes.owner.on_load(node_number(1), {.number = 1, .backlog = Duration::max()});
  nodes.owner.on_load(node_number(2), {.number = 1, .backlog = Duration::min()});
  nodes.server(1).alive = nodes.server(2).alive = false;
  nodes.ask(question());
  ASSERT_EQ(nodes.owner.server_of(task_number(1)), node_number(2)) << "the least that can be promised is nothing";
  nodes.owner.on_answer(node_number(2), {.task = task_number(1), .attempt = 1, .retry_after = Duration::min()}, {});
  nodes.owner.on_answer(node_number(1), {.task = task_number(1), .attempt = 2, .retry_after = Duration::max()}, {});
  ASSERT_TRUE(nodes.result);
  EXPECT_EQ(nodes.result->retry_after, Duration(24h));
}

TEST(Task, any_budget_is_a_time) {
  Nodes nodes({Model{}});
  TaskWorker& worker = nodes.server(1).worker;
  const Duration budgets[] = {Duration::max(), Duration::min(), Duration(-1)};
  nodes.time.now += 1h;
  for (std::uint8_t i = 0; i < 3; ++i) {
    wire::TaskAssign assign{.task = task_number(i), .attempt = 1, .spec = question(1).spec, .budget = budgets[i]};
    assign.credit = 10;
    worker.on_assign(node_number(9), assign, nodes.time.now);
    EXPECT_EQ(worker.tasks(), i == 0 ? 1u : 0u);
    nodes.run(100ms);
    EXPECT_EQ(worker.tasks(), 0u);
  }
}

TEST(Task, a_cancel_frees_the_job) {
  Nodes nodes({Model{}});
  nodes.ask(question());
  nodes.run(50ms);
  EXPECT_EQ(nodes.server(1).worker.tasks(), 1u);
  nodes.owner.cancel(task_number(1), nodes.time.now);
  EXPECT_EQ(nodes.result->outcome, Outcome::kCancelled);
  nodes.run(10ms);
  EXPECT_EQ(nodes.server(1).worker.tasks(), 0u);
  EXPECT_TRUE(nodes.server(1).compute.jobs.empty());
}

TEST(Task, a_reader_may_cancel_while_it_is_given_tokens) {
  Nodes nodes({Model{}});
  std::size_t told = 0;
  std::weak_ptr<std::size_t> watched;
  auto counter = std::make_shared<std::size_t>(0);
  watched = counter;
  nodes.ask(question(), [&nodes, &told, &watched, counter = std::move(counter)](std::span<const env::Token> tokens) {
    *counter += tokens.size();
    if (*counter == 3) nodes.owner.cancel(task_number(1), nodes.time.now);
    ASSERT_FALSE(watched.expired()) << "destroyed while it runs";
    told = *counter;
  });
  ASSERT_TRUE(nodes.ends());
  nodes.run(1s);
  EXPECT_EQ(nodes.result->outcome, Outcome::kCancelled);
  EXPECT_EQ(told, 3u);
  EXPECT_EQ(nodes.result->tokens.size(), 3u);
}

TEST(Task, a_lost_owner_frees_its_jobs) {
  Nodes nodes({Model{}});
  nodes.ask(question());
  TaskRequest second = question();
  second.id = task_number(2);
  nodes.ask(std::move(second));
  nodes.run(50ms);
  EXPECT_EQ(nodes.server(1).worker.tasks(), 2u);
  nodes.server(1).worker.on_owner_lost(node_number(9), nodes.time.now);
  EXPECT_EQ(nodes.server(1).worker.tasks(), 2u);
  nodes.server(1).worker.on_owner_lost(node_number(0), nodes.time.now);
  EXPECT_EQ(nodes.server(1).worker.tasks(), 0u);
  EXPECT_TRUE(nodes.server(1).compute.jobs.empty());
}

TEST(Task, text_that_the_end_flushes_is_text_and_no_token) {
  Nodes nodes({Model{.flush = true}});
  nodes.ask(question());
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->text, undisturbed(20) + "END");
  EXPECT_EQ(nodes.streamed, nodes.result->text);
  EXPECT_EQ(nodes.result->tokens.size(), 20u);
}

TEST(Task, whose_text_ended_is_answered_though_the_word_of_it_was_lost) {
  for (const std::uint32_t tokens_max : {100u, 20u}) {
    Nodes nodes({Model{.flush = true}, Model{}});
    nodes.server(1).swallowed = wire::MessageType::kTaskDone;
    nodes.ask(question(tokens_max));
    ASSERT_TRUE(nodes.run_until([&] { return nodes.streamed.ends_with("END"); }, 2s));
    nodes.kill(1);
    ASSERT_TRUE(nodes.ends());
    EXPECT_EQ(nodes.result->outcome, Outcome::kAnswered);
    EXPECT_EQ(nodes.result->text, undisturbed(20) + "END");
    EXPECT_EQ(nodes.result->stopped, tokens_max == 100);
    EXPECT_EQ(nodes.assigned.size(), 1u) << "there was nothing left to do";
  }
}

TEST(Task, nothing_that_follows_the_end_is_taken) {
  Nodes nodes({Model{.stuck_at = 0}});
  nodes.ask(question());
  nodes.run(5ms);
  const auto from_server = [&](std::uint32_t first, std::vector<env::Token> tokens) {
    nodes.owner.on_tokens(node_number(1),
                          {.task = task_number(1), .attempt = 1, .first = first, .tokens = std::move(tokens)},
                          nodes.time.now);
  };
  from_server(0, {{5, "a"}, {kFlush, "b"}, {6, "c"}});
  from_server(2, {{7, "d"}});
  EXPECT_EQ(nodes.streamed, "ab");
  nodes.kill(1);
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->text, "ab");
  EXPECT_EQ(nodes.result->tokens, std::vector<std::int32_t>{5});
}

TEST(Task, that_nobody_can_go_on_with_is_given_up_in_the_end) {
  Nodes nodes({Model{}});
  nodes.ask(question());
  ASSERT_TRUE(nodes.run_until([&] { return nodes.pieces >= 5; }, 1s));
  nodes.kill(1);
  nodes.run(25s);
  EXPECT_FALSE(nodes.result) << "somebody may still come";
  ASSERT_TRUE(nodes.ends(6s));
  EXPECT_EQ(nodes.result->outcome, Outcome::kFailed);
  EXPECT_NE(nodes.result->reason.find("30 s"), std::string::npos) << nodes.result->reason;
  EXPECT_NE(nodes.result->reason.find("was lost"), std::string::npos) << nodes.result->reason;
  EXPECT_EQ(nodes.result->text, undisturbed(5));
  EXPECT_EQ(nodes.owner.next_deadline(), kNever);
}

TEST(Task, that_has_begun_waits_for_somebody_to_come) {
  Nodes nodes({Model{}, Model{}});
  nodes.owner.nodes().erase(node_number(2));
  nodes.ask(question());
  ASSERT_TRUE(nodes.run_until([&] { return nodes.pieces >= 5; }, 1s));
  nodes.kill(1);
  nodes.run(20s);
  nodes.show(2);
  nodes.owner.on_link_up(node_number(2));
  ASSERT_TRUE(nodes.ends());
  EXPECT_EQ(nodes.result->outcome, Outcome::kAnswered);
  EXPECT_EQ(nodes.streamed, undisturbed(20));
}

// What no honest server sends ends its attempt at once, and leaves no trace in the text.
TEST(Task, a_server_that_sends_more_than_it_was_asked_for_has_failed) {
  const auto tokens = [](std::size_t count, const env::Token& each) { return std::vector<env::Token>(count, each); };
  const env::TokenLogprob likely{5, "a", -1}, lengthy{5, std::string(5000, 'a'), -1};
  const std::vector<std::vector<env::Token>> lies = {
      tokens(9, {}),                                  // credit is 8
      tokens(7, {5, "a"}),                            // of 6
      tokens(1, {5, std::string(5000, 'a')}),         // no vocabulary has such a token
      tokens(1, {5, "a", {likely, likely, likely}}),  // two were asked for
      tokens(1, {5, "a", {likely, lengthy}}),
  };
  for (const auto& lie : lies) {
    Nodes nodes({Model{.stuck_at = 0}, Model{}}, {.credit = 8});
    TaskRequest request = question(6);
    request.spec.logprobs = 2;
    nodes.ask(std::move(request));
    nodes.run(5ms);
    nodes.owner.on_tokens(node_number(1), {.task = task_number(1), .attempt = 1, .tokens = lie}, nodes.time.now);
    EXPECT_EQ(nodes.pieces, 0u);
    ASSERT_TRUE(nodes.ends(300ms));
    EXPECT_EQ(nodes.result->outcome, Outcome::kAnswered);
    EXPECT_EQ(nodes.result->served_by, node_number(2));
    EXPECT_EQ(nodes.streamed, undisturbed(6));
    EXPECT_EQ(nodes.server(1).worker.tasks(), 0u) << "it was told";
  }
}

TEST(Task, a_server_may_send_as_much_as_its_reader_has_taken_and_no_more) {
  Nodes nodes({Model{.stuck_at = 0}}, {.credit = 8});
  nodes.ask(question(), {}, true);
  nodes.run(5ms);
  const auto send = [&](std::uint32_t first, std::size_t count) {
    nodes.owner.on_tokens(node_number(1),
                          {.task = task_number(1),
                           .attempt = 1,
                           .first = first,
                           .tokens = std::vector<env::Token>(count, env::Token{5, "a"})},
                          nodes.time.now);
  };
  send(0, 8);
  nodes.owner.consumed(task_number(1), 2);
  send(8, 2);
  EXPECT_EQ(nodes.pieces, 10u);
  EXPECT_EQ(nodes.owner.server_of(task_number(1)), node_number(1));
  send(10, 1);
  EXPECT_EQ(nodes.pieces, 10u);
  nodes.run(5ms);
  EXPECT_EQ(nodes.server(1).worker.tasks(), 0u);
}

TEST(Task, that_every_engine_fails_ends_with_the_reason_and_after_so_many_attempts) {
  Model full;
  full.error = Error{Code::kResourceExhausted, "no memory for its keys and values"};
  Nodes nodes({full, full});
  nodes.ask(question());
  ASSERT_TRUE(nodes.ends(100ms));
  EXPECT_EQ(nodes.result->outcome, Outcome::kFailed);
  EXPECT_EQ(nodes.result->code, Code::kResourceExhausted);
  EXPECT_EQ(nodes.result->reason, "no memory for its keys and values");
  EXPECT_EQ(nodes.result->attempts, 2u);
  Nodes begun({Model{.stuck_at = 3}, full});
  begun.ask(question());
  ASSERT_TRUE(begun.run_until([&] { return begun.pieces == 3; }, 1s));
  begun.kill(1);
  ASSERT_TRUE(begun.ends()) << "though it may wait for somebody";
  EXPECT_EQ(begun.result->outcome, Outcome::kFailed);
  EXPECT_EQ(begun.result->attempts, 8u);
  EXPECT_NE(begun.result->reason.find("no memory"), std::string::npos) << begun.result->reason;
}

// Whoever dies or falls silent, and whenever, as long as somebody is left.
TEST(Task, gives_the_undisturbed_text_under_any_losses) {
  EXPECT_TRUE(rc::check([] {
    Nodes nodes({Model{}, Model{.flush = *rc::gen::arbitrary<bool>()}, Model{.step = 15ms}, Model{.step = 20ms}});
    for (std::size_t number = 1; number <= 3; ++number) {
      const Duration at = *rc::gen::inRange(0, 400) * 1ms;
      if (*rc::gen::arbitrary<bool>()) {
        nodes.time.after(at, [&nodes, number] { nodes.kill(number); });
      } else {
        nodes.time.after(at, [&nodes, number] { nodes.server(number).mute = true; });
        nodes.time.after(at + *rc::gen::inRange(1, 400) * 1ms, [&nodes, number] { nodes.unmute(number); });
      }
    }
    nodes.ask(question());
    RC_ASSERT(nodes.ends());
    RC_ASSERT(nodes.result->outcome == Outcome::kAnswered);
    RC_ASSERT(nodes.result->tokens.size() == 20u);
    RC_ASSERT(nodes.streamed == nodes.result->text);
    RC_ASSERT(nodes.streamed.starts_with(undisturbed(20)));
    nodes.run(1s);
    for (const auto& server : nodes.servers) RC_ASSERT(!server->alive || server->worker.tasks() == 0u);
  }));
}

}  // namespace
}  // namespace sedge::node
