// Holds a text to a grammar while it is sampled. Most of the time the token that the sampler would take anyway is
// right, and one walk over its few bytes says so; only when it is not are all tokens asked, and what comes out is kept
// for the grammar's next visit to the same position. Rejected: a mask of the vocabulary at every step, which positions
// that never come back (the 17th of at most 40 characters) make as dear as the model itself. Source: Dong et al. 2024,
// arXiv 2411.15100 (masks kept a position).
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/grammar/matcher.h"
#include "engine/grammar/token_trie.h"
#include "engine/sampler.h"
#include "model/tokenizer.h"

namespace sedge::engine {

inline constexpr std::size_t kMaskBytesKept = 2u << 20;  // 100 masks of a vocabulary of 150,000

class TokenConstraint final : public AllowedTokens {
 public:
  // `text_begins`: the space in front of the first token is not shown.  Requires: the tokenizer outlives this.
  TokenConstraint(const model::Tokenizer& tokenizer, std::shared_ptr<const TokenTrie> trie,
                  std::shared_ptr<const Grammar> grammar, bool text_begins);

  // An end token where the text is whole; any other where its bytes, at least one, may follow.
  bool allows(std::int32_t id) override;
  // Errors: InvalidArgument: the grammar is too ambiguous (token_trie.h).
  Result<std::span<const std::uint64_t>> mask() override;

  // Goes on by what a token added. False: the grammar does not allow it, and nothing changed.
  bool advance(std::string_view bytes);
  // Nothing can follow: the end needs no token.
  bool finished() const { return matcher_.finished(); }

 private:
  struct Kept {
    Matcher::State state;
    std::vector<std::uint64_t> mask;
  };

  const model::Tokenizer* tokenizer_;
  std::shared_ptr<const TokenTrie> trie_;
  Matcher matcher_;
  bool text_begins_;
  std::vector<std::int32_t> ends_;
  std::list<Kept> kept_;  // the latest used in front
  std::unordered_map<Matcher::State, std::list<Kept>::iterator> kept_at_;
  std::uint64_t epoch_ = 0;  // of the matcher's numbers, that kept_ goes by
};

}  // namespace sedge::engine
