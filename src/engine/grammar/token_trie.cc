#include "engine/grammar/token_trie.h"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

namespace sedge::engine {
namespace {

// Steps that cost less than 2 to the power of this are not counted: a vocabulary has no more than some 300,000 nodes.
constexpr unsigned kDear = 8;

// The work of one walk: each step once, as if the table had been empty.
class Budget {
 public:
  bool take(const Matcher& matcher, Matcher::State from, std::uint8_t byte, Matcher::Step step) {
    given_up_ |= step.given_up();
    if (step.cost >= kDear && counted_.insert(matcher.step_id(from, byte)).second) work_ += std::size_t{1} << step.cost;
    return work_ <= kMaskWorkMax;
  }
  bool given_up() const { return given_up_; }

 private:
  std::unordered_set<std::size_t> counted_;
  std::size_t work_ = 0;
  bool given_up_ = false;
};

}  // namespace

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

// False: the table is full.
Result<bool> TokenTrie::walk(Matcher& matcher, bool text_begins, std::span<std::uint64_t> mask) const {
  std::ranges::fill(mask, 0);
  std::vector<Matcher::State> states(depth_ + 1);  // where the bytes on the way here lead
  states[0] = matcher.state();
  Budget budget;
  for (std::size_t i = 0; i < nodes();) {
    const Node& node = nodes_[i];
    const auto byte = static_cast<std::uint8_t>(node.byte);
    const bool unseen = text_begins && node.depth == 1 && byte == ' ';
    const Matcher::State from = states[node.depth - 1];
    const auto step =
        unseen ? std::optional(Matcher::Step{.to = from & 0xFFFFFF, .cost = 0}) : matcher.next(from, byte);
    if (!step) return false;
    if (!budget.take(matcher, from, byte, *step)) {
      return fail(Code::kInvalidArgument, "the grammar is too ambiguous: over {} steps to ask all tokens once",
                  kMaskWorkMax);
    }
    if (step->to == Matcher::kDead) {
      i = node.end;
      continue;
    }
    states[node.depth] = step->to;
    ++i;
    for (std::uint32_t t = node.first; t < nodes_[i].first && !unseen; ++t) {
      mask[static_cast<std::size_t>(tokens_[t]) / 64] |= std::uint64_t{1} << (tokens_[t] % 64);
    }
  }
  const bool lost = budget.given_up() || matcher.state() == Matcher::kDead;
  if (!lost || matcher.complete() || std::ranges::any_of(mask, [](std::uint64_t word) { return word != 0; }))
    return true;
  return fail(
      Code::kInvalidArgument,
      "the grammar is too ambiguous: nothing may follow that is not over {} ways at once, or {} steps for a byte",
      kWaysMax, kStepWorkMax);
}

// A table that fills up is emptied once. What is not reached then stays forbidden: the same on every node, since an
// empty table fills up at the same byte.
Status TokenTrie::mark_allowed(Matcher& matcher, bool text_begins, std::span<std::uint64_t> mask) const {
  SEDGE_TRY(const bool asked, walk(matcher, text_begins, mask));
  if (asked) return {};
  matcher.restart();
  SEDGE_CHECK(walk(matcher, text_begins, mask));
  return {};
}

}  // namespace sedge::engine
