// Guesses what a text says next: what followed the last time its newest tokens stood together, in the prompt or in what
// was generated. Answers quote: code that is edited, names, lists, tables, loops.
//
// A guess costs a look into a table and may be wrong: it is put through the model beside the next token and kept as far
// as the model says the same (generation.h). Where nothing repeats itself only another model can guess: draft_model.h.
// Source: Saxena 2023 (prompt lookup decoding); Leviathan et al. 2023 (verifying guesses in one pass).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace sedge::engine {

class PromptLookup {
 public:
  // Up to `most` tokens that may come after `ids`, which begins with the `ids` of the call before. None where its last
  // two tokens never stood together. Cost: the new tokens, each once; memory: two entries a token.
  std::vector<std::int32_t> guess(std::span<const std::int32_t> ids, std::size_t most);

 private:
  static constexpr std::array<std::size_t, 2> kOrders = {3, 2};  // tokens that must agree: the longer the likelier
  // A hash of the last tokens before a place -> the newest such place. Two that collide make a wrong guess, no more.
  std::array<std::unordered_map<std::uint64_t, std::uint32_t>, kOrders.size()> places_;
  std::size_t indexed_ = 0;  // places that are in the tables
};

}  // namespace sedge::engine
