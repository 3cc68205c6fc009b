// The compute seam: where the fleet wing hands work to the engine without knowing a tensor. serve/ decides what runs
// and for how many steps (a slice); the platform's engine workers, or a simulation's generator, run it and report.
// Jobs that run at the same time may share steps; a worker goes from step to step by itself until slices are used up.
// Jobs keep their place (KV cache) between slices; every started job is ended by exactly one release().
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"

namespace sedge::env {

struct Sampling {
  double temperature = 0;   // 0: greedy
  std::uint32_t top_k = 0;  // 0: off
  double top_p = 1;
  double min_p = 0;
  double repeat_penalty = 1;
  std::uint64_t seed = 0;
  double frequency_penalty = 0;  // taken off a token's logit for each time it was generated
  double presence_penalty = 0;   // and once if it was
  friend bool operator==(const Sampling&, const Sampling&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("temperature", temperature);
    visit("top_k", top_k);
    visit("top_p", top_p);
    visit("min_p", min_p);
    visit("repeat_penalty", repeat_penalty);
    visit("seed", seed);
    visit("frequency_penalty", frequency_penalty);
    visit("presence_penalty", presence_penalty);
  }
};

// Added to a token's logit before all else.
struct LogitBias {
  std::int32_t token = 0;
  double bias = 0;
  friend bool operator==(const LogitBias&, const LogitBias&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("token", token);
    visit("bias", bias);
  }
};

// What the answer's text must be.
enum class GrammarKind : std::uint8_t { kNone, kGbnf, kJsonSchema, kJsonObject };
constexpr GrammarKind wire_last(GrammarKind) { return GrammarKind::kJsonObject; }

struct Grammar {
  GrammarKind kind = GrammarKind::kNone;
  std::string text;  // of a grammar or a schema
  friend bool operator==(const Grammar&, const Grammar&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("kind", kind);
    visit("text", text);
  }
};

struct ChatTurn {
  std::string role;     // empty: `content` is a JSON object that says more: a message with calls of functions or what
  std::string content;  // one gave, or the functions that may be called (docs/formats/task.md §1.1)
  friend bool operator==(const ChatTurn&, const ChatTurn&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("role", role);
    visit("content", content);
  }
};

struct JobSpec {
  std::string model;                 // name, as the node advertises it
  std::string prompt;                // raw text; or
  std::vector<ChatTurn> turns;       // a conversation, through the model's chat template
  std::vector<std::int32_t> resume;  // tokens generated elsewhere so far: part of the context, not generated again
  std::uint32_t tokens_max = 256;    // counts those of `resume`
  std::uint32_t tokens_min = 0;      // before so many the end token is not chosen
  std::vector<std::string> stops;
  Sampling sampling;
  std::vector<LogitBias> logit_bias;
  Grammar grammar;
  std::uint32_t logprobs = 0;  // 0: none; else that many are told of each token, its own first and then the best
  // Not empty: no text is generated, the embeddings of these are wanted. Token i of the answer is text i's, its bytes
  // the vector's numbers as little-endian binary32.
  std::vector<std::string> texts;
  // When the owner was asked, in seconds since 1970 on its local clock, for chat templates that name the date: the same
  // at every node that the task goes to.
  std::optional<std::int64_t> asked_local_s;
};

// How likely the model itself held a token to be, before anything that a request asks for.
struct TokenLogprob {
  std::int32_t id = 0;
  std::string bytes;   // raw: a character may span several tokens
  double logprob = 0;  // natural
  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("id", id);
    visit("bytes", bytes);
    visit("logprob", logprob);
  }
};

struct Token {
  std::int32_t id = 0;
  std::string bytes;                   // raw bytes of this token; a character may span several
  std::vector<TokenLogprob> logprobs;  // when asked for
  friend bool operator==(const Token&, const Token&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("id", id);
    visit("bytes", bytes);
    visit("logprobs", logprobs);
  }
};

enum class JobEnd : std::uint8_t { kNone, kStop, kLength, kFailed };  // kNone: more to come

// What a slice did; long ones report as they go (`more`), so that each token streams when it is there.
struct SliceReport {
  TaskId task;
  bool more = false;          // the slice goes on; `busy` and `tokens` are since the last report
  std::vector<Token> tokens;  // generated since the last report, in order
  JobEnd end = JobEnd::kNone;
  Error error;                      // when kFailed
  std::uint32_t prompt_tokens = 0;  // of the whole prompt, once known
  std::uint32_t prefilled = 0;      // of them, done so far (with `resume`)
  bool prefilling = false;          // some of `busy` went into the prompt
  Duration busy{};                  // time the worker spent, on this job and those that shared its steps
  std::uint32_t batch = 1;          // jobs past their prompts that shared the step
  bool mixed = false;               // the step read another's prompt too; `prefilling`: did anything for another
  std::uint32_t cached = 0;         // of the prompt, what was remembered from another job and not computed
  std::uint32_t drafted = 0;        // tokens guessed ahead since the last report,
  std::uint32_t accepted = 0;       // and those of them that were right
};

// What a node can run, advertised to the fleet.
struct ModelOffer {
  std::string name;
  std::string hash;  // content hash: the same everywhere or not the same model; of adapters weights_of() + "+..."
  std::string numeric_class;  // equal class and hash: bit-identical tokens
  std::uint64_t bytes = 0;
  std::uint32_t context = 0;
  double prefill_tok_s = 0;  // measured at load on this node
  double decode_tok_s = 0;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("name", name);
    visit("hash", hash);
    visit("numeric_class", numeric_class);
    visit("bytes", bytes);
    visit("context", context);
    visit("prefill_tok_s", prefill_tok_s);
    visit("decode_tok_s", decode_tok_s);
  }
};

// Which of two jobs comes first: the smaller. `order` makes it total: of equals who came first.
struct Urgency {
  Instant deadline = kNever;
  std::uint8_t priority = 0;
  Instant turn{};  // among those that nobody promised a time: serve/scheduler.h
  std::uint64_t order = 0;
  friend auto operator<=>(const Urgency&, const Urgency&) = default;
};

// The hash of the weights that an offer's model runs on: its own, or where it is a base with adapters
// (docs/formats/lora.md) the base's. Models of equal weights share steps.
inline std::string_view weights_of(std::string_view hash) { return hash.substr(0, hash.find('+')); }

class Compute {
 public:
  virtual ~Compute() = default;
  virtual std::vector<ModelOffer> offers() const = 0;
  // How many slices may run at once.
  virtual std::uint32_t workers() const = 0;
  // Begins a job; costs nothing until its first slice.
  virtual void start(TaskId task, JobSpec spec) = 0;
  // Runs up to `steps` steps (a prefill chunk or one token each); SliceReports follow through the node, the last one
  // without `more`. Of a job that runs already: so many from now on; with 0 its slice ends after the step under way.
  // Where a slice is reported as a whole, a running job is not called again.
  virtual void run(TaskId task, std::uint32_t steps, Urgency urgency) = 0;
  // Ends the job, between slices or within one (whose report then never comes), and frees what it holds.
  virtual void release(TaskId task) = 0;
};

}  // namespace sedge::env
