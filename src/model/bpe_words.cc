// The table: families of expressions, and which model's name stands for which.
// Source: the tokenizer.json files of the models named, and llama.cpp (MIT), whose names these are.
#include "model/bpe_words.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace sedge::model {

namespace {

using Letters = WordCut::Letters;
using Tail = WordCut::Tail;
using Prefix = RunCut::Prefix;

constexpr auto kLines = std::to_array<CodeRange>({{'\n', '\n'}, {'\r', '\r'}});
constexpr auto kNewline = std::to_array<CodeRange>({{'\n', '\n'}});
constexpr auto kAsciiDigits = std::to_array<CodeRange>({{'0', '9'}});
constexpr auto kAsciiMarks = std::to_array<CodeRange>({{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}});
constexpr auto kMath =
    std::to_array<CodeRange>({{'$', '$'}, {'+', '+'}, {'<', '>'}, {'^', '^'}, {'|', '|'}, {'~', '~'}});
constexpr auto kMathAndTick =
    std::to_array<CodeRange>({{'$', '$'}, {'+', '+'}, {'<', '>'}, {'^', '^'}, {'`', '`'}, {'|', '|'}, {'~', '~'}});
constexpr auto kSentenceMarks = std::to_array<CodeRange>({{'!', '!'},
                                                          {'(', ')'},
                                                          {',', ','},
                                                          {'.', '.'},
                                                          {'?', '?'},
                                                          {'|', '|'},
                                                          {0x060c, 0x060c},
                                                          {0x06d4, 0x06d4},
                                                          {0x0964, 0x0964},
                                                          {0x2026, 0x2026},
                                                          {0x3001, 0x3002},
                                                          {0xff0c, 0xff0c}});
constexpr auto kHanAndKana = std::to_array<CodeRange>({{0x3040, 0x30ff}, {0x4e00, 0x9fa5}});
constexpr auto kHangul = std::to_array<CodeRange>({{0x3131, 0x318e}, {0xac00, 0xd7a3}});
constexpr auto kBopomofo = std::to_array<CodeRange>({{0x3105, 0x312f}});
constexpr auto kWideMarks = std::to_array<CodeRange>({{0x2014, 0x2014},
                                                      {0x2018, 0x2019},
                                                      {0x201c, 0x201d},
                                                      {0x2026, 0x2026},
                                                      {0x3001, 0x303f},
                                                      {0xfe30, 0xfe4f},
                                                      {0xff01, 0xff01},
                                                      {0xff0c, 0xff0c},
                                                      {0xff1a, 0xff1b}});
constexpr auto kAsianScripts = std::to_array<CodeRange>({{0x0e40, 0x0eff},
                                                         {0x1000, 0x109f},
                                                         {0x1100, 0x11ff},
                                                         {0x1780, 0x17ff},
                                                         {0x2f00, 0x2fdf},
                                                         {0x3040, 0x30ff},
                                                         {0x3400, 0x4dbf},
                                                         {0x4e00, 0xfaff},
                                                         {0xff65, 0xff9f}});
constexpr auto kDeepseekAsian = std::to_array<CodeRange>({{0x0800, 0x9fa5}, {0xac00, 0xd7ff}});
constexpr auto kDeepseekMarks = std::to_array<CodeRange>(
    {{'!', '/'}, {':', '~'}, {0x2018, 0x201f}, {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e}});
// The letters that have two cases, in the Unicode of 2019.
constexpr auto kCasedLetters = std::to_array<CodeRange>(
    {{'A', 'Z'},         {'a', 'z'},         {0x00b5, 0x00b5},   {0x00c0, 0x00d6},   {0x00d8, 0x00f6},
     {0x00f8, 0x01ba},   {0x01bc, 0x01bf},   {0x01c4, 0x0293},   {0x0295, 0x02af},   {0x0370, 0x0373},
     {0x0376, 0x0377},   {0x037b, 0x037d},   {0x037f, 0x037f},   {0x0386, 0x0386},   {0x0388, 0x038a},
     {0x038c, 0x038c},   {0x038e, 0x03a1},   {0x03a3, 0x03f5},   {0x03f7, 0x0481},   {0x048a, 0x052f},
     {0x0531, 0x0556},   {0x10a0, 0x10c5},   {0x13a0, 0x13f5},   {0x13f8, 0x13fd},   {0x1c90, 0x1cba},
     {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},   {0x1d79, 0x1d9a},   {0x1e00, 0x1f15},
     {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},   {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},
     {0x1f5b, 0x1f5b},   {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},
     {0x1fbe, 0x1fbe},   {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},   {0x1fd6, 0x1fdb},
     {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},   {0x1ff6, 0x1ffc},   {0x2102, 0x2102},   {0x2107, 0x2107},
     {0x210a, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211d},   {0x2124, 0x2124},   {0x2126, 0x2126},
     {0x2128, 0x2128},   {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},   {0x213c, 0x213f},
     {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2184},   {0x2c00, 0x2c7b},   {0x2c7e, 0x2ce4},
     {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf3},   {0xa640, 0xa66d},   {0xa680, 0xa69b},   {0xa722, 0xa76f},
     {0xa771, 0xa787},   {0xa78b, 0xa78e},   {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},
     {0xff21, 0xff3a},   {0xff41, 0xff5a},   {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb},
     {0x10c80, 0x10cb2}, {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943}});

constexpr RunCut kNumber{.set = {.classes = kNumbers}, .chars_max = 1};
constexpr RunCut kNumberRun{.set = {.classes = kNumbers}};
constexpr RunCut kThreeNumbers{.set = {.classes = kNumbers}, .chars_max = 3};
constexpr RunCut kThreeDigits{.set = {.ranges = kAsciiDigits}, .chars_min = 3, .chars_max = 3};
constexpr RunCut kLineEnd{.set = {.ranges = kLines}, .chars_max = 1};
constexpr RunCut kNewlines{.set = {.ranges = kNewline}};
constexpr RunCut kUpToSentenceMark{.set = {.classes = kSpaces, .ranges = kSentenceMarks, .negated = true},
                                   .prefix = Prefix::kBlank};
constexpr RunCut kHanRun{.set = {.ranges = kHanAndKana}};
constexpr RunCut kDeepseekAsianRun{.set = {.ranges = kDeepseekAsian}};
constexpr RunCut kSpacesAtEnd{.set = {.classes = kSpaces}, .to_the_end = true};

constexpr auto kGpt2 = std::to_array<Cut>({Gpt2Cut{}});
constexpr auto kGpt2Digits = std::to_array<Cut>({kNumber, Gpt2Cut{}});
constexpr auto kFalcon =
    std::to_array<Cut>({RunCut{.set = {.classes = kPunctuation, .ranges = kMathAndTick}}, Gpt2Cut{}, kThreeDigits});
constexpr auto kDefault = std::to_array<Cut>(
    {RunCut{.set = {.classes = kPunctuation, .ranges = kMath}}, Gpt2Cut{}, kNumberRun, kThreeDigits});
constexpr auto kChameleon =
    std::to_array<Cut>({SentinelCut{}, ImageCut{}, BlankPairCut{}, kNumber,
                        RunCut{.set = {.classes = kPunctuation, .ranges = kAsciiMarks}, .chars_max = 1}, Gpt2Cut{}});
constexpr auto kLlama3 = std::to_array<Cut>({WordCut{.digits_max = 3}});
constexpr auto kJais2 = std::to_array<Cut>({WordCut{.digits_max = 3, .halved_spaces = true}});
constexpr auto kQwen2 = std::to_array<Cut>({WordCut{.digits_max = 1}});
constexpr auto kLaguna = std::to_array<Cut>({kNewlines, WordCut{.digits_max = 1}});
constexpr auto kMinicpm5 = std::to_array<Cut>({kThreeNumbers, WordCut{}});
constexpr auto kUfakzeka = std::to_array<Cut>({WordCut{.contractions = false, .digits_max = 1}});
constexpr auto kSeedCoder = std::to_array<Cut>({WordCut{.digits_max = 1, .tail = Tail::kNone}});
constexpr auto kQwen35 = std::to_array<Cut>(
    {WordCut{.letters = Letters::kWithMarks, .digits_max = 1, .not_other = kSpaces | kLetters | kMarks | kNumbers}});
constexpr auto kExaoneMoe =
    std::to_array<Cut>({WordCut{.letters = Letters::kSpaced, .digits_max = 1, .tail = Tail::kOneLineSlash}});
constexpr auto kTekken = std::to_array<Cut>(
    {WordCut{.contractions = false, .letters = Letters::kCased, .digits_max = 1, .tail = Tail::kLinesSlash}});
constexpr auto kGpt4o = std::to_array<Cut>({WordCut{.contractions = false,
                                                    .letters = Letters::kCased,
                                                    .ends_in_contraction = true,
                                                    .digits_max = 3,
                                                    .tail = Tail::kLinesSlash}});
constexpr auto kGraniteEmbedding = std::to_array<Cut>({WordCut{.contractions = false,
                                                               .letters = Letters::kCasedWithMarks,
                                                               .ends_in_contraction = true,
                                                               .digits_max = 3,
                                                               .tail = Tail::kLinesSlash}});
constexpr auto kTinyAya = std::to_array<Cut>({DigitGroupCut{}, WordCut{.contractions = false,
                                                                       .letters = Letters::kWithMarks,
                                                                       .ends_in_contraction = true,
                                                                       .digits_max = 3,
                                                                       .tail = Tail::kLinesSlash}});
constexpr auto kYoutu = std::to_array<Cut>({RunCut{.set = {.ranges = kHangul}}, RunCut{.set = {.ranges = kWideMarks}},
                                            RunCut{.set = {.ranges = kBopomofo}}, kHanRun,
                                            WordCut{.contractions = false,
                                                    .letters = Letters::kWithMarks,
                                                    .ends_in_contraction = true,
                                                    .digits_max = 1,
                                                    .tail = Tail::kLinesSlash}});
constexpr auto kKimi = std::to_array<Cut>(
    {WordCut{.contractions = false, .letters = Letters::kNotHan, .ends_in_contraction = true, .digits_max = 3}});
constexpr auto kDeepseek3 = std::to_array<Cut>({kThreeNumbers, kHanRun, SymbolCut{}});
constexpr auto kSpark = std::to_array<Cut>({kThreeNumbers, kHanRun, SymbolCut{.lines_alone = true}, kNumber});
constexpr auto kAfmoe = std::to_array<Cut>({DigitGroupCut{}, RunCut{.set = {.ranges = kAsianScripts}}, SymbolCut{}});
constexpr auto kDeepseek =
    std::to_array<Cut>({kLineEnd, RunCut{.set = {.ranges = kCasedLetters}, .prefix = Prefix::kAnySpace},
                        RunCut{.set = {.ranges = kDeepseekMarks}, .prefix = Prefix::kAnySpace}, kSpacesAtEnd,
                        kDeepseekAsianRun, kNumberRun});
constexpr auto kDeepseekCoder = std::to_array<Cut>(
    {kLineEnd, RunCut{.set = {.classes = kLetters}, .prefix = Prefix::kAnySpace},
     RunCut{.set = {.classes = kPunctuation}, .prefix = Prefix::kAnySpace}, kDeepseekAsianRun, kNumber});
constexpr auto kBloom = std::to_array<Cut>({kUpToSentenceMark});
constexpr auto kViking = std::to_array<Cut>({kUpToSentenceMark, kNumber});
constexpr auto kSuperBpe = std::to_array<Cut>({kNumberRun, BeforeTriplesCut{}});

constexpr auto kPreTokenizers = std::to_array<PreTokenizer>({
    {.name = "default", .cuts = kDefault},
    {.name = "falcon", .cuts = kFalcon},
    {.name = "gpt-2", .cuts = kGpt2},
    {.name = "mpt", .cuts = kGpt2},
    {.name = "olmo", .cuts = kGpt2},
    {.name = "phi-2", .cuts = kGpt2},
    {.name = "jais", .cuts = kGpt2},
    {.name = "exaone4", .cuts = kGpt2},
    {.name = "trillion", .cuts = kGpt2},
    {.name = "gigachat", .cuts = kGpt2},
    {.name = "a.x-4.0", .cuts = kGpt2},
    {.name = "mellum", .cuts = kGpt2},
    {.name = "modern-bert", .cuts = kGpt2},
    {.name = "roberta-bpe", .cuts = kGpt2},
    {.name = "granite-docling", .cuts = kGpt2},
    {.name = "jina-es", .cuts = kGpt2},
    {.name = "jina-de", .cuts = kGpt2},
    {.name = "jina-v1-en", .cuts = kGpt2},
    {.name = "jina-v2-es", .cuts = kGpt2},
    {.name = "jina-v2-de", .cuts = kGpt2},
    {.name = "jina-v2-code", .cuts = kGpt2},
    {.name = "starcoder", .cuts = kGpt2Digits},
    {.name = "refact", .cuts = kGpt2Digits},
    {.name = "command-r", .cuts = kGpt2Digits},
    {.name = "smollm", .cuts = kGpt2Digits},
    {.name = "codeshell", .cuts = kGpt2Digits},
    {.name = "exaone", .cuts = kGpt2Digits},
    {.name = "minerva-7b", .cuts = kGpt2Digits},
    {.name = "mellum2", .cuts = kGpt2Digits},
    {.name = "chameleon", .cuts = kChameleon, .add_bos = true},
    {.name = "llama-bpe", .cuts = kLlama3, .whole_words = true, .add_bos = true},
    {.name = "llama3", .cuts = kLlama3, .whole_words = true, .add_bos = true},
    {.name = "llama-v3", .cuts = kLlama3, .whole_words = true, .add_bos = true},
    {.name = "falcon3", .cuts = kLlama3, .whole_words = true, .add_bos = true},
    {.name = "falcon-h1", .cuts = kLlama3, .whole_words = true, .add_bos = true},
    {.name = "pixtral", .cuts = kLlama3, .whole_words = true, .add_bos = true},
    {.name = "midm-2.0", .cuts = kLlama3, .whole_words = true, .add_bos = true},
    {.name = "lfm2", .cuts = kLlama3, .whole_words = true, .add_bos = true},
    {.name = "jina-v5-nano", .cuts = kLlama3, .whole_words = true, .add_bos = true},
    {.name = "dbrx", .cuts = kLlama3},
    {.name = "smaug-bpe", .cuts = kLlama3},
    {.name = "glm4", .cuts = kLlama3},
    {.name = "chatglm-bpe", .cuts = kLlama3},
    {.name = "jais-2", .cuts = kJais2},
    {.name = "qwen2", .cuts = kQwen2},
    {.name = "stablelm2", .cuts = kQwen2},
    {.name = "deepseek-r1-qwen", .cuts = kQwen2},
    {.name = "megrez", .cuts = kQwen2},
    {.name = "kormo", .cuts = kQwen2},
    {.name = "f2llmv2", .cuts = kQwen2},
    {.name = "hunyuan", .cuts = kQwen2},
    {.name = "solar-open", .cuts = kQwen2},
    {.name = "grok-2", .cuts = kQwen2},
    {.name = "bailingmoe", .cuts = kQwen2},
    {.name = "bailingmoe2", .cuts = kQwen2},
    {.name = "llada-moe", .cuts = kQwen2},
    {.name = "laguna", .cuts = kLaguna},
    {.name = "qwen35", .cuts = kQwen35},
    {.name = "ufakzeka", .cuts = kUfakzeka},
    {.name = "seed-coder", .cuts = kSeedCoder},
    {.name = "exaone-moe", .cuts = kExaoneMoe},
    {.name = "minicpm5", .cuts = kMinicpm5, .whole_words = true},
    {.name = "tekken", .cuts = kTekken, .whole_words = true, .add_bos = true},
    {.name = "gpt-4o", .cuts = kGpt4o},
    {.name = "llama4", .cuts = kGpt4o},
    {.name = "kanana2", .cuts = kGpt4o},
    {.name = "talkie", .cuts = kGpt4o},
    {.name = "minimax-m2", .cuts = kGpt4o},
    {.name = "granite-embed-multi-97m", .cuts = kGraniteEmbedding, .whole_words = true},
    {.name = "tiny_aya", .cuts = kTinyAya},
    {.name = "cohere2moe", .cuts = kTinyAya},
    {.name = "youtu", .cuts = kYoutu, .whole_words = true},
    {.name = "kimi-k2", .cuts = kKimi},
    {.name = "deepseek-llm", .cuts = kDeepseek},
    {.name = "deepseek-coder", .cuts = kDeepseekCoder},
    {.name = "deepseek-v3", .cuts = kDeepseek3},
    {.name = "hunyuan-dense", .cuts = kDeepseek3},
    {.name = "hy_v4", .cuts = kDeepseek3},
    {.name = "joyai-llm", .cuts = kDeepseek3},
    {.name = "spark2_5", .cuts = kSpark},
    {.name = "afmoe", .cuts = kAfmoe},
    {.name = "poro-chat", .cuts = kBloom},
    {.name = "bloom", .cuts = kBloom},
    {.name = "gpt3-finnish", .cuts = kBloom},
    {.name = "viking", .cuts = kViking},
    {.name = "superbpe", .cuts = kSuperBpe},
});

}  // namespace

std::span<const PreTokenizer> pre_tokenizers() { return kPreTokenizers; }

const PreTokenizer* find_pre_tokenizer(std::string_view name) {
  if (name.empty()) name = "default";
  const auto found = std::ranges::find(kPreTokenizers, name, &PreTokenizer::name);
  return found == kPreTokenizers.end() ? nullptr : &*found;
}

std::string_view pre_tokenizer_names() {
  static const std::string names = [] {
    std::string all;
    for (const PreTokenizer& pre : kPreTokenizers) all.append(all.empty() ? "" : ", ").append(pre.name);
    return all;
  }();
  return names;
}

std::size_t split_words(std::string_view text, const PreTokenizer& pre, std::vector<std::string_view>& words) {
  if (pre.cuts.size() == 1) return apply_cut(text, pre.cuts[0], words);
  std::size_t looks = 0;
  std::vector<std::string_view> pieces{text}, next;
  for (const Cut& cut : pre.cuts) {
    next.clear();
    for (const std::string_view piece : pieces) looks += apply_cut(piece, cut, next);
    std::swap(pieces, next);
  }
  words.insert(words.end(), pieces.begin(), pieces.end());
  return looks;
}

}  // namespace sedge::model
