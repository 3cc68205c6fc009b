// Byte-level BPE first cuts a text into words, by a regular expression that the model's makers published, and
// merges never cross a cut. Two families of expressions cover the models that we read, so they are written out
// as two scanners and a table of names; a general regex engine was rejected (backtracking on hostile text, and
// std::regex knows no \p{L}). Both scanners look at each character a bounded number of times.
// Source: docs/formats/tokenizer.md §3.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace sedge::model {

enum class WordRule : std::uint8_t {
  kGpt2,    // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  kLlama3,  // (?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
};

struct PreTokenizer {
  std::string_view name;  // as in GGUF's tokenizer.ggml.pre
  WordRule rule;
  std::uint8_t digits;       // kLlama3: the longest run of digits in a word; kGpt2: 1 cuts digits out first, 0 not
  bool whole_words = false;  // a word that is a token is that token, whatever the merges say
  bool add_bos = false;      // what holds where the file does not say
};

// nullptr: not one of ours. An empty name and "default" are gpt-2's.
const PreTokenizer* find_pre_tokenizer(std::string_view name);

// The names that find_pre_tokenizer knows, for an error message.
std::string_view pre_tokenizer_names();

// Appends the words of `text`; their concatenation is `text`. Cost: O(n).
void split_words(std::string_view text, const PreTokenizer& pre, std::vector<std::string_view>& words);

}  // namespace sedge::model
