#include "engine/batch.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace sedge::engine {

void Batch::form(std::span<Member> members, std::size_t prompt_rows) {
  ids_.clear(), slices_.clear();
  prompt_rows_ = token_rows_ = 0;
  for (Member& member : members) {
    member.did = Step{};
    member.rows = {};
    member.asked = false;
    Generation& text = *member.generation;
    SEDGE_ASSERT(&text.model() == &members[0].generation->model());
    const bool prompt = text.prefill_left() > 0;
    const std::size_t most = prompt ? prompt_rows - prompt_rows_ : 1 + member.drafts;
    if (most == 0) continue;
    member.asked = true;
    member.rows = text.rows(most);
    (prompt ? prompt_rows_ : token_rows_) += member.rows.ids.size();
    if (member.rows.ids.empty()) continue;
    ids_.insert(ids_.end(), member.rows.ids.begin(), member.rows.ids.end());
    slices_.push_back({&text.sequence(), member.rows.ids.size(), text.adapters()});
  }
}

// Everything that may be refused or cancelled; afterwards each text has its logits.
Status Batch::pass(Engine& engine, std::span<Member> members, const Control* control) {
  const Model& model = members[0].generation->model();
  const std::size_t dim = model.config().dim;
  hidden_.resize(ids_.size() * dim);
  SEDGE_CHECK(engine.embed(model, ids_, hidden_));
  SEDGE_CHECK(engine.forward(model, slices_, 0, model.config().layers, hidden_, control));
  last_.clear();
  auto at = hidden_.begin();
  for (const Member& member : members) {
    at += static_cast<std::ptrdiff_t>(member.rows.ids.size() * dim);
    last_.insert(last_.end(), at - static_cast<std::ptrdiff_t>(member.rows.logits * dim), at);
  }
  logits_.resize(last_.size() / dim * model.config().vocab);
  return last_.empty() ? Status{} : engine.head(model, last_, logits_, control);
}

Status Batch::step(Engine& engine, std::span<Member> members, std::size_t prompt_rows, const Control* control) {
  if (members.empty()) return {};
  form(members, prompt_rows);
  if (!slices_.empty()) {
    if (auto status = pass(engine, members, control); !status) {
      for (const Member& member : members) member.generation->undo(member.rows);
      return status;
    }
  }
  const std::size_t vocab = members[0].generation->model().config().vocab;
  std::size_t row = 0;
  for (Member& member : members) {
    const auto logits = std::span<const float>(logits_).subspan(row * vocab, member.rows.logits * vocab);
    row += member.rows.logits;
    if (member.asked) member.did = member.generation->take(member.rows, logits);
  }
  return {};
}

}  // namespace sedge::engine
