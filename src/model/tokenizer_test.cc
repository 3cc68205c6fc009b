#include "model/tokenizer.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/json.h"
#include "model/bpe_words.h"
#include "model/gguf.h"
#include "model/tokenizer_pieces.h"
#include "model/tokenizer_samples.h"
#include "model/unicode.h"
#include "support/test_data.h"

namespace sedge::model {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  for (std::size_t at; (at = text.find(separator, from)) != std::string::npos; from = at + separator.size()) {
    parts.push_back(text.substr(from, at - from));
  }
  parts.push_back(text.substr(from));
  return parts;
}

std::vector<std::int32_t> ids_of_line(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::int32_t>(stream), std::istream_iterator<std::int32_t>()};
}

Tokenizer tokenizer_of(const std::filesystem::path& gguf) {
  auto file = GgufFile::open(gguf);
  EXPECT_TRUE(file) << file.error().message;
  auto vocab = vocab_from_gguf(*file);
  EXPECT_TRUE(vocab) << vocab.error().message;
  auto tokenizer = Tokenizer::make(std::move(*vocab));
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return std::move(*tokenizer);
}

std::filesystem::path vector_file(const std::string& name, const std::string& ending) {
  return test::data_dir() / "tokenizers" / "llama.cpp" / ("ggml-vocab-" + name + ".gguf" + ending);
}

class TokenizerVectors : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerVectors, ids_are_those_of_the_reference_and_decode_gives_the_text_back) {
  if (!std::filesystem::exists(vector_file(GetParam(), ""))) GTEST_SKIP() << "needs " << vector_file(GetParam(), "");
  const Tokenizer tokenizer = tokenizer_of(vector_file(GetParam(), ""));
  const auto inputs = split(read_file(vector_file(GetParam(), ".inp")), "\n__ggml_vocab_test__\n");
  const auto outputs = split(read_file(vector_file(GetParam(), ".out")), "\n");
  ASSERT_GE(inputs.size(), 40u);
  ASSERT_GE(outputs.size(), inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (const bool parse_special : {false, true}) {
      const auto ids = tokenizer.encode(inputs[i], {.add_special = false, .parse_special = parse_special});
      EXPECT_EQ(ids, ids_of_line(outputs[i])) << "input " << i << ": " << inputs[i];
      EXPECT_EQ(tokenizer.decode(ids), inputs[i]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(LlamaCpp, TokenizerVectors, testing::Values("gpt-2", "llama-spm", "phi-3", "mpt"),
                         [](const auto& each) {
                           std::string name = each.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

std::vector<std::int32_t> prompt_ids(const json::Value& entry) {
  std::vector<std::int32_t> ids;
  for (const json::Value& id : entry.at("prompt_ids").as_array())
    ids.push_back(static_cast<std::int32_t>(id.as_int64()));
  return ids;
}

TEST(TokenizerJson, a_hugging_face_export_gives_the_prompt_ids_of_its_model) {
  SEDGE_NEED_DATA(path, "llm/TinyStories-656K-hf");
  auto vocab = vocab_from_tokenizer_json(read_file(path / "tokenizer.json"), read_file(path / "tokenizer_config.json"));
  ASSERT_TRUE(vocab) << vocab.error().message;
  EXPECT_EQ(vocab->model, "llama");
  EXPECT_EQ(vocab->bos, 1);
  EXPECT_EQ(vocab->eos, 2);
  EXPECT_EQ(vocab->unk, 0);
  const auto tokenizer = Tokenizer::make(std::move(*vocab));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto expected = json::parse(read_file(path / "expected_greedy.json"), "expected").value();
  const auto ids = tokenizer->encode(std::string(expected.at("prompt").as_string()));
  EXPECT_EQ(ids, prompt_ids(expected));
  EXPECT_EQ(tokenizer->decode(ids), "Once upon a time");
}

TEST(SentencePiece, a_model_file_gives_the_prompt_ids_of_its_model) {
  SEDGE_NEED_DATA(path, "llm/wren-15m-hf");
  const std::string file = read_file(path / "tokenizer.model");
  auto vocab = vocab_from_sentencepiece(as_bytes(file));
  ASSERT_TRUE(vocab) << vocab.error().message;
  ASSERT_TRUE(apply_tokenizer_config(*vocab, read_file(path / "tokenizer_config.json")));
  const auto tokenizer = Tokenizer::make(std::move(*vocab));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto expected = json::parse(read_file(path / "expected.json"), "expected").value();
  for (const json::Value& each : expected.at("greedy").as_array()) {
    const std::string prompt(each.at("prompt").as_string());
    EXPECT_EQ(tokenizer->encode(prompt), prompt_ids(each)) << prompt;
    std::vector<std::int32_t> all = prompt_ids(each);
    for (const json::Value& id : each.at("greedy_ids").as_array())
      all.push_back(static_cast<std::int32_t>(id.as_int64()));
    EXPECT_EQ(tokenizer->decode(all), std::string(each.at("text").as_string()));
  }
}

TEST(VocabLlama2c, the_file_and_the_gguf_of_one_model_agree) {
  SEDGE_NEED_DATA(path, "llm/stories260K");
  const std::string file = read_file(path / "tok512.bin");
  auto vocab = vocab_from_llama2c(as_bytes(file), 512);
  ASSERT_TRUE(vocab) << vocab.error().message;
  const auto ours = Tokenizer::make(std::move(*vocab)).value();
  const Tokenizer other = tokenizer_of(path / "stories260K.gguf");
  const std::string story = read_file(path / "expected_greedy_200steps.txt");
  EXPECT_EQ(ours.encode(story), other.encode(story));
  EXPECT_EQ(ours.decode(ours.encode(story)), story);
  EXPECT_FALSE(vocab_from_llama2c(as_bytes(file), 32000));
}

TEST(VocabLlama2c, a_cut_file_names_the_token_and_the_offset) {
  const std::string file("\x07\0\0\0\0\0\0\0\x05\0\0\0<un", 15);
  const auto cut = vocab_from_llama2c(as_bytes(file));
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().message, "tok.bin: token 0 at offset 12: 5 bytes announced, 3 are left");
}

TEST(SentencePiece, what_is_cut_or_not_supported_is_named) {
  const std::string cut("\x0a\x10\x0a\x03", 4);
  EXPECT_EQ(vocab_from_sentencepiece(as_bytes(cut)).error().message,
            "tokenizer.model: model at offset 2: 16 bytes announced, 2 are left");
  const std::string unigram("\x12\x02\x18\x01", 4);
  EXPECT_EQ(vocab_from_sentencepiece(as_bytes(unigram)).error().code, Code::kUnimplemented);
  const std::string endless(20, '\xff');
  EXPECT_EQ(vocab_from_sentencepiece(as_bytes(endless)).error().code, Code::kDataLoss);
}

TEST(TokenizerJson, a_byte_level_pipeline_is_recognised) {
  auto vocab = vocab_from_tokenizer_json(
      read_file(std::filesystem::path(SEDGE_SOURCE_DIR) / "tests/corpus/tokenizer_json/byte_level.json"));
  ASSERT_TRUE(vocab) << vocab.error().message;
  EXPECT_EQ(vocab->model, "gpt2");
  EXPECT_EQ(vocab->pre, "llama-bpe");
  EXPECT_TRUE(vocab->add_bos);
  EXPECT_EQ(vocab->bos, 6);
  EXPECT_EQ(vocab->type(8), TokenType::kUnused);  // a gap in the ids
  const auto tokenizer = Tokenizer::make(std::move(*vocab)).value();
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(tokenizer.encode("he th[x]<|end|>"),
            (Ids{6, 2, 5, 0, 9, 1}));  // of "<|end|>" as text only the e has a token
  EXPECT_EQ(tokenizer.encode("he<|end|>  t", {.add_special = false, .parse_special = true}), (Ids{2, 7, 4}));
}

TEST(TokenizerJson, what_is_not_supported_is_named) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"model": {"type": "Unigram"}})", "tokenizer.json: model.type is 'Unigram': only BPE and WordPiece are read"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": {"type": "NFKC"}})",
       "tokenizer.json: normalizer 'NFKC' is not supported here"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"type": "Punctuation"}})",
       "tokenizer.json: pre_tokenizer 'Punctuation' is not supported"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}})",
       "tokenizer.json: model.vocab: 'a' and 'b' have id 0"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 999999}, "merges": []}})",
       "tokenizer.json: token 'a' has id 999999 in a vocabulary of 1"},
      {R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [7]}})",
       "tokenizer.json: model.merges[0] is not two tokens without spaces"},
      {R"({"model": {"type": "BPE", "merges": []}})", "tokenizer.json: field 'vocab' is missing"},
      {R"([1])", "tokenizer.json is not a JSON object"},
  };
  for (const auto& [text, message] : cases) {
    const auto refused = vocab_from_tokenizer_json(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().message, message);
  }
}

TEST(VocabGguf, what_is_written_is_read_back) {
  Vocab vocab = sentencepiece_sample();
  vocab.merges = {"h e", "l l"};
  vocab.eot = 2;
  vocab.add_eos = true;
  vocab.strip_right = {1, 2};
  vocab.chat_template = "{{ messages }}";
  GgufWriter writer;
  writer.set("general.architecture", "llama");
  write_vocab(writer, vocab);
  const Buffer bytes = writer.to_bytes().value();
  const auto read = vocab_from_gguf(GgufFile::parse(bytes).value());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->tokens, vocab.tokens);
  EXPECT_EQ(read->scores, vocab.scores);
  EXPECT_EQ(read->types, vocab.types);
  EXPECT_EQ(read->merges, vocab.merges);
  EXPECT_EQ(read->strip_right, vocab.strip_right);
  EXPECT_EQ(read->chat_template, vocab.chat_template);
  EXPECT_EQ(std::tuple(read->bos, read->eos, read->unk, read->eot),
            std::tuple(vocab.bos, vocab.eos, vocab.unk, vocab.eot));
  EXPECT_EQ(std::tuple(read->add_bos, read->add_eos, read->add_space_prefix), std::tuple(true, true, true));
}

TEST(VocabGguf, what_steers_a_conversation_is_control_whatever_the_file_says) {
  Vocab vocab = byte_level_sample();
  add_token(vocab, "</s>", TokenType::kUserDefined);
  vocab.scores.clear();
  const auto read_back = [&] {
    GgufWriter writer;
    writer.set("general.architecture", "llama");
    write_vocab(writer, vocab);
    const Buffer bytes = writer.to_bytes().value();
    return vocab_from_gguf(GgufFile::parse(bytes).value()).value();
  };
  const std::size_t end = vocab.tokens.size() - 1;
  EXPECT_EQ(read_back().type(end), TokenType::kControl);
  for (const char* name : {"<|return|>", "<|call|>", "<|channel|>"}) add_token(vocab, name, TokenType::kControl);
  vocab.scores.clear();
  const Vocab harmony = read_back();
  const auto type_of = [&](std::string_view name) {
    return harmony.type(static_cast<std::size_t>(std::ranges::find(harmony.tokens, name) - harmony.tokens.begin()));
  };
  EXPECT_EQ(type_of("<|channel|>"), TokenType::kUserDefined);
  EXPECT_EQ(type_of("<|end|>"), TokenType::kUserDefined);
  EXPECT_EQ(type_of("<|return|>"), TokenType::kControl);
}

TEST(Vocab, contradictions_are_named) {
  Vocab vocab = sentencepiece_sample();
  vocab.eos = 1 << 20;
  EXPECT_EQ(Tokenizer::make(vocab).error().message, "eos is token 1048576 of a vocabulary of 275");
  vocab = sentencepiece_sample();
  vocab.scores.pop_back();
  EXPECT_EQ(Tokenizer::make(vocab).error().message, "274 scores for 275 tokens");
  vocab = byte_level_sample();
  vocab.merges.push_back("x yz");
  EXPECT_EQ(Tokenizer::make(vocab).error().message, "merge 12, 'x yz', names a token that the vocabulary lacks");
  vocab.merges.back() = "xyz";
  EXPECT_EQ(Tokenizer::make(vocab).error().message, "merge 12 is 'xyz', not two tokens with a space between");
  EXPECT_EQ(Tokenizer::make(byte_level_sample("martian")).error().code, Code::kUnimplemented);
}

TEST(Tokenizer, any_bytes_come_back_from_byte_level_bpe_and_from_byte_fallback) {
  const auto gpt2 = Tokenizer::make(byte_level_sample("gpt-2")).value();
  const auto llama3 = Tokenizer::make(byte_level_sample("llama-bpe")).value();
  const auto digits = Tokenizer::make(byte_level_sample("starcoder")).value();
  const auto sentencepiece = Tokenizer::make(sentencepiece_sample()).value();
  const std::vector<std::string> words = {"the",  " the",     "hello", " ",       "  ",   "\n",       "\r\n",
                                          "a",    "aaaa",     "'s",    "'LL",     "1234", "\xc3\xa9", "\xe2\x96\x81",
                                          "\xff", "\xe2\x96", "<x>",   "<|end|>", "</s>"};
  EXPECT_TRUE(rc::check([&](const std::string& noise) {
    std::string text;
    for (const auto& word : *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(words))) text += word;
    text += noise;
    for (const Tokenizer* each : {&gpt2, &llama3, &digits, &sentencepiece}) {
      RC_ASSERT(each->decode(each->encode(text)) == text);
    }
  }));
}

TEST(Tokenizer, a_megabyte_of_one_letter_is_encoded_as_any_other_text) {
  const std::string text(1 << 20, 'a');
  for (Vocab vocab : {byte_level_sample(), sentencepiece_sample()}) {
    const auto tokenizer = Tokenizer::make(std::move(vocab)).value();
    const auto ids = tokenizer.encode(text, {.add_special = false});
    EXPECT_EQ(tokenizer.decode(ids), text);
    EXPECT_LE(ids.size(), text.size() / 4 + 2);  // in fours, and the space in front
  }
}

TEST(Tokenizer, special_tokens_in_a_text_are_text_unless_they_are_asked_for) {
  Vocab vocab = sentencepiece_sample();
  const auto control = static_cast<std::int32_t>(vocab.tokens.size());
  add_token(vocab, "<|turn|>", TokenType::kControl);
  vocab.strip_right = {control};
  const auto tokenizer = Tokenizer::make(vocab).value();
  const auto plain = tokenizer.encode("a<|turn|>\n the");
  EXPECT_EQ(std::ranges::count(plain, control), 0);
  EXPECT_EQ(tokenizer.decode(plain), "a<|turn|>\n the");
  const auto parsed = tokenizer.encode("a<|turn|>\n the", {.parse_special = true});
  EXPECT_EQ(std::ranges::count(parsed, control), 1);
  EXPECT_EQ(tokenizer.decode(parsed), "athe");  // a control token shows nothing, and this one eats the space behind it
  EXPECT_EQ(tokenizer.decode_piece(control), "");
  EXPECT_EQ(tokenizer.decode_piece(-1), "");
  EXPECT_TRUE(tokenizer.is_end(2));
  EXPECT_FALSE(tokenizer.is_end(1));
}

TEST(Tokenizer, without_byte_tokens_a_run_of_the_unknown_is_one_token) {
  Vocab vocab;
  vocab.unk = 0;
  add_token(vocab, "<unk>", TokenType::kUnknown);
  add_token(vocab, "a");
  const auto tokenizer = Tokenizer::make(vocab).value();
  EXPECT_EQ(tokenizer.encode("axyaz"), (std::vector<std::int32_t>{1, 0, 1, 0}));
}

// Every row was printed by Python's `regex` with the published expression.
TEST(Unicode, what_is_not_utf8_is_read_a_byte_at_a_time) {
  for (const std::string bad : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x96", "\x80"}) {
    EXPECT_EQ(next_code_point(bad, 0).bytes, 1) << bad;
    EXPECT_GE(next_code_point(bad, 0).code, kNotUtf8);
    EXPECT_EQ(char_class(next_code_point(bad, 0).code), CharClass::kSymbol);
  }
  EXPECT_TRUE(rc::check([](std::uint32_t seed) {
    const char32_t code = seed % 0x110000;
    if (code >= 0xd800 && code < 0xe000) return;
    std::string text;
    append_utf8(text, code);
    RC_ASSERT(next_code_point(text, 0).code == code);
    RC_ASSERT(next_code_point(text, 0).bytes == text.size());
  }));
}

}  // namespace
}  // namespace sedge::model
