// Grammars and models together. A model of random weights is the hardest of models: it wants anything but JSON.
#include "engine/grammar/constraint.h"

#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/generation.h"
#include "engine/grammar/gbnf.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/testing.h"
#include "engine/random_model.h"
#include "model/tokenizer_samples.h"

namespace sedge::engine {
namespace {

const std::vector<std::int32_t> kPrompt = {1, 75, 104};

struct Text {
  std::string text;
  std::vector<std::int32_t> tokens;
  Finish finish = Finish::kNone;
};

Text run(Engine& engine, Generation generation) {
  Text out;
  while (out.finish == Finish::kNone) {
    const auto step = generation.step(engine);
    EXPECT_TRUE(step) << step.error().message;
    if (!step) return out;
    out.text += step->text;
    out.finish = step->finish;
  }
  out.tokens.assign(generation.tokens().begin(), generation.tokens().end());
  return out;
}

TEST(TokenConstraint, allows_by_mask_what_it_allows_one_by_one) {
  Prng prng(5);
  const auto grammar = read_gbnf("root ::= [a-z]+ (\" \" | \"\\n\") ([0-9]{1,40} | \"(\" root \")\")? ").value();
  for (const auto& vocab : {model::byte_level_sample("gpt-2"), model::sentencepiece_sample()}) {
    const auto tokenizer = model::Tokenizer::make(vocab).value();
    const auto trie = std::make_shared<const TokenTrie>(tokenizer);
    for (const bool begins : {false, true}) {
      TokenConstraint constraint(tokenizer, trie, grammar, begins);
      for (int steps = 0; steps < 60 && !constraint.finished(); ++steps) {
        const auto asked = constraint.mask().value();
        const std::vector<std::uint64_t> mask(asked.begin(), asked.end());
        std::vector<std::int32_t> allowed;
        for (std::int32_t id = 0; id < static_cast<std::int32_t>(tokenizer.size()); ++id) {
          const bool set = (mask[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0;
          ASSERT_EQ(set, constraint.allows(id)) << vocab.model << " token " << id << " at step " << steps;
          if (set && !tokenizer.is_end(id)) allowed.push_back(id);
        }
        ASSERT_FALSE(allowed.empty());
        std::string piece = tokenizer.decode_piece(allowed[prng.below(allowed.size())]);
        if (begins && steps == 0 && piece.starts_with(' ')) piece.erase(0, 1);
        ASSERT_TRUE(constraint.advance(piece));
      }
    }
  }
}

// Single bytes, and all words of two small letters.
model::Tokenizer pairs_of_letters() {
  model::Vocab vocab;
  vocab.tokens = {"<unk>", "<s>", "</s>"};
  vocab.types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) vocab.tokens.push_back(fmt::format("<0x{:02X}>", byte));
  vocab.types.resize(vocab.tokens.size(), 6);
  for (char a = 'a'; a <= 'z'; ++a)
    for (char b = 'a'; b <= 'z'; ++b) vocab.tokens.push_back({a, b});
  vocab.types.resize(vocab.tokens.size(), 1);
  vocab.scores.assign(vocab.tokens.size(), 0.0f);
  vocab.unk = 0, vocab.bos = 1, vocab.eos = 2;
  return model::Tokenizer::make(std::move(vocab)).value();
}

TEST(TokenConstraint, a_grammar_that_costs_too_much_to_ask_all_tokens_about_is_refused_by_the_bound) {
  const auto tokenizer = pairs_of_letters();
  const auto trie = std::make_shared<const TokenTrie>(tokenizer);
  std::string wide = "root ::= [0]";  // each letter leads too many ways at once
  for (std::size_t i = 0; i <= kWaysMax; ++i) wide += fmt::format("|[a-z]\"{}\"", i);
  TokenConstraint first(tokenizer, trie, read_gbnf(wide).value(), false);
  EXPECT_TRUE(first.mask()) << "a digit may follow";
  TokenConstraint none(tokenizer, trie, read_gbnf(wide.replace(9, 4, "")).value(), false);
  EXPECT_NE(none.mask().error().message.find("4096 ways at once"), std::string::npos) << none.mask().error().message;

  std::string loops = "many ::= [a-z]";  // behind each first letter each second one
  for (std::size_t i = 0; i <= kWaysMax / 2; ++i) loops += " [a-z]*";
  loops += "\nroot ::= [0]";
  for (char a = 'a'; a <= 'z'; ++a) loops += fmt::format("|\"{}\" many \"{}\"", a, a);
  for (const bool warm : {false, true}) {
    TokenConstraint constraint(tokenizer, trie, read_gbnf(loops).value(), false);
    for (std::int32_t id = 259; warm && id < 259 + 400; ++id) EXPECT_FALSE(constraint.allows(id));
    const auto mask = constraint.mask();
    ASSERT_FALSE(mask);
    EXPECT_EQ(mask.error().code, Code::kInvalidArgument);
    EXPECT_NE(mask.error().message.find("to ask all tokens once"), std::string::npos) << mask.error().message;
  }
}

TEST(Sampler, under_a_constraint_is_the_models_own_distribution_over_what_is_allowed) {
  struct Even final : AllowedTokens {
    bool allows(std::int32_t id) override { return id % 2 == 0; }
    Result<std::span<const std::uint64_t>> mask() override { return std::span<const std::uint64_t>(&bits, 1); }
    std::uint64_t bits = 0x55;
  };
  const std::vector<float> logits = {0, 2, 1, 0.5f, -1, 3, 0.3f, 1};
  double total = 0;
  for (std::size_t i = 0; i < 8; i += 2) total += std::exp(static_cast<double>(logits[i]));
  constexpr int kDraws = 40000;
  std::array<int, 8> count{};
  Even even;
  for (std::size_t position = 0; position < kDraws; ++position) {
    std::vector<float> these = logits;
    ++count[static_cast<std::size_t>(sample(these, {}, position, {.temperature = 1, .seed = 9}, &even).value())];
  }
  for (std::size_t i = 0; i < 8; ++i) {
    const double expected = i % 2 == 0 ? std::exp(static_cast<double>(logits[i])) / total : 0;
    EXPECT_NEAR(count[i] / static_cast<double>(kDraws), expected, 0.01) << i;
  }
  std::vector<float> these = logits;
  EXPECT_EQ(sample(these, {}, 0, {}, &even).value(), 2) << "the best that is allowed";
}

std::string listed(int count) {
  std::string schema = R"({"type": "object", "properties": {"of": {"enum": [)";
  for (int i = 0; i < count; ++i) schema += fmt::format("\"{}-{}\",", i * 7919 % count, i % 17);
  return schema + R"("none"]}}, "required": ["of"]})";
}

std::string many_optional(int count) {
  std::string schema = R"({"type": "object", "properties": {)";
  for (int i = 0; i < count; ++i) schema += fmt::format("\"p{}\": {{\"const\": {}}},", i, i);
  return schema + R"("last": {"type": "null"}}, "required": ["last"], "maxProperties": 3})";
}

const std::string kSchemas[] = {
    R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0,
        "maximum": 120}, "alive": {"type": "boolean"}}, "required": ["name", "age"], "additionalProperties": false})",
    R"({"type": "array", "items": {"enum": ["red", "green", "blue"]}, "minItems": 2, "maxItems": 6})",
    R"({"type": "object", "properties": {"id": {"format": "uuid"}, "at": {"format": "date-time"}}, "required": ["id", "at"]})",
    R"({"anyOf": [{"type": "null"}, {"type": "number"}, {"type": "string", "pattern": "^[A-Z]{2}-\\d{1,4}$"}]})",
    R"({"oneOf": [{"type": "object", "properties": {"do": {"const": "go"}, "to": {"type": "array", "prefixItems": [
          {"type": "number", "minimum": -90, "maximum": 90}, {"type": "number", "minimum": -180, "maximum": 180}], "minItems": 2}},
          "required": ["do", "to"]},
        {"type": "object", "properties": {"do": {"enum": ["land", "wait"]}, "seconds": {"type": "integer", "exclusiveMinimum": 0,
          "maximum": 3600}}, "required": ["do"]}]})",
    R"({"type": "object", "properties": {"a": {"type": ["string", "null"], "minLength": 3, "maxLength": 5}, "b": {"type":
        "array", "items": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}, "maxItems": 2}}, "required": ["b", "a"]})",
    R"({"allOf": [{"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}, {"properties": {"y": {"const":
        "\u00e9\"\\"}}}]})",
    R"({"enum": [{"k": [1, 2, null]}, "x\ny", 3.5, false]})",
    R"({"type": "array", "items": {"$ref": "#/$defs/p"}, "minItems": 1, "maxItems": 3, "$defs": {"p": {"type": "object",
        "properties": {"x": {"type": "integer", "minimum": 1700000000000000000, "exclusiveMaximum": 1700000000000000900},
        "f": {"enum": [0.5, 0.25, -1e-7]}}, "required": ["x"]}}})",
    R"({"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}, "required": ["kind"], "anyOf": [
        {"$ref": "#/$defs/a", "required": ["x"]}, {"properties": {"y": {"type": "boolean"}}, "required": ["y"]}],
        "$defs": {"a": {"properties": {"kind": true, "x": {"type": "null"}, "z": {"const": 0}}}}})",
    R"({"type": "object", "properties": {"n": {"type": "integer", "minimum": -9223372036854775808, "maximum":
        18446744073709551615}, "to": {"format": "email"}, "pair": {"prefixItems": [{"type": "null"}, {"type": "boolean"}],
        "minItems": 2}}, "required": ["n", "to", "pair"]})",
    listed(300),
    listed(5000),
    many_optional(500),
};

// Those that a model need never end.
const char* const kEndless[] = {
    R"({"$ref": "#/$defs/t", "$defs": {"t": {"type": "object", "properties": {"v": {"type": "integer", "minimum": 1, "maximum": 9},
        "kids": {"type": "array", "items": {"$ref": "#/$defs/t"}, "maxItems": 1}}, "required": ["v"]}}})",
    R"({"type": "object", "properties": {"on": {"const": true}}, "additionalProperties": {"type": "null"}})",
    R"({"type": "object", "properties": {"s": {"type": "string"}, "any": true}, "required": ["s", "any"]})",
};

Text run_under(const std::shared_ptr<const Model>& model, const std::shared_ptr<const Grammar>& grammar, int number,
               std::size_t tokens_max) {
  Engine engine;
  GenerationOptions options{
      .sampling = {.temperature = number % 7 == 0 ? 0.0f : 1.0f, .seed = static_cast<std::uint64_t>(number)},
      .tokens_max = tokens_max,
      .grammar = grammar};
  if (number % 3 == 0) options.sampling.top_p = 0.9f;
  return run(engine, Generation::start(model, kPrompt, {}, options).value());
}

TEST(Structured, a_thousand_of_a_thousand_texts_of_a_random_model_satisfy_their_schemas) {
  const RandomModel random({.layers = 1, .dim = 32, .heads = 2, .kv_heads = 1, .ffn_dim = 32, .context = 2048});
  int number = 0;
  for (const std::string& schema : kSchemas) {
    const auto grammar = read_json_schema(schema).value();
    const SchemaJudge judge(schema);
    const std::string named = schema.substr(0, 1000);
    const auto share = static_cast<int>((&schema - kSchemas + 1) * 1000 / std::ssize(kSchemas));
    for (; number < share; ++number) {
      const Text out = run_under(random.model(), grammar, number, 2000);
      ASSERT_EQ(out.finish, Finish::kStop) << named << "\n" << out.text;
      ASSERT_EQ(judge.complaint(out.text), "") << named << "\n" << out.text;
    }
  }
  EXPECT_EQ(number, 1000);
}

TEST(Structured, what_a_schema_leaves_endless_is_whole_and_satisfies_it_or_is_a_beginning_told_as_cut) {
  const RandomModel random({.layers = 1, .dim = 32, .heads = 2, .kv_heads = 1, .ffn_dim = 32, .context = 512});
  for (int i = 0; i < 60; ++i) {
    const char* schema = kEndless[static_cast<std::size_t>(i) % std::size(kEndless)];
    const auto grammar = read_json_schema(schema).value();
    const Text out = run_under(random.model(), grammar, i, 400);
    Matcher matcher(grammar);
    ASSERT_TRUE(matcher.advance(out.text)) << schema << "\n" << out.text;
    ASSERT_EQ(matcher.complete(), out.finish == Finish::kStop);
    ASSERT_EQ(matcher.complete() ? SchemaJudge(schema).complaint(out.text) : "", "") << schema << "\n" << out.text;
  }
}

TEST(Structured, a_resumed_text_goes_on_as_the_undisturbed_one_would) {
  const RandomModel random({.layers = 1, .dim = 32, .heads = 2, .kv_heads = 1, .ffn_dim = 32, .context = 1024});
  Engine engine;
  for (const float temperature : {0.0f, 1.0f}) {
    const GenerationOptions options{.sampling = {.temperature = temperature, .top_k = 60, .seed = 3},
                                    .tokens_max = 200,
                                    .grammar = read_json_schema(kSchemas[0]).value()};
    const Text whole = run(engine, Generation::start(random.model(), kPrompt, {}, options).value());
    for (std::size_t cut = 0; cut <= whole.tokens.size(); cut += 3) {
      const auto begun = std::span(whole.tokens).first(cut);
      const Text rest = run(engine, Generation::start(random.model(), kPrompt, begun, options).value());
      ASSERT_EQ(rest.tokens, whole.tokens) << cut;
      ASSERT_EQ(rest.finish, whole.finish);
    }
    std::vector<std::int32_t> other = whole.tokens;
    other[0] = 'x' + 3;
    EXPECT_EQ(Generation::start(random.model(), kPrompt, other, options).error().code, Code::kInvalidArgument);
  }
}

TEST(Structured, a_text_cut_by_its_length_is_told_as_cut_and_one_that_nothing_can_follow_ends) {
  const RandomModel random;
  Engine engine;
  GenerationOptions options{.tokens_max = 5, .grammar = read_gbnf("root ::= \"abcdefgh\"").value()};
  const Text cut = run(engine, Generation::start(random.model(), kPrompt, {}, options).value());
  EXPECT_EQ(cut.finish, Finish::kLength);
  EXPECT_EQ(cut.text, "abcde");
  options.tokens_min = options.tokens_max = 20;
  const Text whole = run(engine, Generation::start(random.model(), kPrompt, {}, options).value());
  EXPECT_EQ(whole.text, "abcdefgh") << "where nothing can follow the text ends, whatever tokens_min says";
  EXPECT_EQ(whole.finish, Finish::kStop);
}

}  // namespace
}  // namespace sedge::engine
