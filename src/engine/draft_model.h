// What a small model of the same vocabulary has read of a text, and what it would say next.
//
// A large model that verifies some guesses in one pass reads its weights once for all of them (batch.h);
// prompt_lookup.h has guesses only where a text repeats itself. The idea: the small one goes on by itself for some
// tokens, each drawn as the text's own will be: by the same options, with the same draw at the same position
// (sampler.h). So where both models think alike they say the same, drawn or not, and a guess is kept only where the
// large one says it too: the text does not depend on who guessed. Rejected: keeping a guess with the ratio of both
// models' probabilities, which keeps some more and makes a text depend on what was guessed. Source: Leviathan et al.
// 2023, Chen et al. 2023 (speculative decoding); Daliri et al. 2024 (draws in common).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "engine/sequence.h"

namespace sedge::engine {

// Whether `draft` may guess for `model`. Errors: InvalidArgument: it generates no text, or a token that both have is
// not the same text; one may have more tokens than the other. Looks at all tokens: once for two models.
Status check_draft(const Model& model, const Model& draft);

// Of one text. Passes are another's (drafting.h): they put unread() through the model, and add what it says then.
class Draft {
 public:
  Draft(std::shared_ptr<const Model> model, Sequence sequence)
      : model_(std::move(model)), sequence_(std::move(sequence)) {}

  const Model& model() const { return *model_; }
  Sequence& sequence() { return sequence_; }

  // What the text says now. Forgets what was read and is not of it, guesses above all, and the last token in any case,
  // whose logits are the first guess. `ids` begins with those of the call before and is not empty.
  void set_text(std::span<const std::int32_t> ids);
  // Of the text and its guesses, what is to be read before there can be another.
  std::span<const std::int32_t> unread() const { return std::span(text_).subspan(sequence_.length()); }
  void add(std::int32_t guess) { text_.push_back(guess); }
  // The text with its guesses, and those alone.
  std::span<const std::int32_t> text() const { return text_; }
  std::span<const std::int32_t> guesses() const { return std::span(text_).subspan(given_); }

 private:
  std::shared_ptr<const Model> model_;
  Sequence sequence_;               // of the first of text_
  std::vector<std::int32_t> text_;  // given, then guessed
  std::size_t given_ = 0;
};

}  // namespace sedge::engine
