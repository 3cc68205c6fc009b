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
  ids_.clear(), slices_.clear();
  for (Wish& wish : wishes_) {
    wish.rows = 0;
    if (wish.done) continue;
    Draft& draft = *wish.generation->draft();
    const auto unread = draft.unread();
    const bool few = unread.size() <= kFewTokens;
    wish.rows = few ? unread.size() : std::min(unread.size(), read_left_);
    if (!few) read_left_ -= wish.rows;
    wish.done = wish.rows < unread.size();
    if (wish.rows == 0) continue;
    ids_.insert(ids_.end(), unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(wish.rows));
    slices_.push_back({&draft.sequence(), wish.rows});
  }
}

Status Drafting::run(Engine& engine, const Control* control) {
  const Model& model = wishes_[0].generation->draft()->model();
  const std::size_t dim = model.config().dim;
  hidden_.resize(ids_.size() * dim);
  SEDGE_CHECK(engine.embed(model, ids_, hidden_));
  SEDGE_CHECK(engine.forward(model, slices_, 0, model.config().layers, hidden_, control));
  last_.clear();
  auto at = hidden_.begin();
  for (const Wish& wish : wishes_) {
    at += static_cast<std::ptrdiff_t>(wish.rows * dim);
    if (wish.rows > 0 && !wish.done) last_.insert(last_.end(), at - static_cast<std::ptrdiff_t>(dim), at);
  }
  logits_.resize(last_.size() / dim * model.config().vocab);
  return last_.empty() ? Status{} : engine.head(model, last_, logits_, control);
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
  if (slices_.empty()) {
    for (const Wish& wish : wishes_) wish.generation->guess_as_draft();
    return std::size_t{0};
  }
  SEDGE_CHECK(run(engine, control));
  const std::size_t vocab = wishes_[0].generation->draft()->model().config().vocab;
  std::size_t row = 0;
  for (Wish& wish : wishes_) {
    if (wish.rows > 0 && !wish.done) take(wish, std::span(logits_).subspan(row++ * vocab, vocab));
  }
  return ids_.size();
}

}  // namespace sedge::engine
