// A vocabulary: the tokens of a model and how text is cut into them. Four file formats (GGUF metadata,
// Hugging Face tokenizer.json, SentencePiece tokenizer.model, llama2.c tok.bin) end in this one struct, so
// that a tokenizer, an importer and a writer meet in one place. One class hierarchy per format was rejected:
// the formats differ in spelling, not in meaning.
// Source: docs/formats/tokenizer.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace sedge::model {

class GgufFile;
class GgufWriter;

// The numbers are those of GGUF's tokenizer.ggml.token_type and of SentencePiece's piece types.
enum class TokenType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // <s>, <|eot_id|>: never made from plain text, never shown
  kUserDefined = 4,  // cut out of any text before the merges run, and shown
  kUnused = 5,
  kByte = 6,  // "<0x41>": one byte, for what no other token spells
};

inline constexpr std::size_t kVocabTokensMax = 1u << 21;   // the largest known has 262,144
inline constexpr std::size_t kTokenBytesMax = 1u << 16;    // the longest known has 1,024 (a run of spaces)
inline constexpr std::size_t kSpecialTokenBytesMax = 512;  // bounds the scan for the longest one: O(512·n)

struct Vocab {
  std::string model = "llama";      // "llama": SentencePiece BPE; "gpt2": byte-level BPE; "bert": WordPiece
  std::string pre;                  // pre-tokenizer of "gpt2" by its GGUF name: "gpt-2", "llama-bpe", "qwen2"...
  std::vector<std::string> tokens;  // as in GGUF: a space is U+2581, before words too; gpt2 spells bytes as letters
  std::vector<float> scores;        // "llama": the higher, the earlier the merge; empty or one a token
  std::vector<std::int32_t> types;  // TokenType; empty (all normal) or one a token
  std::vector<std::string> merges;  // "left right", best first; where "llama" has them they replace the scores
  std::vector<std::int32_t> strip_left, strip_right;  // special tokens that swallow the white space beside them
  std::optional<std::int32_t> bos, eos, unk, eot, sep;
  bool add_bos = false;
  bool add_eos = false;
  bool add_sep = false;           // "bert": sep behind a text, as eos is
  bool add_space_prefix = false;  // a space before text, taken off again by decode
  bool lowercase = true;          // "bert": what is done to a text first
  bool strip_accents = true;
  std::string chat_template;  // Jinja, empty when the file has none

  TokenType type(std::size_t id) const {
    return types.empty() ? TokenType::kNormal : static_cast<TokenType>(types[id]);
  }
};

// Holds a vocabulary to what the rest relies on: sizes agree, ids are in range, lengths are bounded, types known.
// Every loader ends with it. Errors: InvalidArgument, ResourceExhausted, naming the token: refuse the file.
Status check_vocab(const Vocab& vocab);

// The readers. Each is total: any bytes give a vocabulary that check_vocab accepts, or an error that names the
// field and, where the format has one, the offset.

// GGUF metadata tokenizer.ggml.* and tokenizer.chat_template; and the same written.
Result<Vocab> vocab_from_gguf(const GgufFile& file);
void write_vocab(GgufWriter& writer, const Vocab& vocab);

// Hugging Face tokenizer.json. `config` is the text of tokenizer_config.json beside it, empty when absent:
// it names bos and eos, says whether they are added, and holds the chat template.
// Errors also: Unimplemented (a Unigram model, an unknown pre-tokenizer or normalizer).
Result<Vocab> vocab_from_tokenizer_json(std::string_view text, std::string_view config = {});

// What tokenizer_config.json alone says (chat template, add_bos_token...), laid over a vocabulary from
// tokenizer.model. Tokens that it names must exist in the vocabulary.
Status apply_tokenizer_config(Vocab& vocab, std::string_view config);

// SentencePiece tokenizer.model (a protobuf). Errors also: Unimplemented (Unigram, a normalizer other than identity).
Result<Vocab> vocab_from_sentencepiece(Bytes file);

// llama2.c tok.bin. The file does not say how many tokens it has: `vocab_size` comes from the checkpoint;
// 0 takes all that are there.
Result<Vocab> vocab_from_llama2c(Bytes file, std::size_t vocab_size = 0);

}  // namespace sedge::model
