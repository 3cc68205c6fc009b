#include "train/bpe_trainer.h"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "model/bpe_words.h"
#include "model/tokenizer.h"

namespace sedge::train {
namespace {

Result<model::Vocab> train_on(const std::vector<std::string>& texts, std::size_t vocab, bool space_alone = false) {
  return train_bpe(
      [&](const std::function<void(std::string_view)>& use) {
        for (const std::string& text : texts) use(text);
      },
      {.vocab = vocab, .space_alone = space_alone});
}

// The definition: count every pair anew for each merge.
std::vector<std::string> merges_by_recounting(const std::string& text, std::size_t count) {
  std::vector<std::string_view> words;
  model::split_words(text, *model::find_pre_tokenizer("gpt-2"), words);
  std::vector<std::vector<int>> symbols;
  for (const std::string_view word : words) {
    auto& each = symbols.emplace_back();
    for (const char c : word) each.push_back(2 + static_cast<unsigned char>(c));
  }
  const model::Vocab bytes = *train_on({"x y"}, 258);
  std::vector<std::string> tokens = bytes.tokens, merges;
  while (merges.size() < count) {
    std::map<std::pair<int, int>, int> pairs;
    for (const auto& word : symbols) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) ++pairs[{word[i], word[i + 1]}];
    }
    const auto best = std::ranges::max_element(pairs, [](const auto& a, const auto& b) { return a.second < b.second; });
    if (best == pairs.end() || best->second < 2) break;
    const auto [left, right] = best->first;
    for (auto& word : symbols) {
      std::vector<int> joined;
      for (std::size_t i = 0; i < word.size(); ++i) {
        const bool here = i + 1 < word.size() && word[i] == left && word[i + 1] == right;
        joined.push_back(here ? static_cast<int>(tokens.size()) : word[i]);
        i += here ? 1 : 0;
      }
      word = joined;
    }
    merges.push_back(tokens[static_cast<std::size_t>(left)] + " " + tokens[static_cast<std::size_t>(right)]);
    tokens.push_back(tokens[static_cast<std::size_t>(left)] + tokens[static_cast<std::size_t>(right)]);
  }
  return merges;
}

TEST(BpeTrainer, incremental_counts_give_the_merges_of_recounting) {
  EXPECT_TRUE(rc::check([] {
    const auto letters = *rc::gen::container<std::string>(200, rc::gen::element('a', 'b', 'c', ' '));
    const auto vocab = train_on({"ab" + letters}, 258 + 30);
    RC_ASSERT(vocab.has_value());
    RC_ASSERT(vocab->merges == merges_by_recounting("ab" + letters, 30));
  }));
}

TEST(BpeTrainer, digits_stay_single_whatever_is_frequent) {
  std::vector<std::string> texts(50, "go 120 metres at 120 degrees then 2020");
  const auto vocab = train_on(texts, 320);
  ASSERT_TRUE(vocab) << vocab.error().message;
  for (std::size_t id = 258; id < vocab->tokens.size(); ++id) {
    EXPECT_EQ(vocab->tokens[id].find_first_of("0123456789"), std::string::npos) << vocab->tokens[id];
  }
  const auto tokenizer = model::Tokenizer::make(*vocab);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->encode("2020", {.add_special = false}).size(), 4U);
}

TEST(BpeTrainer, a_space_alone_makes_a_word_the_same_tokens_wherever_it_stands) {
  const std::vector<std::string> texts(50, "guard the north gate {\"at\":\"north gate\"}");
  const auto encode = [&](bool space_alone, std::string_view text) {
    const auto tokenizer = model::Tokenizer::make(*train_on(texts, 330, space_alone));
    return tokenizer->encode(text, {.add_special = false});
  };
  const auto word = encode(true, "north");
  auto after_space = encode(true, " north");
  ASSERT_EQ(after_space.size(), word.size() + 1);
  after_space.erase(after_space.begin());
  EXPECT_EQ(after_space, word);
  EXPECT_EQ(encode(false, " north").size(), 1U);  // what it is without: one token that says nothing of "north"
}

TEST(BpeTrainer, the_vocabulary_survives_tokenizer_json_and_spells_any_bytes) {
  const auto vocab = train_on({"scout two, hold position", "scout one, hold the north gate"}, 300);
  ASSERT_TRUE(vocab) << vocab.error().message;
  const auto again = model::vocab_from_tokenizer_json(tokenizer_json(*vocab), tokenizer_config_json(*vocab));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->tokens, vocab->tokens);
  EXPECT_EQ(again->merges, vocab->merges);
  EXPECT_EQ(again->bos, vocab->bos);
  EXPECT_EQ(again->eos, vocab->eos);
  EXPECT_TRUE(again->add_bos);
  EXPECT_EQ(again->pre, "gpt-2");
  const auto tokenizer = model::Tokenizer::make(*again);
  ASSERT_TRUE(tokenizer);
  const std::string text = "scout \xf0\x9f\xa6\x89\x01\xff {\"do\":\"hold\"}\n";
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_LT(tokenizer->encode(" hold", {.add_special = false}).size(), 3U);
}

TEST(BpeTrainer, refuses_a_vocabulary_without_room_for_the_bytes_and_an_empty_corpus) {
  EXPECT_EQ(train_on({"text"}, 257).error().code, Code::kInvalidArgument);
  EXPECT_EQ(train_on({""}, 300).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace sedge::train
