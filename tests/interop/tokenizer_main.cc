// Our side of the comparison with llama.cpp's tokenizers: vocabularies, texts, and the ids that we give.
//
//   tokenizer-peer names                       the pre-tokenizers and other kinds that `vocab` makes
//   tokenizer-peer vocab KIND OUT.gguf         a vocabulary of that kind, which shows where words are cut
//   tokenizer-peer texts SEED COUNT GGUF       texts as JSON strings, one a line, with that vocabulary's special tokens
//   tokenizer-peer ids GGUF TEXTS              for each text two lines of ids, without and with special tokens parsed
//
// The vocabulary of a pre-tokenizer has every pair of bytes as a token, with ranks in random order: nearly every cut
// between two words then shows in the ids, which a real vocabulary, rich in words, would hide.
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#include <fmt/format.h>

#include "base/json.h"
#include "base/prng.h"
#include "model/bpe_words.h"
#include "model/gguf.h"
#include "model/tokenizer.h"
#include "model/tokenizer_pieces.h"
#include "model/tokenizer_samples.h"
#include "model/unicode.h"

namespace {

using namespace sedge;
using namespace sedge::model;

Vocab pairs_vocab(std::string_view pre, Prng& random) {
  Vocab vocab;
  vocab.model = "gpt2";
  vocab.pre = pre;
  std::vector<std::string> letters;
  for (int byte = 0; byte < 256; ++byte) letters.push_back(to_byte_letters(std::string(1, static_cast<char>(byte))));
  for (const std::string& letter : letters) add_token(vocab, letter);
  std::vector<std::uint32_t> order(256 * 256);
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  for (std::uint32_t i = static_cast<std::uint32_t>(order.size()); i > 1; --i) {
    std::swap(order[i - 1], order[random.below(i)]);
  }
  for (const std::uint32_t pair : order) {
    add_token(vocab, letters[pair / 256] + letters[pair % 256]);
    vocab.merges.push_back(letters[pair / 256] + " " + letters[pair % 256]);
  }
  for (const char* name : {"<|end|>", "<s>"}) add_token(vocab, name, TokenType::kControl);
  vocab.eos = vocab.bos = static_cast<std::int32_t>(vocab.tokens.size()) - 1;
  vocab.scores.clear();
  return vocab;
}

// WordPiece: pieces of one and two characters, at the beginning of a word and inside it.
Vocab wordpiece_vocab(bool lowercase, Prng& random) {
  Vocab vocab;
  vocab.model = "bert";
  vocab.lowercase = vocab.strip_accents = lowercase;
  vocab.add_bos = vocab.add_sep = true;
  for (const char* name : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) add_token(vocab, name, TokenType::kControl);
  vocab.unk = 1;
  vocab.bos = 2;
  vocab.sep = 3;
  std::set<std::string> seen;
  const auto add = [&](const std::string& piece) {
    for (const char* before : {"\xe2\x96\x81", ""}) {
      if (seen.insert(before + piece).second) add_token(vocab, before + piece);
    }
  };
  std::vector<std::string> letters;
  for (const CodeRange range : {CodeRange{'!', '~'},
                                {0xa1, 0x24f},
                                {0x300, 0x32f},
                                {0x370, 0x3ff},
                                {0x400, 0x45f},
                                {0x5d0, 0x5ea},
                                {0x620, 0x64a},
                                {0x904, 0x939},
                                {0x1100, 0x1112},
                                {0x3041, 0x30ff},
                                {0x4e00, 0x4eff},
                                {0xac00, 0xac7f},
                                {0x1f600, 0x1f64f}}) {
    for (char32_t code = range.first; code <= range.last; ++code) {
      if (random.below(8) == 0) continue;  // what cannot be spelled is unknown
      append_utf8(letters.emplace_back(), code);
      add(letters.back());
    }
  }
  for (int i = 0; i < 20'000; ++i) {
    const std::string piece = letters[random.below(94)] + letters[random.below(i % 2 == 0 ? 94 : letters.size())];
    add(i % 3 == 0 ? piece + letters[random.below(94)] : piece);
  }
  vocab.scores.clear();
  return vocab;
}

// What texts are made of: ranges of code points, each drawn as often as it is listed.
constexpr auto kRanges = std::to_array<CodeRange>({
    {'a', 'z'},         {'a', 'z'},         {'A', 'Z'},         {'0', '9'},         {'0', '9'},
    {' ', ' '},         {' ', ' '},         {' ', ' '},         {'\n', '\n'},       {'\r', '\r'},
    {'\t', '\r'},       {'!', '/'},         {':', '@'},         {'[', '`'},         {'{', '~'},
    {'\'', '\''},       {0x00, 0x1f},       {0x7f, 0xa0},       {0xa1, 0xff},       {0x100, 0x24f},
    {0x300, 0x36f},     {0x300, 0x36f},     {0x370, 0x3ff},     {0x400, 0x52f},     {0x590, 0x5ff},
    {0x600, 0x6ff},     {0x660, 0x669},     {0x900, 0x97f},     {0x966, 0x96f},     {0xe00, 0xe7f},
    {0x1100, 0x11ff},   {0x1c90, 0x1d9a},   {0x1e00, 0x1fff},   {0x2000, 0x206f},   {0x2070, 0x218f},
    {0x2190, 0x23ff},   {0x2e80, 0x2fdf},   {0x3000, 0x303f},   {0x3040, 0x30ff},   {0x3100, 0x318e},
    {0x4e00, 0x9fff},   {0x9fa0, 0x9fff},   {0xac00, 0xd7ff},   {0xe000, 0xe010},   {0xf900, 0xfaff},
    {0xfe00, 0xfe0f},   {0xfe30, 0xfe4f},   {0xff00, 0xffef},   {0xfffd, 0xfffd},   {0x10400, 0x1044f},
    {0x1d400, 0x1d7ff}, {0x1f1e6, 0x1f1ff}, {0x1f300, 0x1faff}, {0x20000, 0x2a6df}, {0x2ebf0, 0x2ee5d},
    {0x0, 0x10ffff},
});
constexpr auto kPhrases = std::to_array<std::string_view>({"'s",
                                                           "'LL",
                                                           "'Ve",
                                                           "'re",
                                                           "he'll",
                                                           "IMGIMGABZ",
                                                           "<sentinel:12>",
                                                           "the",
                                                           " The",
                                                           "Hello",
                                                           " WORLD",
                                                           "HTMLElement",
                                                           "x=1;",
                                                           "://",
                                                           "\r\n",
                                                           "\n\n",
                                                           "    ",
                                                           "\t",
                                                           "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80",
                                                           "e\xcc\x81",
                                                           "\xe2\x80\x8f",
                                                           "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d",
                                                           "1234567",
                                                           "3.14",
                                                           "\xc4\xb0",
                                                           "\xef\xac\x81",
                                                           "...",
                                                           "),"});

void add_character(Prng& random, std::string& text) {
  const CodeRange range = kRanges[random.below(kRanges.size())];
  const auto code = static_cast<char32_t>(range.first + random.below(range.last - range.first + 1));
  constexpr char32_t kSpaceMark = 0x2581;  // SentencePiece's space: a text with it is no round trip there
  if ((code >= 0xd800 && code < 0xe000) || code == kSpaceMark) return;
  const std::uint64_t times = random.below(8) == 0 ? 1 + random.below(random.below(16) == 0 ? 700 : 9) : 1;
  for (std::uint64_t i = 0; i < times; ++i) append_utf8(text, code);
}

std::string make_text(Prng& random, const std::vector<std::string>& special) {
  std::string text;
  const bool plain = random.below(3) == 0;  // words and blanks alone
  for (std::uint64_t left = 1 + random.below(24); left > 0; --left) {
    const std::uint64_t kind = random.below(32);
    if (kind == 0 && !special.empty()) {
      text += special[random.below(special.size())];
    } else if (kind < 12) {
      text += kPhrases[random.below(kPhrases.size())];
    } else if (plain) {
      text += random.below(4) == 0 ? ' ' : static_cast<char>('a' + random.below(26));
    } else {
      add_character(random, text);
    }
  }
  return text;
}

Result<Vocab> read_vocab(const char* path) {
  SEDGE_TRY(const GgufFile file, GgufFile::open(path));
  return vocab_from_gguf(file);
}

Status make_vocab(std::string_view kind, const char* path) {
  Prng random(1);
  const bool wordpiece = kind.starts_with("wordpiece-");
  if (!wordpiece && find_pre_tokenizer(kind) == nullptr) return fail(Code::kInvalidArgument, "no kind '{}'", kind);
  const Vocab vocab = wordpiece ? wordpiece_vocab(kind == "wordpiece-uncased", random) : pairs_vocab(kind, random);
  GgufWriter writer;
  writer.set("general.architecture", wordpiece ? "bert" : "gpt2");
  write_vocab(writer, vocab);
  SEDGE_TRY(const Buffer bytes, writer.to_bytes());
  std::ofstream(path, std::ios::binary) << as_text(bytes);
  return {};
}

Status print_texts(std::uint64_t seed, std::uint64_t count, const char* path) {
  SEDGE_TRY(const Vocab vocab, read_vocab(path));
  std::vector<std::string> special;
  for (std::size_t id = 0; id < vocab.tokens.size() && special.size() < 256; ++id) {
    const TokenType type = vocab.type(id);
    const bool shown = type == TokenType::kControl || type == TokenType::kUserDefined || type == TokenType::kUnknown;
    if (shown && !vocab.tokens[id].empty()) special.push_back(vocab.tokens[id]);
  }
  Prng random(seed);
  for (; count > 0; --count) fmt::print("{}\n", json::write(json::Value(make_text(random, special))));
  return {};
}

Status print_ids(const char* path, const char* texts) {
  SEDGE_TRY(Vocab vocab, read_vocab(path));
  SEDGE_TRY(const Tokenizer tokenizer, Tokenizer::make(std::move(vocab)));
  std::ifstream file(texts);
  for (std::string line; std::getline(file, line);) {
    SEDGE_TRY(const json::Value value, json::parse(line, texts));
    const std::string text(value.as_string());
    for (const bool parse_special : {false, true}) {
      const auto ids = tokenizer.encode(text, {.add_special = false, .parse_special = parse_special});
      fmt::print("{}\n", fmt::join(ids, " "));
      if (tokenizer.vocab().model != "gpt2" || parse_special || tokenizer.decode(ids) == text) continue;
      return fail(Code::kInternal, "{} did not come back", line);
    }
  }
  return {};
}

Status run(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "names") {
    for (const PreTokenizer& pre : pre_tokenizers()) fmt::print("{}\n", pre.name);
    fmt::print("wordpiece-uncased\nwordpiece-cased\n");
    return {};
  }
  if (command == "vocab" && argc == 4) return make_vocab(argv[2], argv[3]);
  if (command == "texts" && argc == 5) {
    return print_texts(std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10), argv[4]);
  }
  if (command == "ids" && argc == 4) return print_ids(argv[2], argv[3]);
  return fail(Code::kInvalidArgument, "one of: names, vocab KIND OUT, texts SEED COUNT GGUF, ids GGUF TEXTS");
}

}  // namespace

int main(int argc, char** argv) {
  const Status status = run(argc, argv);
  if (!status) fmt::print(stderr, "tokenizer-peer: {}\n", status.error().message);
  return status ? 0 : 1;
}
