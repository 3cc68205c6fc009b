// llama2.c's tok.bin: the longest length, then score, length and text of every token, little-endian.
// It keeps SentencePiece's pieces with spaces in clear, names no types, and spells BOS and EOS with line ends around;
// what the types are follows from the convention that ids 0 to 2 are <unk>, <s>, </s> and bytes come next.
// Grammar: docs/formats/tokenizer.md §5.
#include <bit>
#include <utility>

#include "model/tokenizer_pieces.h"
#include "model/vocab.h"

namespace sedge::model {

namespace {

std::uint32_t little32(Bytes four) {
  return four[0] | std::uint32_t{four[1]} << 8 | std::uint32_t{four[2]} << 16 | std::uint32_t{four[3]} << 24;
}

Result<Vocab> read_tokens(Bytes file, std::size_t vocab_size) {
  constexpr std::size_t kHeader = 4, kEntry = 8;
  Vocab vocab;
  vocab.model = "llama";
  vocab.pre = "default";
  if (file.size() < kHeader) return fail(Code::kOutOfRange, "max_token_length at offset 0: the file ends");
  std::size_t at = kHeader;
  while (at < file.size() && (vocab_size == 0 || vocab.tokens.size() < vocab_size)) {
    const std::size_t id = vocab.tokens.size();
    if (file.size() - at < kEntry) return fail(Code::kOutOfRange, "token {} at offset {}: the file ends", id, at);
    const float score = std::bit_cast<float>(little32(file.subspan(at, 4)));
    const std::uint32_t bytes = little32(file.subspan(at + 4, 4));
    at += kEntry;
    if (bytes > file.size() - at) {
      return fail(Code::kOutOfRange, "token {} at offset {}: {} bytes announced, {} are left", id, at, bytes,
                  file.size() - at);
    }
    if (id == kVocabTokensMax) return fail(Code::kResourceExhausted, "more than {} tokens", kVocabTokensMax);
    const std::string_view text = as_text(file.subspan(at, bytes));
    const TokenType type = id == 0               ? TokenType::kUnknown
                           : id <= 2             ? TokenType::kControl
                           : byte_of_piece(text) ? TokenType::kByte
                                                 : TokenType::kNormal;
    vocab.tokens.push_back(to_sentencepiece_spaces(text));
    vocab.scores.push_back(score);
    vocab.types.push_back(static_cast<std::int32_t>(type));
    at += bytes;
  }
  return vocab;
}

}  // namespace

Result<Vocab> vocab_from_llama2c(Bytes file, std::size_t vocab_size) {
  auto vocab = read_tokens(file, vocab_size);
  if (!vocab) return in_context("tok.bin", std::move(vocab).error());
  if (vocab_size > 0 && vocab->tokens.size() != vocab_size) {
    return fail(Code::kInvalidArgument, "tok.bin: {} tokens, the checkpoint has {}", vocab->tokens.size(), vocab_size);
  }
  constexpr std::size_t kReserved = 3;
  if (vocab->tokens.size() < kReserved) return fail(Code::kInvalidArgument, "tok.bin: fewer than {} tokens", kReserved);
  vocab->tokens[1] = "<s>";  // the file wraps both in line ends
  vocab->tokens[2] = "</s>";
  vocab->unk = 0;
  vocab->bos = 1;
  vocab->eos = 2;
  vocab->add_bos = true;
  vocab->add_space_prefix = true;
  if (Status status = check_vocab(*vocab); !status) return in_context("tok.bin", std::move(status).error());
  return vocab;
}

}  // namespace sedge::model
