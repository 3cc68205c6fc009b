#include "engine/grammar/constraint.h"

#include <algorithm>
#include <string>
#include <utility>

namespace sedge::engine {

TokenConstraint::TokenConstraint(const model::Tokenizer& tokenizer, std::shared_ptr<const TokenTrie> trie,
                                 std::shared_ptr<const Grammar> grammar, bool text_begins)
    : tokenizer_(&tokenizer), trie_(std::move(trie)), matcher_(std::move(grammar)), text_begins_(text_begins) {
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(tokenizer.size()); ++id) {
    if (tokenizer.is_end(id)) ends_.push_back(id);
  }
}

bool TokenConstraint::allows(std::int32_t id) {
  if (tokenizer_->is_end(id)) return matcher_.complete();
  const std::string piece = tokenizer_->decode_piece(id);
  std::string_view bytes = piece;
  if (text_begins_ && bytes.starts_with(' ')) bytes.remove_prefix(1);
  return !bytes.empty() && matcher_.accepts(bytes);
}

Result<std::span<const std::uint64_t>> TokenConstraint::mask() {
  if (std::exchange(epoch_, matcher_.epoch()) != matcher_.epoch()) kept_.clear(), kept_at_.clear();
  const auto found = text_begins_ ? kept_at_.end() : kept_at_.find(matcher_.state());
  if (found != kept_at_.end()) {
    kept_.splice(kept_.begin(), kept_, found->second);
    return kept_.front().mask;
  }
  std::vector<std::uint64_t> mask(trie_->words());
  SEDGE_CHECK(trie_->mark_allowed(matcher_, text_begins_, mask));
  for (const std::int32_t id : ends_) {
    if (matcher_.complete()) mask[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
  }
  if (std::exchange(epoch_, matcher_.epoch()) != matcher_.epoch()) kept_.clear(), kept_at_.clear();
  const std::size_t most = std::max<std::size_t>(1, kMaskBytesKept / (8 * std::max<std::size_t>(1, trie_->words())));
  if (kept_.size() >= most) {
    kept_at_.erase(kept_.back().state);
    kept_.pop_back();
  }
  // At the text's begin the mask is another's than the state's: it is used, and found by nobody.
  kept_.push_front({text_begins_ ? Matcher::kDead : matcher_.state(), std::move(mask)});
  kept_at_[kept_.front().state] = kept_.begin();
  return kept_.front().mask;
}

bool TokenConstraint::advance(std::string_view bytes) {
  if (!matcher_.advance(bytes)) return false;
  text_begins_ = false;
  return true;
}

}  // namespace sedge::engine
