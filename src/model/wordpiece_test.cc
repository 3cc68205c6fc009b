#include "model/wordpiece.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "model/gguf.h"
#include "model/tokenizer.h"
#include "model/tokenizer_samples.h"

namespace sedge::model {
namespace {

using Words = std::vector<std::string>;
using Ids = std::vector<std::int32_t>;

TEST(Wordpiece, words_are_normalized_and_cut_at_blanks_marks_and_han) {
  struct Row {
    const char* text;
    WordpieceOptions options;
    Words words;
  };
  const Row rows[] = {
      {"Hello, World!", {}, {" hello", " ,", " world", " !"}},
      {"Caf\u00e9 CAFE\u0301", {}, {" cafe", " cafe"}},
      {"Caf\u00e9", {.lowercase = false, .strip_accents = false}, {" Caf\u00e9"}},
      {"Caf\u00e9", {.lowercase = true, .strip_accents = false}, {" caf\u00e9"}},
      {"a\u4e2d\u6587b", {}, {" a", " \u4e2d", " \u6587", " b"}},
      {"a\x01\xff\ufffd\u200d b\u00a0c", {}, {" a", " b", " c"}},
      {"1+2 \u20ac3", {}, {" 1", " +", " 2", " \u20ac3"}},
      {"  ", {}, {}},
  };
  for (const Row& row : rows) EXPECT_EQ(wordpiece_words(row.text, row.options), row.words) << row.text;
}

TEST(Wordpiece, the_longest_token_wins_and_a_word_that_cannot_be_spelled_is_unknown) {
  const Tokenizer tokenizer = Tokenizer::make(wordpiece_sample()).value();
  const auto ids = [&](std::string_view text) { return tokenizer.encode(text, {.add_special = false}); };
  EXPECT_EQ(ids("playing play iing"), (Ids{4, 6, 4, 5, 6}));
  EXPECT_EQ(ids("playX PLAY"), (Ids{1, 4}));
  EXPECT_EQ(tokenizer.encode("play"), (Ids{2, 4, 3}));
  EXPECT_EQ(tokenizer.decode(ids("playing play")), "playing play");
  EXPECT_EQ(tokenizer.encode("[SEP]", {.add_special = false, .parse_special = true}), (Ids{3}));
}

TEST(Wordpiece, a_hugging_face_file_and_its_gguf_give_the_same_ids) {
  const char* const json = R"({
    "added_tokens": [{"id": 2, "content": "[CLS]", "special": true}, {"id": 3, "content": "[SEP]", "special": true}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                   "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "play": 4, "i": 5, "##ing": 6}}})";
  auto vocab = vocab_from_tokenizer_json(json);
  ASSERT_TRUE(vocab) << vocab.error().message;
  EXPECT_EQ(vocab->model, "bert");
  EXPECT_EQ(vocab->sep, 3);
  GgufWriter writer;
  writer.set("general.architecture", "bert");
  write_vocab(writer, *vocab);
  const Buffer bytes = writer.to_bytes().value();
  const auto again = vocab_from_gguf(GgufFile::parse(bytes).value());
  ASSERT_TRUE(again) << again.error().message;
  for (const Vocab& each : {*vocab, *again}) {
    const Tokenizer tokenizer = Tokenizer::make(each).value();
    EXPECT_EQ(tokenizer.encode("Playing I"), (Ids{2, 4, 6, 5, 3}));
  }
}

TEST(Wordpiece, every_word_begins_with_the_only_blank_in_it) {
  EXPECT_TRUE(rc::check([](const std::string& noise, bool lowercase) {
    for (const std::string& word : wordpiece_words(noise, {.lowercase = lowercase, .strip_accents = lowercase})) {
      RC_ASSERT(word.size() > 1 && word[0] == ' ' && word.find(' ', 1) == std::string::npos);
    }
  }));
}

}  // namespace
}  // namespace sedge::model
