// Encoding in three steps: cut out special tokens, cut what is left into words (byte-level BPE) or leave it whole
// (SentencePiece), merge. All on the bytes that tokens mean, so U+2581 and GPT-2's letters appear only at loading.
#include "model/tokenizer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <unordered_map>
#include <utility>

#include "model/bpe_merge.h"
#include "model/bpe_words.h"
#include "model/tokenizer_pieces.h"
#include "model/tokenizer_special.h"
#include "model/unicode.h"
#include "model/wordpiece.h"

namespace sedge::model {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";     // U+FFFD: what an unknown token looks like
constexpr std::size_t kMergeBytesMax = std::size_t{1} << 28;  // symbols are indexed by 32 bits; a longer text is cut

// Control tokens that end a turn in one model family or another, where the file does not name its own.
constexpr auto kEndNames = std::to_array<std::string_view>(
    {"<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "</s>"});

// Which tokens merge into which: for every left token its right partners, sorted.
class PairTable {
 public:
  struct Row {
    std::int32_t left, right;
    Merge merge;
  };

  PairTable() = default;
  PairTable(std::vector<Row> rows, std::size_t tokens) : rows_(std::move(rows)), first_(tokens + 1) {
    std::ranges::stable_sort(rows_, {}, [](const Row& row) { return std::pair(row.left, row.right); });
    for (const Row& row : rows_) ++first_[static_cast<std::size_t>(row.left) + 1];
    for (std::size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
  }

  bool empty() const { return rows_.empty(); }

  std::optional<Merge> find(std::int32_t left, std::int32_t right) const {
    if (left < 0 || right < 0) return {};
    const auto id = static_cast<std::size_t>(left);
    const auto begin = rows_.begin() + first_[id], end = rows_.begin() + first_[id + 1];
    const auto row = std::ranges::lower_bound(begin, end, right, {}, &Row::right);
    if (row == end || row->right != right) return {};
    return row->merge;
  }

 private:
  std::vector<Row> rows_;
  std::vector<std::uint32_t> first_;
};

// Higher scores merge earlier: the order of floats as an unsigned rank.
std::uint32_t rank_of_score(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);  // -0 ranks as 0
  return bits >> 31 ? bits : ~(bits | 0x8000'0000u);
}

}  // namespace

struct Tokenizer::State {
  Vocab vocab;
  bool byte_level = false, wordpiece = false;
  const PreTokenizer* pre = nullptr;
  std::vector<std::string> pieces;                              // the bytes that each token means
  std::unordered_map<std::string_view, std::int32_t> by_piece;  // what merging can give; looked up, never walked
  std::size_t piece_bytes_max = 0;
  std::array<std::int32_t, 256> byte_ids{};  // the token that spells a byte, -1 for none
  std::vector<std::uint32_t> ranks;          // of SentencePiece tokens, from their scores
  PairTable pairs;
  SpecialTokens user_defined, all_special, steering;
  SpecialTokens words;  // of WordPiece: all that a word may be spelled with
  std::vector<bool> strips_left, strips_right, ends;

  void index_pieces();
  void index_special();
  Status index_merges();

  std::int32_t id_of(std::string_view bytes) const {
    if (bytes.size() > piece_bytes_max) return -1;
    const auto found = by_piece.find(bytes);
    return found == by_piece.end() ? -1 : found->second;
  }
};

namespace {

void mark(std::vector<bool>& flags, const std::vector<std::int32_t>& ids) {
  for (const std::int32_t id : ids) flags[static_cast<std::size_t>(id)] = true;
}

}  // namespace

void Tokenizer::State::index_pieces() {
  const std::size_t count = vocab.tokens.size();
  pieces.reserve(count);
  byte_ids.fill(-1);
  for (std::size_t id = 0; id < count; ++id) pieces.push_back(token_bytes(vocab, id));
  for (std::size_t i = 0; i < count; ++i) {
    const auto id = static_cast<std::int32_t>(i);
    const TokenType type = vocab.type(i);
    if (type == TokenType::kByte && pieces[i].size() == 1) byte_ids[static_cast<unsigned char>(pieces[i][0])] = id;
    const bool merged = type == TokenType::kNormal || (type == TokenType::kUserDefined && !vocab.merges.empty());
    if (!merged || pieces[i].empty()) continue;
    by_piece.emplace(pieces[i], id);
    piece_bytes_max = std::max(piece_bytes_max, pieces[i].size());
  }
  for (std::size_t byte = 0; byte_level && byte < 256; ++byte) {
    const char letter = static_cast<char>(byte);
    if (byte_ids[byte] < 0) byte_ids[byte] = id_of({&letter, 1});
  }
  for (const float score : vocab.scores) ranks.push_back(rank_of_score(score));
}

void Tokenizer::State::index_special() {
  const std::size_t count = vocab.tokens.size();
  std::vector<SpecialTokens::Entry> shown, all, turns;
  ends.resize(count);
  strips_left.resize(count);
  strips_right.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const TokenType type = vocab.type(i);
    const SpecialTokens::Entry entry{pieces[i], static_cast<std::int32_t>(i)};
    if (type == TokenType::kUserDefined) shown.push_back(entry);
    const bool hidden = type == TokenType::kControl || type == TokenType::kUnknown;
    if (type == TokenType::kUserDefined || hidden) all.push_back(entry);
    const bool marked = pieces[i].starts_with("<|") && pieces[i].ends_with("|>");
    if (hidden || (type == TokenType::kUserDefined && marked)) turns.push_back(entry);
    ends[i] = type == TokenType::kControl && std::ranges::find(kEndNames, pieces[i]) != kEndNames.end();
  }
  for (const auto id : {vocab.eos, vocab.eot}) {
    if (id) ends[static_cast<std::size_t>(*id)] = true;
  }
  mark(strips_left, vocab.strip_left);
  mark(strips_right, vocab.strip_right);
  std::vector<SpecialTokens::Entry> spelling;
  for (std::size_t i = 0; wordpiece && i < count; ++i) spelling.push_back({pieces[i], static_cast<std::int32_t>(i)});
  words = SpecialTokens(std::move(spelling));
  user_defined = SpecialTokens(std::move(shown));
  all_special = SpecialTokens(std::move(all));
  steering = SpecialTokens(std::move(turns));
}

Status Tokenizer::State::index_merges() {
  std::vector<PairTable::Row> rows;
  rows.reserve(vocab.merges.size());
  const auto meaning = [this](std::string_view spelled) {
    return byte_level ? from_byte_letters(spelled) : from_sentencepiece_spaces(spelled);
  };
  for (std::size_t i = 0; i < vocab.merges.size(); ++i) {
    const std::string& merge = vocab.merges[i];
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string::npos || space + 1 == merge.size()) {
      return fail(Code::kInvalidArgument, "merge {} is '{}', not two tokens with a space between", i, merge);
    }
    const std::string left = meaning(std::string_view(merge).substr(0, space));
    const std::string right = meaning(std::string_view(merge).substr(space + 1));
    const std::int32_t a = id_of(left), b = id_of(right), both = id_of(left + right);
    if (a < 0 || b < 0 || both < 0) {
      return fail(Code::kInvalidArgument, "merge {}, '{}', names a token that the vocabulary lacks", i, merge);
    }
    rows.push_back({a, b, {static_cast<std::uint32_t>(i), both}});
  }
  pairs = PairTable(std::move(rows), vocab.tokens.size());
  return {};
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::make(Vocab vocab) {
  SEDGE_CHECK(check_vocab(vocab));
  auto state = std::make_unique<State>();
  state->vocab = std::move(vocab);
  state->byte_level = state->vocab.model == "gpt2";
  state->wordpiece = state->vocab.model == "bert";
  if (state->byte_level) {
    state->pre = find_pre_tokenizer(state->vocab.pre);
    if (state->pre == nullptr) {
      return fail(Code::kUnimplemented, "pre-tokenizer '{}' is not one of: {}", state->vocab.pre,
                  pre_tokenizer_names());
    }
  }
  state->index_pieces();
  state->index_special();
  SEDGE_CHECK(state->index_merges());
  return Tokenizer(std::move(state));
}

namespace {

// One encoding: the scratch that its fragments share, and the ids that come out.
template <class State>
class Encoder {
 public:
  explicit Encoder(const State& state) : state_(state) {}

  void special(std::int32_t id) {
    ids_.push_back(id);
    unknown_ = false;
  }

  void fragment(std::string_view text) {
    if (text.empty()) return;
    if (state_.wordpiece) return spell_words(text);
    const bool prefix = state_.vocab.add_space_prefix && (!state_.byte_level || !starts_with_space(text));
    std::string spaced;
    if (prefix) text = spaced.append(" ").append(text);
    if (!state_.byte_level) return merge_long(text);
    words_.clear();
    split_words(text, *state_.pre, words_);
    for (const std::string_view word : words_) {
      const std::int32_t whole = state_.pre->whole_words ? state_.id_of(word) : -1;
      if (whole >= 0) {
        special(whole);
      } else {
        merge_long(word);
      }
    }
  }

  std::vector<std::int32_t> take() { return std::move(ids_); }

 private:
  static bool starts_with_space(std::string_view text) {
    return char_class(next_code_point(text, 0).code) == CharClass::kSpace;
  }

  void spell_words(std::string_view text) {
    const WordpieceOptions options{.lowercase = state_.vocab.lowercase, .strip_accents = state_.vocab.strip_accents};
    for (const std::string& word : wordpiece_words(text, options)) {
      const std::size_t before = ids_.size();
      for (std::size_t at = 0; at < word.size();) {
        const SpecialTokens::Entry* longest = state_.words.match(word, at);
        if (longest == nullptr) {
          ids_.resize(before);
          break;
        }
        ids_.push_back(longest->id);
        at += longest->text.size();
      }
      if (ids_.size() == before && state_.vocab.unk) ids_.push_back(*state_.vocab.unk);
    }
  }

  void merge_long(std::string_view text) {
    for (; text.size() > kMergeBytesMax; text.remove_prefix(kMergeBytesMax)) merge(text.substr(0, kMergeBytesMax));
    merge(text);
  }

  void merge(std::string_view text) {
    merger_.clear();
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t bytes = state_.byte_level ? 1 : next_code_point(text, at).bytes;
      const std::int32_t id = state_.byte_level ? state_.byte_ids[static_cast<unsigned char>(text[at])]
                                                : state_.id_of(text.substr(at, bytes));
      merger_.push(static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(bytes), id);
      at += bytes;
    }
    if (state_.byte_level || !state_.pairs.empty()) {
      merger_.run([&](const Symbol& l, const Symbol& r) { return state_.pairs.find(l.id, r.id); });
    } else {
      merger_.run([&](const Symbol& l, const Symbol& r) { return merge_by_score(text, l, r); });
    }
    merger_.for_each([&](const Symbol& symbol) { emit(symbol, text); });
  }

  std::optional<Merge> merge_by_score(std::string_view text, const Symbol& left, const Symbol& right) const {
    const std::int32_t id = state_.id_of(text.substr(left.begin, left.bytes + right.bytes));
    if (id < 0) return {};
    return Merge{state_.ranks.empty() ? 0 : state_.ranks[static_cast<std::size_t>(id)], id};
  }

  // A symbol that is no token is spelled in bytes; where a byte has no token it is unknown, once for a run.
  void emit(const Symbol& symbol, std::string_view text) {
    if (symbol.id >= 0) return special(symbol.id);
    const std::string_view bytes = text.substr(symbol.begin, symbol.bytes);
    const auto id = [&](char c) { return state_.byte_ids[static_cast<unsigned char>(c)]; };
    if (std::ranges::all_of(bytes, [&](char c) { return id(c) >= 0; })) {
      for (const char c : bytes) special(id(c));
    } else if (state_.vocab.unk && !unknown_) {
      special(*state_.vocab.unk);
      unknown_ = true;
    }
  }

  const State& state_;
  BpeMerger merger_;
  std::vector<std::string_view> words_;
  std::vector<std::int32_t> ids_;
  bool unknown_ = false;
};

// What special tokens swallow is ASCII white space, as in llama.cpp.
constexpr std::string_view kAsciiSpace = " \t\n\v\f\r";

std::string_view without_trailing_space(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kAsciiSpace) + 1);
}

std::size_t after_space(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of(kAsciiSpace, at), text.size());
}

}  // namespace

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  const State& state = *state_;
  const SpecialTokens& specials = options.parse_special ? state.all_special : state.user_defined;
  Encoder encoder(state);
  if (options.add_special && state.vocab.add_bos && state.vocab.bos) encoder.special(*state.vocab.bos);
  std::size_t from = 0;
  auto inert = options.inert.begin();
  for (std::size_t at = 0; at < text.size();) {
    while (inert != options.inert.end() && *inert < at) ++inert;
    const bool plain = inert != options.inert.end() && *inert == at;
    const SpecialTokens::Entry* found = plain ? nullptr : specials.match(text, at);
    if (found == nullptr) {
      ++at;
      continue;
    }
    const auto id = static_cast<std::size_t>(found->id);
    const std::string_view before = text.substr(from, at - from);
    encoder.fragment(state.strips_left[id] ? without_trailing_space(before) : before);
    encoder.special(found->id);
    at += found->text.size();
    if (state.strips_right[id]) at = after_space(text, at);
    from = at;
  }
  encoder.fragment(text.substr(from));
  if (options.add_special && state.vocab.add_eos && state.vocab.eos) encoder.special(*state.vocab.eos);
  if (options.add_special && state.vocab.add_sep && state.vocab.sep) encoder.special(*state.vocab.sep);
  return encoder.take();
}

std::vector<std::size_t> Tokenizer::steering_places(std::string_view text) const {
  std::vector<std::size_t> places;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const SpecialTokens::Found found = state_->steering.find(text, at);
    if (found.longest != nullptr || found.may_go_on) places.push_back(at);
  }
  return places;
}

std::string Tokenizer::decode_piece(std::int32_t id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= size()) return {};
  const auto index = static_cast<std::size_t>(id);
  const TokenType type = state_->vocab.type(index);
  if (type == TokenType::kControl || type == TokenType::kUnused) return {};
  return type == TokenType::kUnknown ? std::string(kReplacement) : state_->pieces[index];
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  const bool prefixed = (state_->vocab.add_space_prefix && !state_->byte_level) || state_->wordpiece;
  std::string text;
  bool fragment_start = true;
  for (const std::int32_t id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= size()) continue;
    const TokenType type = state_->vocab.type(static_cast<std::size_t>(id));
    const bool special = type == TokenType::kControl || type == TokenType::kUserDefined;
    const std::string piece = decode_piece(id);
    const bool strip = prefixed && fragment_start && !special && piece.starts_with(' ');
    text.append(piece, strip ? 1 : 0);
    fragment_start = special;
  }
  return text;
}

bool Tokenizer::is_end(std::int32_t id) const {
  return id >= 0 && static_cast<std::size_t>(id) < size() && state_->ends[static_cast<std::size_t>(id)];
}

std::size_t Tokenizer::size() const { return state_->vocab.tokens.size(); }
const Vocab& Tokenizer::vocab() const { return state_->vocab; }

}  // namespace sedge::model
