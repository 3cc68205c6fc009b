// How tokens are spelled in a vocabulary, and what bytes they mean. SentencePiece writes a space as U+2581 and one
// byte as "<0x41>"; byte-level BPE writes every byte as a visible letter (GPT-2's alphabet of 256). Everything past
// this point works on the meant bytes, so that both families share one encoder and decoding is concatenation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/vocab.h"

namespace sedge::model {

// The byte that "<0x41>" means; nothing for any other spelling.
std::optional<std::uint8_t> byte_of_piece(std::string_view spelled);

// The spelling of a byte as a token: "<0x0A>".
std::string piece_of_byte(std::uint8_t byte);

// The letters that stand for `bytes` in GPT-2's alphabet, and back. What is not in the alphabet means itself.
std::string to_byte_letters(std::string_view bytes);
std::string from_byte_letters(std::string_view letters);

// U+2581 to spaces and back.
std::string to_sentencepiece_spaces(std::string_view text);
std::string from_sentencepiece_spaces(std::string_view piece);

// The bytes that token `id` of `vocab` means. Special tokens mean their name here; whether they are shown is
// the tokenizer's affair. Requires: id < vocab.tokens.size().
std::string token_bytes(const Vocab& vocab, std::size_t id);

}  // namespace sedge::model
