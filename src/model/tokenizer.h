// Text to token ids and back. Two families share one merge loop: SentencePiece BPE (llama), which merges by
// score over the whole text and spells the unknown in bytes, and byte-level BPE (gpt-2, llama-3...), which cuts
// text into words first and merges by rank. The loop is a heap over a linked list, O(n log n) whatever the
// text; the textbook loop that rescans for the best pair is O(n²) and a robot must not stall on a megabyte of "a".
// Source: docs/formats/tokenizer.md; Sennrich et al. 2016; Kudo & Richardson 2018; Radford et al. 2019.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/vocab.h"

namespace sedge::model {

struct EncodeOptions {
  bool add_special = true;     // BOS in front and EOS behind, as the vocabulary asks
  bool parse_special = false;  // control tokens spelled in the text become ids: for chat templates (chat_encode.h)
  // Ascending offsets at which no special token begins, whatever the text spells there.
  std::span<const std::size_t> inert = {};
};

class Tokenizer {
 public:
  // Errors: whatever check_vocab finds; Unimplemented (an unknown model or pre-tokenizer): name another file.
  static Result<Tokenizer> make(Vocab vocab);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Any bytes are accepted; what is not UTF-8 is spelled byte by byte. Without byte tokens in the vocabulary
  // (and without an unknown token) what no token spells is dropped.
  // Cost: O(n log n).  Threads: re-entrant, as every const member.
  std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options = {}) const;

  // Where `text` spells a token that steers a conversation, or at its end the beginning of one: ascending offsets.
  // Such are control tokens, and of the shown ones those spelled <|...|>. Cost: O(n).
  std::vector<std::size_t> steering_places(std::string_view text) const;

  // The bytes that a token adds to a running text: nothing for a control token or an id out of range. May end inside
  // a UTF-8 character, and keeps a leading space: a continuation's first word needs it.
  std::string decode_piece(std::int32_t id) const;

  // The text of a whole encoding: as the pieces, without the space that encode put in front.
  // decode(encode(x)) == x for any bytes x where the vocabulary spells all bytes (and, for SentencePiece,
  // x has no U+2581: that character *is* the space there).
  std::string decode(std::span<const std::int32_t> ids) const;

  // End of text or end of turn: generation stops here.
  bool is_end(std::int32_t id) const;

  std::size_t size() const;
  const Vocab& vocab() const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sedge::model
