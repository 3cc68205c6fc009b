#include "model/bpe_words.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "model/bpe_merge.h"

namespace sedge::model {
namespace {

using Words = std::vector<std::string_view>;

Words words_of(std::string_view text, std::string_view pre) {
  Words words;
  split_words(text, *find_pre_tokenizer(pre), words);
  return words;
}

TEST(BpeWords, are_those_of_the_published_expressions) {
  struct Row {
    const char* pre;
    std::string_view text;
    Words words;
  };
  const Row rows[] = {
      {"gpt-2", "I'll 'LL  x\n\n y ", {"I", "'ll", " '", "LL", " ", " x", "\n\n", " y", " "}},
      {"llama-bpe", "I'll 'LL  x\n\n y ", {"I", "'ll", " '", "LL", " ", " x", "\n\n", " y", " "}},
      {"llama-bpe", "We'Ve a'lL\t(x)", {"We", "'Ve", " a", "'lL", "\t", "(x", ")"}},
      {"llama-bpe", "12345 1\r\n  \n z", {"123", "45", " ", "1", "\r\n  \n", " z"}},
      {"qwen2", "123!?\n\n", {"1", "2", "3", "!?\n\n"}},
      {"starcoder", "a12 b", {"a", "1", "2", " b"}},
      {"default", "a=b 12345", {"a", "=", "b", " ", "123", "45"}},
      {"falcon", "x, `y` 1234", {"x", ",", " ", "`", "y", "`", " ", "123", "4"}},
      {"chameleon", "aIMGIMGABZ   !1", {"a", "IMGIMGABZ", "  ", " ", "!", "1"}},
      {"jais-2", "a     b", {"a", "    ", " b"}},
      {"laguna", "a \n b", {"a", " ", "\n", " b"}},
      {"qwen35", "e\u0301x", {"e\u0301x"}},
      {"qwen2", "e\u0301x", {"e", "\u0301x"}},
      {"ufakzeka", "I'll", {"I", "'ll"}},
      {"seed-coder", "x!\n", {"x", "!", "\n"}},
      {"exaone-moe", "a big dog 1/", {"a big dog", " ", "1", "/"}},
      {"tekken", "HTMLElement's", {"HTMLElement", "'s"}},
      {"tekken", "HTML5 fooBar", {"HTML", "5", " foo", "Bar"}},
      {"gpt-4o", "fooBar'll x/\n", {"foo", "Bar'll", " x", "/\n"}},
      {"gpt-4o", "\u4e2dAB", {"\u4e2d", "AB"}},
      {"tiny_aya", "1234567", {"1", "234", "567"}},
      {"tiny_aya", "\n\n  1", {"\n\n", " ", " ", "1"}},
      {"youtu", "\uac00\u4e00x", {"\uac00", "\u4e00", "x"}},
      {"kimi-k2", "a\u4e2d\u4e2db'll", {"a", "\u4e2d\u4e2d", "b'll"}},
      {"deepseek-llm", "a b\n\u4e2d 12  ", {"a", " b", "\n", "\u4e2d", " ", "12", "  "}},
      {"deepseek-coder", "a, 12", {"a", ",", " ", "1", "2"}},
      {"deepseek-v3", "1234$foo ..\n", {"123", "4", "$foo", " ..\n"}},
      {"spark2_5", "..\n\nx", {"..", "\n", "\n", "x"}},
      {"afmoe", "12345\u0e01", {"12", "345", "\u0e01"}},
      {"bloom", "a, b.c", {"a", ",", " b", ".", "c"}},
      {"viking", "a12", {"a", "1", "2"}},
      {"superbpe", "a b12345", {"a b", "12", "345"}},
  };
  for (const Row& row : rows) EXPECT_EQ(words_of(row.text, row.pre), row.words) << row.pre << ": " << row.text;
}

TEST(BpeWords, together_are_the_text_under_every_rule) {
  EXPECT_TRUE(rc::check([](const std::string& noise, const std::vector<std::uint32_t>& codes) {
    std::string text = noise;
    for (const std::uint32_t code : codes) append_utf8(text, code % 0x3100);
    text += noise;
    for (const PreTokenizer& pre : pre_tokenizers()) {
      std::string joined;
      for (const std::string_view word : words_of(text, pre.name)) {
        RC_ASSERT(!word.empty());
        joined += word;
      }
      RC_ASSERT(joined == text);
    }
  }));
}

// What makes a backtracking engine slow: long runs that nearly match.
TEST(BpeWords, cost_no_more_than_a_few_looks_a_character) {
  constexpr std::size_t kBytes = 2'000;
  constexpr std::size_t kLooksMax = 100;  // a byte; a square would be a thousand
  for (const std::string unit :
       {"a",  "A",  " ",      "\t",     "\n",     " \n",    "1",          ".",      "'",    "a ",      "a1",
        ". ", "Aa", "\u00a0", "\u0301", "\u4e2d", "\u0661", "<sentinel:", "IMGIMG", "\xff", "A\u0301", "' "}) {
    for (const char* end : {"", "x"}) {
      std::string text;
      while (text.size() < kBytes) text += unit;
      text += end;
      const Cut* before = nullptr;
      for (const PreTokenizer& pre : pre_tokenizers()) {
        if (std::exchange(before, pre.cuts.data()) == pre.cuts.data()) continue;  // only another name
        Words words;
        EXPECT_LT(split_words(text, pre, words), kLooksMax * text.size()) << pre.name << ": " << unit << "..." << end;
      }
    }
  }
}

TEST(BpeMerge, asks_three_times_a_symbol_at_most) {
  constexpr std::size_t kSymbols = 1 << 16;
  BpeMerger merger;
  for (std::uint32_t i = 0; i < kSymbols; ++i) merger.push(i, 1, 0);
  std::size_t asked = 0, left = 0;
  merger.run([&](const Symbol& a, const Symbol& b) -> std::optional<Merge> {
    ++asked;
    if (a.bytes != b.bytes || a.bytes >= 1024) return {};
    return Merge{a.bytes, 0};
  });
  merger.for_each([&](const Symbol&) { ++left; });
  EXPECT_EQ(left, kSymbols / 1024);
  EXPECT_LE(asked, 3 * kSymbols);
}

TEST(BpeWords, every_name_is_found_and_an_empty_one_is_the_default) {
  for (const PreTokenizer& pre : pre_tokenizers()) EXPECT_EQ(find_pre_tokenizer(pre.name), &pre);
  EXPECT_EQ(find_pre_tokenizer("")->name, "default");
  EXPECT_EQ(find_pre_tokenizer("martian"), nullptr);
}

}  // namespace
}  // namespace sedge::model
