// What a grammar costs a step: the token that was drawn asked about (it may come, nearly always), and all tokens asked
// at a position not met before. Beside a vocabulary of the size that models have.
#include <set>
#include <string>

#include <benchmark/benchmark.h>

#include "base/prng.h"
#include "engine/grammar/constraint.h"
#include "engine/grammar/json_schema.h"

namespace sedge::engine {
namespace {

// Words as a byte-level vocabulary has them: single bytes, then letters in growing lengths, many after a space.
const model::Tokenizer& large_vocabulary() {
  static const model::Tokenizer tokenizer = [] {
    model::Vocab vocab;
    vocab.tokens = {"<unk>", "<s>", "</s>"};
    vocab.types = {2, 3, 3};
    for (int byte = 0; byte < 256; ++byte) {
      vocab.tokens.push_back(fmt::format("<0x{:02X}>", byte));
      vocab.types.push_back(6);
    }
    Prng prng(1);
    static constexpr std::string_view kLetters = "etaoinshrdlucmfwypvbgkjqxz";
    std::set<std::string> words;
    while (words.size() < 128'000) {
      std::string word = prng.below(2) == 0 ? "\xE2\x96\x81" : "";
      for (std::uint64_t i = 2 + prng.below(8); i > 0; --i)
        word += kLetters[prng.below(1 + prng.below(kLetters.size()))];
      words.insert(word);
    }
    for (const std::string& word : words) {
      vocab.tokens.push_back(word);
      vocab.types.push_back(1);
    }
    vocab.scores.assign(vocab.tokens.size(), 0.0f);
    vocab.unk = 0, vocab.bos = 1, vocab.eos = 2;
    return model::Tokenizer::make(std::move(vocab)).value();
  }();
  return tokenizer;
}

std::shared_ptr<const TokenTrie> trie() {
  static const auto made = std::make_shared<const TokenTrie>(large_vocabulary());
  return made;
}

const auto kSchema =
    R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 4000}}, "required": ["name"]})";

std::int32_t some_word() { return 5000; }

void GrammarAsksOneToken(benchmark::State& state) {
  TokenConstraint constraint(large_vocabulary(), trie(), read_json_schema(kSchema).value(), false);
  constraint.advance("{\"name\":\"");
  const std::string word = large_vocabulary().decode_piece(some_word());
  int used = 0;
  for (auto each : state) {
    benchmark::DoNotOptimize(constraint.allows(some_word()));
    if (!constraint.advance(word) || ++used == 400) {
      state.PauseTiming();
      constraint = TokenConstraint(large_vocabulary(), trie(), read_json_schema(kSchema).value(), false);
      constraint.advance("{\"name\":\"");
      used = 0;
      state.ResumeTiming();
    }
  }
}
BENCHMARK(GrammarAsksOneToken);

void GrammarAsksAllTokensWithinText(benchmark::State& state) {
  TokenConstraint constraint(large_vocabulary(), trie(), read_json_schema(kSchema).value(), false);
  constraint.advance("{\"name\":\"");
  for (auto each : state) {
    benchmark::DoNotOptimize(constraint.mask()->data());
    if (constraint.advance("x")) continue;
    state.SkipWithError("the text is full");
    break;
  }
}
BENCHMARK(GrammarAsksAllTokensWithinText)->Iterations(1000);

void GrammarAsksAllTokensBetweenTexts(benchmark::State& state) {
  for (auto each : state) {
    TokenConstraint constraint(large_vocabulary(), trie(), read_json_schema(kSchema).value(), false);
    benchmark::DoNotOptimize(constraint.mask()->data());
  }
}
BENCHMARK(GrammarAsksAllTokensBetweenTexts);

void GrammarReadsASchema(benchmark::State& state) {
  for (auto each : state) benchmark::DoNotOptimize(read_json_schema(kSchema));
}
BENCHMARK(GrammarReadsASchema);

}  // namespace
}  // namespace sedge::engine
