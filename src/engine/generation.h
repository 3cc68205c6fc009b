// One text in the making, advanced in slices: a chunk of the prompt, then a token at a time. A scheduler decides
// when; nothing here waits, reads a clock or keeps a thread.
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
#include "engine/cancel.h"
#include "engine/engine.h"
#include "engine/grammar/constraint.h"
#include "engine/model.h"
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
  std::shared_ptr<const Grammar>
      grammar;                    // what the text must be; before tokens_min it may end only where it cannot go on
  std::size_t context = 0;        // positions; 0: what prompt and tokens_max need, at most the model's
  std::size_t chunk_tokens = 48;  // of the prompt, a slice
};

// kStop: end of text, a stop string, or a grammar that nothing can follow; kLength: tokens_max or context, and a text
// under a grammar then is a beginning of one.
enum class Finish { kNone, kStop, kLength };

// What one slice did.
struct Step {
  std::optional<std::int32_t> token;  // absent while the prompt is not through, and when the end token was chosen
  std::string bytes;                  // of the token
  std::string text;                   // now certain: valid UTF-8, stop strings held back
  std::vector<Logprob> logprobs;      // where asked for: the token's own, then of the best
  Finish finish = Finish::kNone;
};

class Generation {
 public:
  // Errors: InvalidArgument (an empty prompt, ids outside the vocabulary, a prompt longer than the context, options
  //         out of range, resumed tokens that are not of the grammar); ResourceExhausted (no memory for the sequence).
  static Result<Generation> start(std::shared_ptr<const Model> model, std::span<const std::int32_t> prompt,
                                  std::span<const std::int32_t> resume = {}, GenerationOptions options = {});

  // Runs one slice. After a finish, or an error other than Cancelled, no more may be asked for: FailedPrecondition.
  // Errors: Cancelled (nothing was done: the same slice may be asked for again); DataLoss (damaged weights);
  //         InvalidArgument where the vocabulary cannot spell what the grammar wants.
  Result<Step> step(Engine& engine, const CancelFlag* cancel = nullptr);

  Finish finish() const { return finish_; }
  std::size_t prompt_tokens() const { return prompt_tokens_; }
  // Positions computed so far, of prompt, resumed and generated tokens.
  std::size_t computed() const { return sequence_.length(); }
  // Of the prompt and the resumed tokens, what is still to compute before the next token can be chosen.
  std::size_t prefill_left() const;
  // All generated tokens, resumed ones first.
  std::span<const std::int32_t> tokens() const { return std::span(ids_).subspan(prompt_tokens_); }
  // The logits that the last token was chosen from [vocab], after any repetition penalty; empty before. What a
  // grammar forbids is at minus infinity where it had to be asked about all.
  std::span<const float> logits() const { return logits_; }
  const Model& model() const { return *model_; }

 private:
  Generation(std::shared_ptr<const Model> model, Sequence sequence, GenerationOptions options)
      : model_(std::move(model)),
        sequence_(std::move(sequence)),
        options_(std::move(options)),
        stream_(options_.stops) {}

  bool stopped() const { return stream_.stopped() || (constraint_ != nullptr && constraint_->finished()); }
  bool full() const;  // tokens_max is reached, or the last token has no position left to stand at
  Result<Step> choose();
  std::string accept(std::int32_t id, Step& step);
  void end(Finish finish, Step& step);

  std::shared_ptr<const Model> model_;
  Sequence sequence_;
  GenerationOptions options_;
  TextStream stream_;
  std::unique_ptr<TokenConstraint> constraint_;
  std::vector<std::int32_t> ids_;  // prompt, then generated
  std::size_t prompt_tokens_ = 0;
  std::size_t resumed_ = 0;
  bool swallow_space_ = false;  // the text starts here: without the space that the vocabulary puts in front
  Finish finish_ = Finish::kNone;
  bool failed_ = false;
  std::vector<float> hidden_, logits_;
  std::vector<std::int32_t> ends_;  // end tokens, where tokens_min holds them back
};

}  // namespace sedge::engine
