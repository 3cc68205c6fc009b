#include "engine/drafting.h"

#include <algorithm>

#include "base/assert.h"

namespace sedge::engine {

void Drafting::begin(std::span<const DraftWish> wishes, std::size_t read_max) {
  wishes_.clear();
  for (const DraftWish& wish : wishes) {
    SEDGE_ASSERT(wish.guesses > 0 && wish.generation->draft() != nullptr);
    wishes_.push_back({wish.generation, wish.guesses});
  }
  read_left_ = read_max;
}

// Rows for those who are not done; who has to wait for rows is, until the next step.
void Drafting::form() {
  pass_.clear();
  for (Wish& wish : wishes_) {
    wish.rows = 0;
    if (wish.done) continue;
    Draft& draft = *wish.generation->draft();
    const auto unread = draft.unread();
    const bool few = unread.size() <= kFewTokens;
    wish.rows = few ? unread.size() : std::min(unread.size(), read_left_);
    if (!few) read_left_ -= wish.rows;
    wish.done = wish.rows < unread.size();
    if (wish.rows > 0) pass_.add(draft.sequence(), unread.first(wish.rows), wish.done ? 0 : 1);
  }
}

// One more guess; the last where the small model sees the end, or nothing.
void Drafting::take(Wish& wish, std::span<float> logits) {
  Draft& draft = *wish.generation->draft();
  const auto guess = wish.generation->draw_guess(logits, draft.text());
  wish.done = !guess;
  if (!guess) return;
  draft.add(*guess);
  wish.done = draft.guesses().size() >= wish.guesses;
}

Result<std::size_t> Drafting::pass(Engine& engine, const Control* control) {
  form();
  if (pass_.rows() == 0) {
    for (const Wish& wish : wishes_) wish.generation->guess_as_draft();
    return std::size_t{0};
  }
  const Model& model = wishes_[0].generation->draft()->model();
  SEDGE_CHECK(pass_.run(engine, model, control));
  const std::size_t vocab = model.config().vocab;
  std::size_t row = 0;
  for (Wish& wish : wishes_) {
    if (wish.rows > 0 && !wish.done) take(wish, pass_.logits().subspan(row++ * vocab, vocab));
  }
  return pass_.rows();
}

}  // namespace sedge::engine
