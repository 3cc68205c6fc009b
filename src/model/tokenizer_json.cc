// Hugging Face tokenizer.json: a pipeline (normalizer, pre-tokenizer, model, post-processor, decoder) described in
// JSON. Sedge has two pipelines, so reading is recognising: each stage is held against what the two can do, and what
// they cannot is refused by name. Running the described pipeline generally was rejected: it needs a regex engine and
// a Unicode normalizer to serve combinations that no Llama-family model uses.
// Source: docs/formats/tokenizer.md §2.
#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "base/json.h"
#include "model/bpe_words.h"
#include "model/tokenizer_pieces.h"
#include "model/vocab.h"

namespace sedge::model {

namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";
constexpr float kNeverMerged = -1e9f;  // for runtimes that merge by score: after everything that a merge makes

std::string_view view(const json::Value& value) {
  const auto* text = value.if_string();
  return text != nullptr ? std::string_view(text->data(), text->size()) : std::string_view();
}

std::string_view text_of(const json::Object& object, std::string_view key) {
  const json::Value* value = object.if_contains(key);
  return value != nullptr ? view(*value) : std::string_view();
}

bool flag_of(const json::Object& object, std::string_view key, bool otherwise = false) {
  const json::Value* value = object.if_contains(key);
  return value != nullptr && value->is_bool() ? value->get_bool() : otherwise;
}

// A stage is null, one step, or {"type": "Sequence", <list>: [steps]}.
Result<std::vector<const json::Object*>> steps_of(const json::Object& root, std::string_view stage,
                                                  std::string_view list) {
  std::vector<const json::Object*> steps;
  const json::Value* value = root.if_contains(stage);
  if (value == nullptr || value->is_null()) return steps;
  SEDGE_TRY(const json::Object* step, json::as_object(*value, stage));
  if (text_of(*step, "type") != "Sequence") return std::vector{step};
  const json::Value* inner = step->if_contains(list);
  if (inner == nullptr || !inner->is_array()) {
    return fail(Code::kInvalidArgument, "{}.{} is not an array", stage, list);
  }
  for (const json::Value& each : inner->get_array()) {
    SEDGE_TRY(const json::Object* one, json::as_object(each, stage));
    steps.push_back(one);
  }
  return steps;
}

// The published expressions, each as the files spell it, one split after another; and what two other steps stand for.
#define SEDGE_CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define SEDGE_SPACES R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define SEDGE_LLAMA3(digits) \
  SEDGE_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)" digits R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)" SEDGE_SPACES
#define SEDGE_CASED(ending, digits)                                                                    \
  R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)" ending             \
  R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)" ending "|" digits \
  R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)" SEDGE_SPACES
constexpr std::string_view kDigits = "digits";
constexpr std::string_view kGpt2Regex = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct KnownSplits {
  std::string_view pre;
  std::array<std::string_view, 3> regexes;  // the rest empty
};
constexpr auto kKnownSplits = std::to_array<KnownSplits>({
    {"gpt-2", {kGpt2Regex}},
    {"gpt-2", {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"}},
    {"starcoder", {kDigits, kGpt2Regex}},
    {"llama-bpe", {SEDGE_LLAMA3(R"(\p{N}{1,3})")}},
    {"smaug-bpe", {SEDGE_LLAMA3(R"(\p{N}{1,3})")}},
    {"qwen2", {SEDGE_LLAMA3(R"(\p{N})")}},
    {"qwen35",
     {SEDGE_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" SEDGE_SPACES}},
    {"seed-coder", {SEDGE_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+)" SEDGE_SPACES}},
    {"tekken", {SEDGE_CASED("", R"(\p{N})")}},
    {"gpt-4o", {SEDGE_CASED(SEDGE_CONTRACTIONS "?", R"(\p{N}{1,3})")}},
    {"deepseek-v3",
     {R"(\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
      R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^)"
      "\r\n"
      R"(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[)"
      "\r\n"
      R"(]*|\s*[)"
      "\r\n"
      R"(]+|\s+(?!\S)|\s+)"}},
});
#undef SEDGE_CASED
#undef SEDGE_LLAMA3
#undef SEDGE_SPACES
#undef SEDGE_CONTRACTIONS

// The pre-tokenizer of those splits, if it looks words up whole as the file asks.
Result<std::string> pre_of_splits(const std::vector<std::string_view>& regexes, bool whole_words) {
  for (const KnownSplits& known : kKnownSplits) {
    const auto end = std::ranges::find(known.regexes, std::string_view());
    if (!std::ranges::equal(known.regexes.begin(), end, regexes.begin(), regexes.end())) continue;
    if (find_pre_tokenizer(known.pre)->whole_words == whole_words) return std::string(known.pre);
  }
  const std::string_view last = regexes.back();
  return fail(Code::kUnimplemented, "pre_tokenizer splits by an expression that is not known ('{}'); known: {}",
              last.substr(0, 120), pre_tokenizer_names());
}

// Reads one file into one Vocab; the parts share the root.
class TokenizerJson {
 public:
  explicit TokenizerJson(const json::Object& root) : root_(root) {}

  Result<Vocab> read() {
    SEDGE_TRY(const json::Value* model, json::member(root_, "model"));
    SEDGE_TRY(model_, json::as_object(*model, "model"));
    const std::string_view type = text_of(*model_, "type");
    if (type == "WordPiece") return read_wordpiece();
    if (type != "BPE" && !(type.empty() && model_->contains("merges"))) {
      return fail(Code::kUnimplemented, "model.type is '{}': only BPE and WordPiece are read", type);
    }
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!text_of(*model_, affix).empty()) return fail(Code::kUnimplemented, "model.{} is not supported", affix);
    }
    SEDGE_CHECK(read_pipeline());
    SEDGE_CHECK(read_tokens());
    SEDGE_CHECK(read_added());
    SEDGE_CHECK(read_merges());
    SEDGE_CHECK(read_post_processor());
    return std::move(vocab_);
  }

 private:
  Result<Vocab> read_wordpiece() {
    vocab_.model = "bert";
    if (const std::string_view mark = text_of(*model_, "continuing_subword_prefix"); !mark.empty() && mark != "##") {
      return fail(Code::kUnimplemented, "model.continuing_subword_prefix is '{}': only ## is read", mark);
    }
    SEDGE_TRY(const auto steps, steps_of(root_, "pre_tokenizer", "pretokenizers"));
    for (const json::Object* step : steps) {
      if (text_of(*step, "type") == "BertPreTokenizer") continue;
      return fail(Code::kUnimplemented, "pre_tokenizer '{}' is not supported with WordPiece", text_of(*step, "type"));
    }
    SEDGE_CHECK(read_bert_normalizer());
    SEDGE_CHECK(read_tokens());
    SEDGE_CHECK(read_added());
    spell_as_gguf();
    SEDGE_CHECK(read_post_processor());
    vocab_.sep = std::exchange(vocab_.eos, std::nullopt);
    vocab_.add_sep = std::exchange(vocab_.add_eos, false);
    return std::move(vocab_);
  }

  // lowercase is on unless said; strip_accents, unless said, is what lowercase is.
  Status read_bert_normalizer() {
    SEDGE_TRY(const auto steps, steps_of(root_, "normalizer", "normalizers"));
    if (steps.empty()) return fail(Code::kUnimplemented, "WordPiece without a BertNormalizer is not supported");
    for (const json::Object* step : steps) {
      if (text_of(*step, "type") != "BertNormalizer" || !flag_of(*step, "clean_text", true) ||
          !flag_of(*step, "handle_chinese_chars", true)) {
        return fail(Code::kUnimplemented, "normalizer '{}' is not supported with WordPiece, or not as it is set",
                    text_of(*step, "type"));
      }
      vocab_.lowercase = flag_of(*step, "lowercase", true);
      vocab_.strip_accents = flag_of(*step, "strip_accents", vocab_.lowercase);
    }
    return {};
  }

  // "##ing" is "ing" in GGUF, and "play" has a space before it.
  void spell_as_gguf() {
    const std::string_view unknown = text_of(*model_, "unk_token");
    for (std::size_t id = 0; id < vocab_.tokens.size(); ++id) {
      std::string& token = vocab_.tokens[id];
      if (token == unknown) vocab_.unk = static_cast<std::int32_t>(id);
      if (vocab_.type(id) == TokenType::kNormal) {
        token = token.starts_with("##") ? token.substr(2) : std::string(kSpaceMark) + token;
      }
    }
  }

  Status read_pipeline() {
    SEDGE_TRY(const auto steps, steps_of(root_, "pre_tokenizer", "pretokenizers"));
    bool byte_level = false;
    std::vector<std::string_view> splits;
    for (const json::Object* step : steps) {
      const std::string_view type = text_of(*step, "type");
      if (type == "ByteLevel") {
        byte_level = true;
        vocab_.add_space_prefix = flag_of(*step, "add_prefix_space", true);
        if (flag_of(*step, "use_regex", true)) splits.push_back(kGpt2Regex);
      } else if (type == "Split") {
        SEDGE_CHECK(read_split(*step, splits));
      } else if (type == "Digits" && flag_of(*step, "individual_digits")) {
        splits.push_back(kDigits);
      } else if (type == "Metaspace") {
        const std::string_view scheme = text_of(*step, "prepend_scheme");
        vocab_.add_space_prefix = scheme.empty() ? flag_of(*step, "add_prefix_space", true) : scheme != "never";
      } else {
        return fail(Code::kUnimplemented, "pre_tokenizer '{}' is not supported", type);
      }
    }
    vocab_.model = byte_level ? "gpt2" : "llama";
    if (!byte_level && !splits.empty()) {
      return fail(Code::kUnimplemented, "pre_tokenizer splits words, but not into bytes");
    }
    if (byte_level && splits.empty()) return fail(Code::kUnimplemented, "pre_tokenizer ByteLevel without a split");
    vocab_.pre = "default";
    if (byte_level) {
      SEDGE_TRY(vocab_.pre, pre_of_splits(splits, flag_of(*model_, "ignore_merges")));
    }
    return read_normalizer();
  }

  // {"pattern": {"Regex": ...} or {"String": ...}}. A split at spaces follows a normalizer that left none.
  static Status read_split(const json::Object& step, std::vector<std::string_view>& splits) {
    SEDGE_TRY(const json::Value* value, json::member(step, "pattern"));
    SEDGE_TRY(const json::Object* pattern, json::as_object(*value, "pre_tokenizer.pattern"));
    if (text_of(*pattern, "String") == " ") return {};
    splits.push_back(text_of(*pattern, "Regex"));
    return {};
  }

  // Byte-level files may ask for NFC; text nearly always is, and the ids of other text differ, so it is passed over.
  Status read_normalizer() {
    SEDGE_TRY(const auto steps, steps_of(root_, "normalizer", "normalizers"));
    for (const json::Object* step : steps) {
      const std::string_view type = text_of(*step, "type");
      const json::Value* pattern = step->if_contains("pattern");
      const bool byte_level = vocab_.model == "gpt2";
      if (type == "NFC" && byte_level) continue;
      if (type == "Prepend" && !byte_level && text_of(*step, "prepend") == kSpaceMark) {
        vocab_.add_space_prefix = true;
      } else if (type == "Replace" && !byte_level && pattern != nullptr && pattern->is_object() &&
                 text_of(pattern->get_object(), "String") == " " && text_of(*step, "content") == kSpaceMark) {
        continue;  // what our SentencePiece pipeline does anyway
      } else {
        return fail(Code::kUnimplemented, "normalizer '{}' is not supported here", type);
      }
    }
    return {};
  }

  // Ids may have gaps (a padded embedding); a file of few tokens and one huge id does not make us fill the space
  // between.
  Status place(std::uint64_t id, std::string_view token, TokenType type, std::uint64_t entries) {
    if (id >= kVocabTokensMax || id > 2 * entries + 1024) {
      return fail(Code::kInvalidArgument, "token '{}' has id {} in a vocabulary of {}", token, id, entries);
    }
    const auto index = static_cast<std::size_t>(id);
    while (vocab_.tokens.size() <= index) {
      vocab_.tokens.push_back(fmt::format("[PAD{}]", vocab_.tokens.size()));
      vocab_.types.push_back(static_cast<std::int32_t>(TokenType::kUnused));
    }
    vocab_.tokens[index] = token;
    vocab_.types[index] = static_cast<std::int32_t>(type);
    return {};
  }

  Status read_tokens() {
    SEDGE_TRY(const json::Value* value, json::member(*model_, "vocab"));
    SEDGE_TRY(const json::Object* tokens, json::as_object(*value, "model.vocab"));
    const bool bytes = vocab_.model == "llama" && flag_of(*model_, "byte_fallback");
    const std::string_view unknown = text_of(*model_, "unk_token");
    for (const auto& entry : *tokens) {
      const std::string_view token(entry.key().data(), entry.key().size());
      if (!entry.value().is_int64() || entry.value().get_int64() < 0) {
        return fail(Code::kInvalidArgument, "model.vocab: the id of '{}' is not a count", token);
      }
      const auto id = static_cast<std::uint64_t>(entry.value().get_int64());
      if (id < vocab_.types.size() && vocab_.type(id) != TokenType::kUnused) {
        return fail(Code::kInvalidArgument, "model.vocab: '{}' and '{}' have id {}", vocab_.tokens[id], token, id);
      }
      const TokenType type = bytes && byte_of_piece(token) ? TokenType::kByte : TokenType::kNormal;
      SEDGE_CHECK(place(id, token, type, tokens->size()));
      if (vocab_.model == "llama" && !unknown.empty() && token == unknown) {
        vocab_.unk = static_cast<std::int32_t>(id);
        vocab_.types[id] = static_cast<std::int32_t>(TokenType::kUnknown);
      }
    }
    return {};
  }

  Status read_added() {
    const json::Value* value = root_.if_contains("added_tokens");
    if (value == nullptr || !value->is_array()) return {};
    const json::Array& added = value->get_array();
    const std::uint64_t entries = vocab_.tokens.size() + added.size();
    for (const json::Value& each : added) {
      SEDGE_TRY(const json::Object* token, json::as_object(each, "added_tokens"));
      SEDGE_TRY(const std::uint64_t id, json::get_uint(*token, "id"));
      SEDGE_TRY(const std::string content, json::get_string(*token, "content"));
      if (flag_of(*token, "single_word")) {
        return fail(Code::kUnimplemented, "added token '{}' is a single_word", content);
      }
      if (id < vocab_.tokens.size() && vocab_.type(id) != TokenType::kUnused && vocab_.tokens[id] != content) {
        return fail(Code::kInvalidArgument, "added token '{}' has the id of '{}', {}", content, vocab_.tokens[id], id);
      }
      if (id < vocab_.tokens.size() && vocab_.type(id) == TokenType::kUnknown) continue;
      const TokenType type = flag_of(*token, "special") ? TokenType::kControl : TokenType::kUserDefined;
      SEDGE_CHECK(place(id, content, type, entries));
      if (flag_of(*token, "lstrip")) vocab_.strip_left.push_back(static_cast<std::int32_t>(id));
      if (flag_of(*token, "rstrip")) vocab_.strip_right.push_back(static_cast<std::int32_t>(id));
    }
    return {};
  }

  // A merge is "left right" or, in newer files, ["left", "right"].
  static Result<std::string> merge_text(const json::Value& merge, std::size_t index) {
    if (merge.is_string()) return std::string(view(merge));
    if (merge.is_array() && merge.get_array().size() == 2) {
      const std::string_view left = view(merge.get_array()[0]), right = view(merge.get_array()[1]);
      const bool spaced = left.contains(' ') || right.contains(' ');
      if (!left.empty() && !right.empty() && !spaced) return fmt::format("{} {}", left, right);
    }
    return fail(Code::kInvalidArgument, "model.merges[{}] is not two tokens without spaces", index);
  }

  // Other runtimes know SentencePiece models by scores alone, so the order of the merges is written as scores too.
  Status read_merges() {
    SEDGE_TRY(const json::Value* value, json::member(*model_, "merges"));
    if (!value->is_array()) return fail(Code::kInvalidArgument, "model.merges is not an array");
    for (const json::Value& merge : value->get_array()) {
      SEDGE_TRY(std::string text, merge_text(merge, vocab_.merges.size()));
      vocab_.merges.push_back(std::move(text));
    }
    if (vocab_.model == "gpt2") return {};
    std::unordered_map<std::string_view, std::size_t> ids;
    for (std::size_t id = 0; id < vocab_.tokens.size(); ++id) ids.emplace(vocab_.tokens[id], id);
    vocab_.scores.assign(vocab_.tokens.size(), kNeverMerged);
    for (std::size_t i = vocab_.merges.size(); i-- > 0;) {  // backwards: the best merge of a token has the last word
      std::string made = vocab_.merges[i];
      if (const std::size_t space = made.find(' ', 1); space != std::string::npos) made.erase(space, 1);
      if (const auto found = ids.find(made); found != ids.end()) {
        vocab_.scores[found->second] = -static_cast<float>(i);
      }
    }
    return {};
  }

  // What is put around a text: at most one token on each side, before and after the sequence.
  Status read_post_processor() {
    SEDGE_TRY(const auto steps, steps_of(root_, "post_processor", "processors"));
    for (const json::Object* step : steps) {
      const std::string_view type = text_of(*step, "type");
      if (type == "ByteLevel") continue;  // offsets only
      if (type == "BertProcessing") {
        SEDGE_CHECK(read_bert_ends(*step));
        continue;
      }
      if (type != "TemplateProcessing") return fail(Code::kUnimplemented, "post_processor '{}' is not supported", type);
      SEDGE_TRY(const json::Value* single, json::member(*step, "single"));
      if (!single->is_array()) return fail(Code::kInvalidArgument, "post_processor.single is not an array");
      SEDGE_CHECK(read_template(single->get_array()));
    }
    return {};
  }

  // {"cls": ["[CLS]", 101], "sep": ["[SEP]", 102]}
  Status read_bert_ends(const json::Object& step) {
    for (const bool after : {false, true}) {
      const json::Value* pair = step.if_contains(after ? "sep" : "cls");
      const bool named = pair != nullptr && pair->is_array() && pair->get_array().size() == 2;
      if (!named) return fail(Code::kInvalidArgument, "post_processor BertProcessing without cls and sep");
      SEDGE_CHECK(put_around(view(pair->get_array()[0]), after));
    }
    return {};
  }

  Status put_around(std::string_view name, bool after) {
    bool& add = after ? vocab_.add_eos : vocab_.add_bos;
    if (add) return fail(Code::kUnimplemented, "post_processor puts two tokens on one side of a text");
    const auto found = std::ranges::find(vocab_.tokens, name);
    if (found == vocab_.tokens.end()) {
      return fail(Code::kInvalidArgument, "post_processor names '{}', which is no token", name);
    }
    add = true;
    (after ? vocab_.eos : vocab_.bos) = static_cast<std::int32_t>(found - vocab_.tokens.begin());
    return {};
  }

  Status read_template(const json::Array& pieces) {
    bool after = false;
    for (const json::Value& piece : pieces) {
      SEDGE_TRY(const json::Object* object, json::as_object(piece, "post_processor.single"));
      if (object->contains("Sequence")) {
        after = true;
        continue;
      }
      SEDGE_TRY(const json::Value* special, json::member(*object, "SpecialToken"));
      SEDGE_TRY(const json::Object* named, json::as_object(*special, "post_processor SpecialToken"));
      SEDGE_TRY(const std::string name, json::get_string(*named, "id"));
      SEDGE_CHECK(put_around(name, after));
    }
    return {};
  }

  const json::Object& root_;
  const json::Object* model_ = nullptr;
  Vocab vocab_;
};

// "<s>", or {"content": "<s>", ...}; empty for null and for what is absent.
std::string_view token_name(const json::Object& config, std::string_view key) {
  const json::Value* value = config.if_contains(key);
  if (value == nullptr) return {};
  return value->is_object() ? text_of(value->get_object(), "content") : view(*value);
}

// One template, or [{"name": "default", "template": ...}, ...].
std::string_view default_template(const json::Object& config) {
  const json::Value* value = config.if_contains("chat_template");
  if (value == nullptr || !value->is_array()) return text_of(config, "chat_template");
  for (const json::Value& each : value->get_array()) {
    if (each.is_object() && text_of(each.get_object(), "name") == "default") {
      return text_of(each.get_object(), "template");
    }
  }
  return {};
}

}  // namespace

Result<Vocab> vocab_from_tokenizer_json(std::string_view text, std::string_view config) {
  SEDGE_TRY(const json::Value value, json::parse(text, "tokenizer.json"));
  SEDGE_TRY(const json::Object* root, json::as_object(value, "tokenizer.json"));
  auto vocab = TokenizerJson(*root).read();
  if (!vocab) return in_context("tokenizer.json", std::move(vocab).error());
  if (!config.empty()) SEDGE_CHECK(apply_tokenizer_config(*vocab, config));
  if (Status status = check_vocab(*vocab); !status) return in_context("tokenizer.json", std::move(status).error());
  return vocab;
}

Status apply_tokenizer_config(Vocab& vocab, std::string_view config) {
  SEDGE_TRY(const json::Value value, json::parse(config, "tokenizer_config.json"));
  SEDGE_TRY(const json::Object* object, json::as_object(value, "tokenizer_config.json"));
  using Named = std::pair<const char*, std::optional<std::int32_t> Vocab::*>;
  for (const auto& [key, id] : {Named("bos_token", &Vocab::bos), {"eos_token", &Vocab::eos}}) {
    const std::string_view name = token_name(*object, key);
    if (name.empty()) continue;
    const auto found = std::ranges::find(vocab.tokens, name);
    if (found == vocab.tokens.end()) {
      return fail(Code::kInvalidArgument, "tokenizer_config.json: {} '{}' is no token of the vocabulary", key, name);
    }
    vocab.*id = static_cast<std::int32_t>(found - vocab.tokens.begin());
  }
  vocab.add_bos = flag_of(*object, "add_bos_token", vocab.add_bos);
  vocab.add_eos = flag_of(*object, "add_eos_token", vocab.add_eos);
  if (const std::string_view found = default_template(*object); !found.empty()) vocab.chat_template = found;
  return {};
}

}  // namespace sedge::model
