#include "engine/batch.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace sedge::engine {

void Batch::form(std::span<Member> members, std::size_t prompt_rows) {
  pass_.clear();
  prompt_rows_ = token_rows_ = 0;
  std::size_t wanted = 0;
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
    member.first = wanted;
    wanted += member.rows.logits;
    (prompt ? prompt_rows_ : token_rows_) += member.rows.ids.size();
    if (member.rows.ids.empty()) continue;
    pass_.add(text.sequence(), member.rows.ids, member.rows.logits, text.adapters());
  }
}

Status Batch::step(Engine& engine, std::span<Member> members, std::size_t prompt_rows, const Control* control) {
  if (members.empty()) return {};
  form(members, prompt_rows);
  const Model& model = members[0].generation->model();
  if (pass_.rows() > 0) {
    if (auto status = pass_.run(engine, model, control); !status) {
      for (const Member& member : members) member.generation->undo(member.rows);
      return status;
    }
  }
  const std::size_t vocab = model.config().vocab;
  const std::span<const float> logits = pass_.logits();
  engine.each(members.size(), [&](std::size_t i) {  // a draw from a large vocabulary takes a millisecond
    Member& member = members[i];
    if (!member.asked) return;
    member.did = member.generation->take(member.rows, logits.subspan(member.first * vocab, member.rows.logits * vocab));
  });
  return {};
}

}  // namespace sedge::engine
