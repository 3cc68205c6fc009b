// Byte-level BPE first cuts a text into words, by regular expressions that the model's makers published, and merges
// never cross a cut. Every expression that we met is a row of a few families of scanners (bpe_cuts.h), so they are
// written out and named in a table; a general regex engine was rejected (backtracking on hostile text, and std::regex
// knows no \p{L}). All are linear in the text.
// Source: docs/formats/tokenizer.md §3.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "model/bpe_cuts.h"

namespace sedge::model {

struct PreTokenizer {
  std::string_view name;      // as in GGUF's tokenizer.ggml.pre
  std::span<const Cut> cuts;  // one after another
  bool whole_words = false;   // a word that is a token is that token, whatever the merges say
  bool add_bos = false;       // what holds where the file does not say
};

// All of them, for a test or a message.
std::span<const PreTokenizer> pre_tokenizers();

// nullptr: not one of ours. An empty name is "default".
const PreTokenizer* find_pre_tokenizer(std::string_view name);

// Their names in one line, for an error message.
std::string_view pre_tokenizer_names();

// Appends the words of `text`; their concatenation is `text`. Gives how many characters were looked at: O(n).
std::size_t split_words(std::string_view text, const PreTokenizer& pre, std::vector<std::string_view>& words);

}  // namespace sedge::model
