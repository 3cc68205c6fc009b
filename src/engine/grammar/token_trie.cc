#include "engine/grammar/token_trie.h"

#include <algorithm>
#include <string>
#include <utility>

namespace sedge::engine {

TokenTrie::TokenTrie(const model::Tokenizer& tokenizer) : words_((tokenizer.size() + 63) / 64) {
  std::vector<std::pair<std::string, std::int32_t>> texts;
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(tokenizer.size()); ++id) {
    std::string text = tokenizer.is_end(id) ? std::string() : tokenizer.decode_piece(id);
    if (!text.empty()) texts.emplace_back(std::move(text), id);
  }
  std::ranges::sort(texts);
  std::vector<std::size_t> open;  // nodes from the root to the text before
  const auto close_to = [&](std::size_t depth) {
    for (; open.size() > depth; open.pop_back()) nodes_[open.back()].end = static_cast<std::uint32_t>(nodes_.size());
  };
  std::string_view before;
  for (const auto& [text, id] : texts) {
    const auto shared = static_cast<std::size_t>(std::ranges::mismatch(text, before).in1 - text.begin());
    close_to(shared);
    for (std::size_t i = shared; i < text.size(); ++i) {
      open.push_back(nodes_.size());
      nodes_.push_back({.end = 0,
                        .first = static_cast<std::uint32_t>(tokens_.size()),
                        .depth = static_cast<std::uint32_t>(i + 1) & 0xFFFFFF,
                        .byte = static_cast<std::uint8_t>(text[i])});
    }
    tokens_.push_back(id);
    depth_ = std::max(depth_, text.size());
    before = text;
  }
  close_to(0);
  nodes_.push_back({.end = 0, .first = static_cast<std::uint32_t>(tokens_.size()), .depth = 0, .byte = 0});
}

bool TokenTrie::walk(Matcher& matcher, bool text_begins, std::span<std::uint64_t> mask) const {
  std::ranges::fill(mask, 0);
  std::vector<Matcher::State> states(depth_ + 1);  // where the bytes on the way here lead
  states[0] = matcher.state();
  for (std::size_t i = 0; i < nodes();) {
    const Node& node = nodes_[i];
    const bool unseen = text_begins && node.depth == 1 && node.byte == ' ';
    const Matcher::State from = states[node.depth - 1];
    const auto to = unseen ? std::optional(from) : matcher.next(from, static_cast<std::uint8_t>(node.byte));
    if (!to) return false;
    if (*to == Matcher::kDead) {
      i = node.end;
      continue;
    }
    states[node.depth] = *to;
    ++i;
    for (std::uint32_t t = node.first; t < nodes_[i].first && !unseen; ++t) {
      mask[static_cast<std::size_t>(tokens_[t]) / 64] |= std::uint64_t{1} << (tokens_[t] % 64);
    }
  }
  return true;
}

// A table that fills up is emptied once. What is not reached then stays forbidden: the same on every node, since an
// empty table fills up at the same byte.
void TokenTrie::mark_allowed(Matcher& matcher, bool text_begins, std::span<std::uint64_t> mask) const {
  if (walk(matcher, text_begins, mask)) return;
  matcher.restart();
  (void)walk(matcher, text_begins, mask);
}

}  // namespace sedge::engine
