// WordPiece, the tokenizer of BERT and of the embedding models after it: text is normalized (control characters
// dropped, lower case, accents off), cut into words at white space, punctuation and Han characters, and each word is
// spelled by the longest token that fits, again and again; a word that cannot be spelled to its end is one unknown
// token. A word begins with a blank here, as in GGUF: BERT's "play" and "##ing" are " play" and "ing", and decoding is
// concatenation.
// Source: Devlin et al. 2018; docs/formats/tokenizer.md §3; where llama.cpp and Hugging Face differ, llama.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sedge::model {

struct WordpieceOptions {
  bool lowercase = true;
  bool strip_accents = true;
};

// The words of `text`, normalized, each with a blank before it. Cost: O(n).
std::vector<std::string> wordpiece_words(std::string_view text, WordpieceOptions options);

}  // namespace sedge::model
