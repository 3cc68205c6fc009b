// Makes a byte-level BPE vocabulary from text: start from the 256 bytes, join the most frequent pair, again and again.
//
// The problem: counting all pairs anew for every merge costs merges × corpus. The idea: count each distinct word
// once, keep for every pair the words that contain it, and after a merge touch those words only; a heap with lazily
// corrected counts gives the next pair. Ties go to the pair of smaller ids, so the result depends on nothing else.
//
// Digits never merge: a number is spelled digit by digit whatever its neighbours are, which is what lets a small
// model copy numbers that it has never seen. Since the merge list says so by itself, every runtime that knows the
// "gpt-2" pre-tokenizer cuts text the same way. The same holds for `space_alone`: a space then never merges, so that a
// word is the same tokens after a space, after a quotation mark and at the beginning, and to copy it is to repeat them.
// Source: Sennrich et al. 2016; Radford et al. 2019 (bytes, pre-tokenizer).
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/vocab.h"

namespace sedge::train {

struct BpeOptions {
  std::size_t vocab = 1024;  // tokens in all: 2 control, 256 bytes, the rest merges
  std::size_t pair_min = 2;  // a rarer pair is not worth a token: the vocabulary then stays smaller
  bool space_alone = false;
  std::string chat_template;
};

// `for_each_text` calls its argument once for every piece of the corpus.
// Token 0 begins a text (<|begin|>), token 1 ends it (<|end|>), tokens 2..257 are the bytes.
// Errors: InvalidArgument (vocab below 258, or no text).
Result<model::Vocab> train_bpe(const std::function<void(const std::function<void(std::string_view)>&)>& for_each_text,
                               const BpeOptions& options);

// The vocabulary as Hugging Face's two files.
std::string tokenizer_json(const model::Vocab& vocab);
std::string tokenizer_config_json(const model::Vocab& vocab);

}  // namespace sedge::train
