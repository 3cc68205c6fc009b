// A vocabulary as GGUF metadata: tokenizer.ggml.* and tokenizer.chat_template, read and written.
// The keys are those of the GGUF specification, so that other runtimes read what we write. Two of our own carry what
// the specification has no key for; other runtimes pass over them.
#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <utility>

#include "model/bpe_words.h"
#include "model/gguf.h"
#include "model/vocab.h"

namespace sedge::model {

namespace {

constexpr const char* kStripLeft = "sedge.tokenizer.strip_left";
constexpr const char* kStripRight = "sedge.tokenizer.strip_right";

constexpr auto kSteering = std::to_array<std::string_view>({"<|eot_id|>",
                                                            "<|im_end|>",
                                                            "<|end|>",
                                                            "<|return|>",
                                                            "<|call|>",
                                                            "<|flush|>",
                                                            "<|calls|>",
                                                            "<end_of_turn>",
                                                            "<|endoftext|>",
                                                            "</s>",
                                                            "<|eom_id|>",
                                                            "<EOT>",
                                                            "_<EOT>",
                                                            "[EOT]",
                                                            "[EOS]",
                                                            "<|end_of_text|>",
                                                            "<end_of_utterance>",
                                                            "<eos>",
                                                            "<turn|>",
                                                            "<|tool_response>",
                                                            "<\uff5cend\u2581of\u2581sentence\uff5c>",
                                                            "[e~[",
                                                            "<|fim_prefix|>",
                                                            "<fim-prefix>",
                                                            "<fim_prefix>",
                                                            "<\uff5cfim\u2581begin\uff5c>",
                                                            "<PRE>",
                                                            "\u2581<PRE>",
                                                            "<|code_prefix|>",
                                                            "<|prefix|>",
                                                            "<|fim_suffix|>",
                                                            "<fim-suffix>",
                                                            "<fim_suffix>",
                                                            "<\uff5cfim\u2581hole\uff5c>",
                                                            "<SUF>",
                                                            "\u2581<SUF>",
                                                            "<|code_suffix|>",
                                                            "<|suffix|>",
                                                            "<|fim_middle|>",
                                                            "<fim-middle>",
                                                            "<fim_middle>",
                                                            "<\uff5cfim\u2581end\uff5c>",
                                                            "<MID>",
                                                            "\u2581<MID>",
                                                            "<|code_middle|>",
                                                            "<|middle|>",
                                                            "<|fim_pad|>",
                                                            "<fim-pad>",
                                                            "<fim_pad>",
                                                            "<PAD>",
                                                            "[PAD]",
                                                            "<|fim_repo|>",
                                                            "<|repo_name|>",
                                                            "<fim-repo>",
                                                            "<REPO>",
                                                            "<reponame>",
                                                            "<|file_sep|>"});
constexpr auto kHarmony = std::to_array<std::string_view>({"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"});
constexpr auto kAnswerEnds = std::to_array<std::string_view>({"<|return|>", "<|call|>", "<|calls|>", "<|flush|>"});
constexpr auto kKeepSpace = std::to_array<std::string_view>({"<s>", "<unk>", "<|endoftext|>"});

struct IdKey {
  const char* key;
  std::optional<std::int32_t> Vocab::* id;
};
constexpr auto kIds = std::to_array<IdKey>({
    {"tokenizer.ggml.bos_token_id", &Vocab::bos},
    {"tokenizer.ggml.eos_token_id", &Vocab::eos},
    {"tokenizer.ggml.unknown_token_id", &Vocab::unk},
    {"tokenizer.ggml.eot_token_id", &Vocab::eot},
    {"tokenizer.ggml.seperator_token_id", &Vocab::sep},  // spelled so in every file
});

struct FlagKey {
  const char* key;
  bool Vocab::* flag;
};
constexpr auto kFlags = std::to_array<FlagKey>({
    {"tokenizer.ggml.add_bos_token", &Vocab::add_bos},
    {"tokenizer.ggml.add_eos_token", &Vocab::add_eos},
    {"tokenizer.ggml.add_space_prefix", &Vocab::add_space_prefix},
    {"tokenizer.ggml.add_sep_token", &Vocab::add_sep},
    {"tokenizer.ggml.normalizer.lowercase", &Vocab::lowercase},
    {"tokenizer.ggml.normalizer.strip_accents", &Vocab::strip_accents},
});

// Some converters write 2^32 - 1 for a token that there is not.
Status read_ids(const GgufFile& file, Vocab& vocab) {
  constexpr std::uint64_t kNone = std::numeric_limits<std::uint32_t>::max();
  for (const IdKey& row : kIds) {
    if (!file.has(row.key)) continue;
    SEDGE_TRY(const std::uint64_t id, file.get_uint(row.key));
    if (id == kNone) {
      (vocab.*row.id).reset();  // the default too
      continue;
    }
    if (id >= vocab.tokens.size()) {
      return fail(Code::kInvalidArgument, "{} is {}, the vocabulary has {} tokens", row.key, id, vocab.tokens.size());
    }
    vocab.*row.id = static_cast<std::int32_t>(id);
  }
  return {};
}

Result<std::vector<std::int32_t>> read_int32s(const GgufFile& file, std::string_view key) {
  std::vector<std::int32_t> narrow;
  if (!file.has(key)) return narrow;
  SEDGE_TRY(const std::vector<std::int64_t> wide, file.get_ints(key));
  narrow.reserve(wide.size());
  for (const std::int64_t value : wide) {
    if (!std::in_range<std::int32_t>(value)) return fail(Code::kInvalidArgument, "{} holds {}", key, value);
    narrow.push_back(static_cast<std::int32_t>(value));
  }
  return narrow;
}

// What holds where the file does not say. WordPiece files leave out ids that BERT always had.
void set_defaults(Vocab& vocab) {
  const bool sentencepiece = vocab.model == "llama", wordpiece = vocab.model == "bert";
  const PreTokenizer* pre = vocab.model == "gpt2" ? find_pre_tokenizer(vocab.pre) : nullptr;
  vocab.add_space_prefix = sentencepiece;
  vocab.add_bos = sentencepiece || wordpiece || (pre != nullptr && pre->add_bos);
  vocab.add_sep = wordpiece;
  if (!wordpiece) return;
  constexpr std::int32_t kUnk = 100, kCls = 101, kSep = 102;
  if (vocab.tokens.size() <= kSep) return;
  vocab.unk = kUnk;
  vocab.bos = kCls;
  vocab.sep = kSep;
}

// Tokens that steer a conversation, whatever type their file gives them: a user's text must not contain one. Four of a
// harmony vocabulary are shown instead, and its <|end|> ends a message, not the answer. As llama.cpp has it.
void retype(Vocab& vocab) {
  std::array<bool, kAnswerEnds.size()> seen{};
  const auto set = [&](std::size_t id, TokenType type) {
    if (vocab.types.empty()) vocab.types.assign(vocab.tokens.size(), static_cast<std::int32_t>(TokenType::kNormal));
    vocab.types[id] = static_cast<std::int32_t>(type);
  };
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string& token = vocab.tokens[id];
    if (std::ranges::find(kSteering, token) != kSteering.end()) set(id, TokenType::kControl);
    if (std::ranges::find(kHarmony, token) != kHarmony.end()) set(id, TokenType::kUserDefined);
    for (std::size_t i = 0; i < seen.size(); ++i) seen[i] = seen[i] || token == kAnswerEnds[i];
  }
  const auto [returns, call, calls, flush] = seen;
  if (!(returns && call) && !((call || calls) && flush)) return;
  const auto end = std::ranges::find(vocab.tokens, "<|end|>");
  if (end != vocab.tokens.end()) set(static_cast<std::size_t>(end - vocab.tokens.begin()), TokenType::kUserDefined);
}

// Two things of Phi-3 and Jina models that their files do not say: which special tokens swallow white space.
Status read_stripping(const GgufFile& file, Vocab& vocab) {
  SEDGE_TRY(vocab.strip_left, read_int32s(file, kStripLeft));
  SEDGE_TRY(vocab.strip_right, read_int32s(file, kStripRight));
  std::string name;
  if (file.has("general.name")) {
    SEDGE_TRY(name, file.get_string("general.name"));
  }
  std::ranges::transform(name, name.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const bool phi3 = name.contains("phi-3") || name.contains("phi3");
  const bool jina = vocab.pre.starts_with("jina-v2-");
  if ((!phi3 && !jina) || !vocab.strip_left.empty() || !vocab.strip_right.empty()) return {};
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    const TokenType type = vocab.type(i);
    const bool special = type == TokenType::kControl || type == TokenType::kUserDefined || type == TokenType::kUnknown;
    const bool kept = std::ranges::find(kKeepSpace, vocab.tokens[i]) != kKeepSpace.end();
    if (phi3 && special && !kept) vocab.strip_right.push_back(static_cast<std::int32_t>(i));
    if (jina && vocab.tokens[i] == "<mask>") vocab.strip_left.push_back(static_cast<std::int32_t>(i));
  }
  return {};
}

Result<Vocab> read_vocab(const GgufFile& file) {
  Vocab vocab;
  SEDGE_TRY(vocab.model, file.get_string("tokenizer.ggml.model"));
  if (file.has("tokenizer.ggml.pre")) {
    SEDGE_TRY(vocab.pre, file.get_string("tokenizer.ggml.pre"));
  }
  SEDGE_TRY(vocab.tokens, file.get_strings("tokenizer.ggml.tokens"));
  if (file.has("tokenizer.ggml.scores")) {
    SEDGE_TRY(vocab.scores, file.get_floats("tokenizer.ggml.scores"));
  }
  if (file.has("tokenizer.ggml.merges")) {
    SEDGE_TRY(vocab.merges, file.get_strings("tokenizer.ggml.merges"));
  }
  SEDGE_TRY(vocab.types, read_int32s(file, "tokenizer.ggml.token_type"));
  set_defaults(vocab);
  for (const FlagKey& row : kFlags) {
    if (!file.has(row.key)) continue;
    SEDGE_TRY(vocab.*row.flag, file.get_bool(row.key));
  }
  if (file.has("tokenizer.chat_template")) {
    SEDGE_TRY(vocab.chat_template, file.get_string("tokenizer.chat_template"));
  }
  SEDGE_CHECK(read_ids(file, vocab));
  if (!file.has("tokenizer.ggml.normalizer.strip_accents")) vocab.strip_accents = vocab.lowercase;
  SEDGE_CHECK(check_vocab(vocab));
  retype(vocab);
  SEDGE_CHECK(read_stripping(file, vocab));
  return vocab;
}

}  // namespace

Result<Vocab> vocab_from_gguf(const GgufFile& file) {
  auto vocab = read_vocab(file);
  if (!vocab) return in_context("tokenizer", std::move(vocab).error());
  return vocab;
}

void write_vocab(GgufWriter& writer, const Vocab& vocab) {
  writer.set("tokenizer.ggml.model", vocab.model);
  writer.set("tokenizer.ggml.pre", vocab.pre.empty() ? std::string("default") : vocab.pre);
  writer.set("tokenizer.ggml.tokens", std::span<const std::string>(vocab.tokens));
  if (!vocab.scores.empty()) writer.set("tokenizer.ggml.scores", std::span<const float>(vocab.scores));
  if (!vocab.types.empty()) writer.set("tokenizer.ggml.token_type", std::span<const std::int32_t>(vocab.types));
  if (!vocab.merges.empty()) writer.set("tokenizer.ggml.merges", std::span<const std::string>(vocab.merges));
  for (const IdKey& row : kIds) {
    if (const auto id = vocab.*row.id) writer.set(row.key, static_cast<std::uint32_t>(*id));
  }
  for (const FlagKey& row : kFlags) {
    const bool of_wordpiece =
        row.flag == &Vocab::add_sep || row.flag == &Vocab::lowercase || row.flag == &Vocab::strip_accents;
    if (!of_wordpiece || vocab.model == "bert") writer.set(row.key, vocab.*row.flag);
  }
  for (const auto& [key, ids] : {std::pair(kStripLeft, &vocab.strip_left), {kStripRight, &vocab.strip_right}}) {
    if (!ids->empty()) writer.set(key, std::span<const std::int32_t>(*ids));
  }
  if (!vocab.chat_template.empty()) writer.set("tokenizer.chat_template", vocab.chat_template);
}

}  // namespace sedge::model
