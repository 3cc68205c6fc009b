#include "train/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <queue>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "base/json.h"
#include "model/bpe_words.h"

namespace sedge::train {
namespace {

constexpr std::int32_t kFirstByte = 2;

// GPT-2 spells each byte as a printable character: printable Latin-1 as itself, the others from U+0100 on.
std::string spell_byte(unsigned byte) {
  const auto printable = [](unsigned b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  unsigned code = byte;
  if (!printable(byte)) {
    code = 256;
    for (unsigned b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  }
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
}

struct Word {
  std::vector<std::int32_t> symbols;
  std::int64_t count = 0;
};

using Pair = std::uint64_t;  // left id above, right id below
Pair pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<Pair>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

class Merger {
 public:
  explicit Merger(std::vector<Word> words) : words_(std::move(words)) {
    for (std::size_t w = 0; w < words_.size(); ++w) {
      const auto& symbols = words_[w].symbols;
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) add(pair_of(symbols[i], symbols[i + 1]), w, words_[w].count);
    }
    for (const auto& [pair, use] : uses_) offer(pair, use.count);
  }

  // The most frequent pair, or nothing when none occurs `least` times.
  std::optional<Pair> best(std::int64_t least) {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const std::int64_t count = uses_[top.pair].count;
      if (count == top.count && count >= least) return top.pair;
      if (count != top.count && count >= least) offer(top.pair, count);  // its count changed since it was queued
    }
    return std::nullopt;
  }

  void join(Pair pair, std::int32_t joined) {
    Use use = std::move(uses_[pair]);
    uses_.erase(pair);
    std::ranges::sort(use.words);
    const auto doubled = std::ranges::unique(use.words);
    use.words.erase(doubled.begin(), doubled.end());
    touched_.clear();
    for (const std::size_t w : use.words) join_in(w, pair, joined);
    std::ranges::sort(touched_);
    const auto again = std::ranges::unique(touched_);
    touched_.erase(again.begin(), again.end());
    for (const Pair changed : touched_) offer(changed, uses_[changed].count);
  }

 private:
  struct Use {
    std::int64_t count = 0;
    std::vector<std::uint32_t> words;  // may name a word twice, or one that has lost the pair since
  };
  struct Candidate {
    std::int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  void add(Pair pair, std::size_t word, std::int64_t count) {
    Use& use = uses_[pair];
    use.count += count;
    const auto index = static_cast<std::uint32_t>(word);
    if (count > 0 && (use.words.empty() || use.words.back() != index)) use.words.push_back(index);
  }

  void offer(Pair pair, std::int64_t count) {
    if (count > 0) queue_.push({count, pair});
  }

  // Takes the word's pairs out of the counts, merges, puts its new pairs in.
  void join_in(std::size_t w, Pair pair, std::int32_t joined) {
    Word& word = words_[w];
    const auto left = static_cast<std::int32_t>(pair >> 32);
    const auto right = static_cast<std::int32_t>(pair & 0xffffffffU);
    const auto count_pairs = [&](std::int64_t sign) {
      for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
        const Pair each = pair_of(word.symbols[i], word.symbols[i + 1]);
        if (each == pair) continue;  // forgotten already
        add(each, w, sign * word.count);
        touched_.push_back(each);
      }
    };
    count_pairs(-1);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < word.symbols.size(); ++i) {
      const bool here = i + 1 < word.symbols.size() && word.symbols[i] == left && word.symbols[i + 1] == right;
      word.symbols[kept++] = here ? joined : word.symbols[i];
      i += here ? 1 : 0;
    }
    word.symbols.resize(kept);
    count_pairs(+1);
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, Use> uses_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> touched_;
};

// Words with digits are cut at every digit, so that no pair has one; and at their space, if it is to stay alone.
void count_words(std::string_view text, const model::PreTokenizer& pre, bool space_alone,
                 std::vector<std::string_view>& scratch, std::unordered_map<std::string, std::int64_t>& counts) {
  scratch.clear();
  model::split_words(text, pre, scratch);
  for (const std::string_view word : scratch) {
    std::size_t begin = 0;
    for (std::size_t i = 0; i <= word.size(); ++i) {
      const bool cut = i == word.size() || (word[i] >= '0' && word[i] <= '9') || (space_alone && word[i] == ' ');
      if (!cut) continue;
      if (i - begin > 1) ++counts[std::string(word.substr(begin, i - begin))];
      begin = i + 1;
    }
  }
}

model::Vocab bytes_only(const BpeOptions& options) {
  model::Vocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "gpt-2";
  vocab.tokens = {"<|begin|>", "<|end|>"};
  vocab.types.assign(2, static_cast<std::int32_t>(model::TokenType::kControl));
  for (unsigned byte = 0; byte < 256; ++byte) vocab.tokens.push_back(spell_byte(byte));
  vocab.bos = 0;
  vocab.eos = 1;
  vocab.add_bos = true;
  vocab.chat_template = options.chat_template;
  return vocab;
}

}  // namespace

Result<model::Vocab> train_bpe(const std::function<void(const std::function<void(std::string_view)>&)>& for_each_text,
                               const BpeOptions& options) {
  model::Vocab vocab = bytes_only(options);
  if (options.vocab < vocab.tokens.size()) {
    return fail(Code::kInvalidArgument, "a vocabulary of {} has no room for the 256 bytes and 2 control tokens",
                options.vocab);
  }
  std::unordered_map<std::string, std::int64_t> counts;
  std::vector<std::string_view> scratch;
  const model::PreTokenizer& pre = *model::find_pre_tokenizer("gpt-2");
  for_each_text([&](std::string_view text) { count_words(text, pre, options.space_alone, scratch, counts); });
  if (counts.empty()) return fail(Code::kInvalidArgument, "no text to make a vocabulary from");

  const std::map<std::string, std::int64_t> in_order(counts.begin(), counts.end());
  std::vector<Word> words;
  for (const auto& [text, count] : in_order) {
    Word& word = words.emplace_back();
    word.count = count;
    for (const char c : text) word.symbols.push_back(kFirstByte + static_cast<unsigned char>(c));
  }
  Merger merger(std::move(words));
  while (vocab.tokens.size() < options.vocab) {
    const auto pair = merger.best(static_cast<std::int64_t>(options.pair_min));
    if (!pair) break;
    const std::string& left = vocab.tokens[*pair >> 32];
    const std::string& right = vocab.tokens[*pair & 0xffffffffU];
    vocab.merges.push_back(fmt::format("{} {}", left, right));
    std::string both = left + right;
    merger.join(*pair, static_cast<std::int32_t>(vocab.tokens.size()));
    vocab.tokens.push_back(std::move(both));
  }
  vocab.types.resize(vocab.tokens.size(), static_cast<std::int32_t>(model::TokenType::kNormal));
  SEDGE_CHECK(model::check_vocab(vocab));
  return vocab;
}

std::string tokenizer_json(const model::Vocab& vocab) {
  json::Object tokens, model, root, bos_template, special;
  json::Array merges, added;
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    tokens.emplace(vocab.tokens[id], id);
    if (vocab.type(id) != model::TokenType::kControl) continue;
    added.push_back(json::Object{{"id", id},
                                 {"content", vocab.tokens[id]},
                                 {"single_word", false},
                                 {"lstrip", false},
                                 {"rstrip", false},
                                 {"normalized", false},
                                 {"special", true}});
  }
  for (const std::string& merge : vocab.merges) merges.emplace_back(merge);
  model = {{"type", "BPE"},
           {"dropout", nullptr},
           {"unk_token", nullptr},
           {"continuing_subword_prefix", nullptr},
           {"end_of_word_suffix", nullptr},
           {"fuse_unk", false},
           {"byte_fallback", false}};
  model.emplace("vocab", std::move(tokens));
  model.emplace("merges", std::move(merges));
  const json::Object byte_level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  root = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  root.emplace("added_tokens", std::move(added));
  root.emplace("normalizer", nullptr);
  root.emplace("pre_tokenizer", byte_level);
  if (vocab.add_bos && vocab.bos) {
    const std::string& bos = vocab.tokens[static_cast<std::size_t>(*vocab.bos)];
    const json::Object begin{{"SpecialToken", json::Object{{"id", bos}, {"type_id", 0}}}};
    const json::Object first{{"Sequence", json::Object{{"id", "A"}, {"type_id", 0}}}};
    const json::Object second{{"Sequence", json::Object{{"id", "B"}, {"type_id", 1}}}};
    special.emplace(bos, json::Object{{"id", bos}, {"ids", json::Array{*vocab.bos}}, {"tokens", json::Array{bos}}});
    root.emplace("post_processor", json::Object{{"type", "TemplateProcessing"},
                                                {"single", json::Array{begin, first}},
                                                {"pair", json::Array{begin, first, second}},
                                                {"special_tokens", special}});
  } else {
    root.emplace("post_processor", nullptr);
  }
  root.emplace("decoder", byte_level);
  root.emplace("model", std::move(model));
  return json::write(root);
}

std::string tokenizer_config_json(const model::Vocab& vocab) {
  json::Object config{{"tokenizer_class", "PreTrainedTokenizerFast"},
                      {"add_bos_token", vocab.add_bos},
                      {"add_eos_token", vocab.add_eos},
                      {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* key, const std::optional<std::int32_t>& id) {
    if (id) config.emplace(key, vocab.tokens[static_cast<std::size_t>(*id)]);
  };
  name("bos_token", vocab.bos);
  name("eos_token", vocab.eos);
  if (!vocab.chat_template.empty()) config.emplace("chat_template", vocab.chat_template);
  return json::write(config);
}

}  // namespace sedge::train
