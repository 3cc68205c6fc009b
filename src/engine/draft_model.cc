#include "engine/draft_model.h"

#include <algorithm>

#include "base/assert.h"

namespace sedge::engine {

Status check_draft(const Model& model, const Model& draft) {
  if (!draft.config().features.causal) {
    return fail(Code::kInvalidArgument, "a model of architecture '{}' generates no text and cannot guess one",
                draft.config().arch);
  }
  const std::vector<std::string>& large = model.tokenizer().vocab().tokens;
  const std::vector<std::string>& small = draft.tokenizer().vocab().tokens;
  const std::size_t both = std::min(large.size(), small.size());
  const auto end = large.begin() + static_cast<std::ptrdiff_t>(both);
  const auto other = std::mismatch(large.begin(), end, small.begin()).first;
  if (other == end) return {};
  const auto id = static_cast<std::size_t>(other - large.begin());
  return fail(Code::kInvalidArgument,
              "a draft model needs the model's vocabulary: token {} is '{}' there and '{}' here", id, *other,
              small[id]);
}

void Draft::set_text(std::span<const std::int32_t> ids) {
  SEDGE_ASSERT(ids.size() >= given_ && !ids.empty());
  const std::size_t read = std::min(sequence_.length(), ids.size() - 1);
  std::size_t same = std::min(given_, read);  // those are of the text as they were
  while (same < read && text_[same] == ids[same]) ++same;
  sequence_.truncate(same);
  text_.resize(given_);
  text_.insert(text_.end(), ids.begin() + static_cast<std::ptrdiff_t>(given_), ids.end());
  given_ = ids.size();
}

}  // namespace sedge::engine
