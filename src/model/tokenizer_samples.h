// Tiny vocabularies for tests and fuzzing: two that spell every byte, and one of WordPiece.
#pragma once

#include <string>
#include <utility>

#include "model/tokenizer_pieces.h"
#include "model/vocab.h"

namespace sedge::model {

inline void add_token(Vocab& vocab, std::string token, TokenType type = TokenType::kNormal, float score = 0) {
  vocab.tokens.push_back(std::move(token));
  vocab.types.push_back(static_cast<std::int32_t>(type));
  vocab.scores.push_back(score);
}

// Ids: 0..255 the bytes, then the results of the merges, then <|end|> (control) and "  " (user defined).
inline Vocab byte_level_sample(std::string pre = "llama-bpe") {
  Vocab vocab;
  vocab.model = "gpt2";
  vocab.pre = std::move(pre);
  for (int byte = 0; byte < 256; ++byte) add_token(vocab, to_byte_letters(std::string(1, static_cast<char>(byte))));
  const std::pair<const char*, const char*> merges[] = {{"h", "e"},    {"l", "l"},       {"he", "ll"}, {"hell", "o"},
                                                        {" ", "t"},    {" t", "he"},     {"a", "a"},   {"aa", "aa"},
                                                        {"aaaa", "a"}, {"\xc3", "\xa9"}, {"3", "3"},   {"33", "3"}};
  for (const auto& [left, right] : merges) {
    vocab.merges.push_back(to_byte_letters(left) + " " + to_byte_letters(right));
    add_token(vocab, to_byte_letters(std::string(left) + right));
  }
  vocab.eos = static_cast<std::int32_t>(vocab.tokens.size());
  add_token(vocab, "<|end|>", TokenType::kControl);
  add_token(vocab, "  ", TokenType::kUserDefined);
  vocab.scores.clear();
  return vocab;
}

// Ids: <unk>, <s>, </s>, the 256 bytes, then pieces; "<x>" is user defined.
inline Vocab sentencepiece_sample() {
  Vocab vocab;
  vocab.model = "llama";
  vocab.pre = "default";
  vocab.add_bos = vocab.add_space_prefix = true;
  vocab.unk = 0;
  vocab.bos = 1;
  vocab.eos = 2;
  add_token(vocab, "<unk>", TokenType::kUnknown);
  add_token(vocab, "<s>", TokenType::kControl);
  add_token(vocab, "</s>", TokenType::kControl);
  for (int byte = 0; byte < 256; ++byte)
    add_token(vocab, piece_of_byte(static_cast<std::uint8_t>(byte)), TokenType::kByte);
  float score = 0;
  for (const char* piece : {"he", "\xe2\x96\x81t", "ll", "\xe2\x96\x81the", "hell", "aa", "aaaa",
                            "\xe2\x96\x81\xe2\x96\x81", "h", "e", "l", "t", "a", "\xe2\x96\x81", "\xc3\xa9"}) {
    add_token(vocab, piece, TokenType::kNormal, score);
    score -= 1;
  }
  add_token(vocab, "<x>", TokenType::kUserDefined);
  return vocab;
}

// Ids: [PAD], [UNK], [CLS], [SEP], then "play", "i", "##ing".
inline Vocab wordpiece_sample() {
  Vocab vocab;
  vocab.model = "bert";
  for (const char* name : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) add_token(vocab, name, TokenType::kControl);
  for (const char* piece : {"\xe2\x96\x81play", "\xe2\x96\x81i", "ing"}) add_token(vocab, piece);
  vocab.unk = 1;
  vocab.bos = 2;
  vocab.sep = 3;
  vocab.add_bos = vocab.add_sep = true;
  return vocab;
}

}  // namespace sedge::model
