// One text in the making, advanced in steps: a chunk of the prompt, then a token at a time. A scheduler decides
// when; nothing here waits, reads a clock or keeps a thread.
//
// A step is two calls: which rows the text wants from the next forward pass, and the logits that came of them. Between
// them the rows of many texts share one pass (batch.h); step() is both for a text alone.
//
// A generation started with tokens that another node made (`resume`) goes on exactly as the other would have: the
// forward pass gives the same bits however the tokens are cut, and the sampler's draws depend on positions alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/control.h"
#include "engine/draft_model.h"
#include "engine/engine.h"
#include "engine/grammar/constraint.h"
#include "engine/memory_budget.h"
#include "engine/model.h"
#include "engine/prefix_cache.h"
#include "engine/prompt_lookup.h"
#include "engine/sampler.h"
#include "engine/sequence.h"
#include "engine/text_stream.h"

namespace sedge::engine {

inline constexpr std::size_t kStopsMax = 16, kStopBytesMax = 256;
inline constexpr std::size_t kLogprobsMax = 21;  // a token's own, and of the 20 best

struct GenerationOptions {
  SamplingOptions sampling;
  std::size_t tokens_max = 256;    // generated ones, those of `resume` included
  std::size_t tokens_min = 0;      // before so many no end token is chosen
  std::size_t logprobs = 0;        // of how many tokens a step tells the logprobs, its own first; at most kLogprobsMax
  std::vector<std::string> stops;  // at most kStopsMax of 1 to kStopBytesMax bytes; none is shown
  // What the text must be; before tokens_min it may end only where it cannot go on.
  std::shared_ptr<const Grammar> grammar{};
  std::size_t context = 0;        // positions; 0: what prompt and tokens_max need, at most the model's
  std::size_t chunk_tokens = 48;  // of the prompt, a step alone
  // Most tokens that are guessed ahead, from what the text said before (prompt_lookup.h) or by a smaller model; 0:
  // none. step() guesses from what was said as many as it may, a batch as many as its caller says. The text is the
  // same: a guess is kept only where the model and the draw say the same.
  std::size_t draft_max = 0;
  std::shared_ptr<const Model> draft_model{};  // that may guess: check_draft accepts it
  std::vector<AdapterUse> adapters{};          // of the model, stacked in this order
  // Where beginnings of prompts are kept, and under what name besides their tokens (prefix_cache.h), which names the
  // adapters and their scales too; none: nowhere.
  std::shared_ptr<PrefixCache> cache{};
  std::string cache_scope{};
  // What all texts of the process may take together; none: nobody counts. What `cache` holds of it gives way to a text.
  std::shared_ptr<MemoryBudget> memory{};
};

// kStop: end of text, a stop string, or a grammar that nothing can follow; kLength: tokens_max, the context or all the
// memory that texts may have is full, and a text under a grammar then is a beginning of one.
enum class Finish { kNone, kStop, kLength };

// What a text wants of the next forward pass: these tokens, at the positions after what is computed, and the logits
// of the last `logits` of them (0 while the prompt is not through). All but the first of those are guessed.
struct Rows {
  std::span<const std::int32_t> ids;
  std::size_t logits = 0;
};

struct Piece {
  std::int32_t id = 0;
  std::string text;               // now certain
  std::vector<Logprob> logprobs;  // where asked for: the token's own, then of the best
};

// What a text could try of guesses from one source.
struct Guessing {
  std::size_t most = 0;   // tokens
  double acceptance = 0;  // how likely one is right if those before it are
  // Of a draft model: which, and how many tokens it has to read first, the newest among them.
  const Model* model = nullptr;
  std::size_t unread = 0;
};

// What one step did. It makes one token; more where guessed ones proved right.
struct Step {
  std::optional<std::int32_t> token;  // the last: absent while the prompt is not through, and with the end token alone
  std::string bytes;                  // of all its tokens
  std::string text;                   // now certain: valid UTF-8, stop strings held back
  std::vector<Piece> pieces;          // its tokens; what an end set free of held back text is in `text` alone
  std::size_t drafted = 0;            // tokens that were guessed,
  std::size_t accepted = 0;           // and those that proved right
  Finish finish = Finish::kNone;
};

class Batch;  // batch.h

class Generation {
 public:
  // Errors: InvalidArgument (an empty prompt, ids outside the vocabulary, a prompt longer than the context, options
  //         out of range, adapters of another model, resumed tokens that are not of the grammar); ResourceExhausted
  //         (what is given fits into no memory that texts have here, or the text into none that is free: elsewhere, or
  //         later, it may).
  static Result<Generation> start(std::shared_ptr<const Model> model, std::span<const std::int32_t> prompt,
                                  std::span<const std::int32_t> resume = {}, GenerationOptions options = {});

  // Runs one step alone. After a finish, or an error other than Cancelled, no more may be asked for:
  // FailedPrecondition.
  // Errors: Cancelled (nothing was done: the same step may be asked for again); DataLoss (damaged weights);
  //         InvalidArgument where the vocabulary cannot spell what the grammar wants.
  Result<Step> step(Engine& engine, const Control* control = nullptr);

  // Copies what the cache has of the prompt, up to `blocks_max` blocks of it. True when it did: there may be more.
  // Between two steps; step() does it by itself.
  bool recall(std::size_t blocks_max);

  // From what was said before, and by the draft model. Nothing while the prompt is not through, nor where there is no
  // room.
  Guessing looked_up();
  Guessing drafted();
  // The draft model's reading of this text, at its end now; nothing where its keys and values have no memory, or where
  // it does not know a token. draft() is the same as it then stands.
  Draft* begin_draft();
  Draft* draft() { return draft_.get(); }
  // A guess from the draft model's logits [vocab], which are changed: none where it sees the end, or no number. Then
  // guess_as_draft(): what it guessed is what rows() tries, if it is anything.
  std::optional<std::int32_t> draw_guess(std::span<float> logits, std::span<const std::int32_t> text) const;
  void guess_as_draft();
  // Tokens that may still be made.
  std::size_t tokens_left() const;

  // The same in two calls. At most `most` rows (at least 1), valid until take() or undo(), in a text past its prompt
  // with guesses behind the first; none when the text goes on without a pass: resumed at its end.
  // Requires: no finish and no failure yet.
  Rows rows(std::size_t most);
  // After a pass put all of `rows` through every layer: logits [rows.logits, vocab]. Errors: DataLoss.
  Result<Step> take(const Rows& rows, std::span<const float> logits);
  // After a pass that failed: forgets what it added, so that the same rows may be asked for again.
  void undo(const Rows& rows);
  // What a pass adds keys and values to. Layers, positions and lengths are the pass's alone to change.
  Sequence& sequence() { return sequence_; }

  Finish finish() const { return finish_; }
  std::size_t prompt_tokens() const { return prompt_tokens_; }
  // Positions computed so far, of prompt, resumed and generated tokens.
  std::size_t computed() const { return sequence_.length(); }
  // Of the prompt and the resumed tokens, what is still to compute before the next token can be chosen.
  std::size_t prefill_left() const;
  // Of the prompt and the resumed tokens, what was copied instead.
  std::size_t cached() const { return cached_; }
  // All generated tokens, resumed ones first.
  std::span<const std::int32_t> tokens() const { return std::span(ids_).subspan(prompt_tokens_); }
  bool ended() const { return finish_ != Finish::kNone || failed_; }
  // The logits that the last token was chosen from [vocab], after any repetition penalty; empty before. What a
  // grammar forbids is at minus infinity where it had to be asked about all.
  std::span<const float> logits() const { return logits_; }
  const Model& model() const { return *model_; }
  std::span<const AdapterUse> adapters() const { return options_.adapters; }

 private:
  Generation(std::shared_ptr<const Model> model, Sequence sequence, GenerationOptions options)
      : model_(std::move(model)),
        sequence_(std::move(sequence)),
        options_(std::move(options)),
        stream_(options_.stops) {}

  bool stopped() const { return stream_.stopped() || (constraint_ != nullptr && constraint_->finished()); }
  bool full() const;  // tokens_max is reached, or the last token has no position left to stand at
  Status choose(std::span<const float> logits, Step& step);
  std::string accept(std::int32_t id, Step& step);
  // Guesses from one source, until the tokens that they are of are made.
  struct Guesses {
    std::optional<std::vector<std::int32_t>> ids{};
    double expected;               // before any were tried
    double acceptance = expected;  // moving average
  };
  std::size_t guess_room() const;
  void learn(Guesses& guesses, std::size_t made) const;
  void end(Finish finish, Step& step);

  std::shared_ptr<const Model> model_;
  Sequence sequence_;
  GenerationOptions options_;
  TextStream stream_;
  std::unique_ptr<TokenConstraint> constraint_;
  std::vector<std::int32_t> ids_;  // prompt, then generated
  std::size_t prompt_tokens_ = 0;
  std::size_t resumed_ = 0;
  std::size_t cached_ = 0;
  bool swallow_space_ = false;  // the text starts here: without the space that the vocabulary puts in front
  Finish finish_ = Finish::kNone;
  bool failed_ = false;
  std::size_t before_ = 0;  // positions computed when rows were last asked for
  PromptLookup lookup_;
  std::unique_ptr<Draft> draft_;  // once asked for
  Guesses lookup_guesses_{.expected = 0.5}, draft_guesses_{.expected = 0.7};
  std::vector<std::int32_t> rows_;  // the last token with guesses
  std::vector<float> logits_;
  std::shared_ptr<Batch> alone_;    // of step(): its scratch
  std::vector<std::int32_t> ends_;  // end tokens, where tokens_min holds them back
};

}  // namespace sedge::engine
