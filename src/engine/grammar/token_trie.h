// A vocabulary's texts as a tree of bytes, so that a grammar is asked once for what many tokens begin with, and a
// whole branch falls with its first byte. Flat, in the order of a walk: the next node is the first child, or where a
// branch that was refused ends.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/grammar/matcher.h"
#include "model/tokenizer.h"

namespace sedge::engine {

// What asking for a whole vocabulary may cost, in the edges that a matcher looks at for steps not met before: half a
// second. A grammar of JSON spends some thousands.
inline constexpr std::size_t kMaskWorkMax = 1u << 26;

class TokenTrie {
 public:
  // Tokens that add no text (control tokens, end tokens) are left out.
  // Cost: a sort of the vocabulary; some 12 bytes a distinct beginning, 3 MB for 150,000 tokens.
  explicit TokenTrie(const model::Tokenizer& tokenizer);

  // Sets the bit of every token whose bytes may follow the matcher's text; the others are cleared. `text_begins`: a
  // space at a token's beginning is not shown, so it need not be allowed.
  // Requires: mask [words()].  Cost: a load or more a node that is reached.
  // Errors: InvalidArgument: the grammar is too ambiguous: kMaskWorkMax is spent, or nothing may follow and steps were
  //         given up (kWaysMax, kStepWorkMax). The same whatever the matcher has met before.
  Status mark_allowed(Matcher& matcher, bool text_begins, std::span<std::uint64_t> mask) const;

  std::size_t words() const { return words_; }
  std::size_t nodes() const { return nodes_.size() - 1; }

 private:
  struct Node {
    std::uint32_t end;    // the node behind the whole branch
    std::uint32_t first;  // of tokens_ that end here; the next node's is behind the last
    std::uint32_t depth : 24, byte : 8;
  };

  Result<bool> walk(Matcher& matcher, bool text_begins, std::span<std::uint64_t> mask) const;

  std::vector<Node> nodes_;  // one more at the end
  std::vector<std::int32_t> tokens_;
  std::size_t words_ = 0, depth_ = 0;
};

}  // namespace sedge::engine
