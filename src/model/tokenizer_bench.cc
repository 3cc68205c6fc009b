// Encoding speed: a text of many words, and the hostile text that is one word.
#include <benchmark/benchmark.h>

#include "model/tokenizer.h"
#include "model/tokenizer_samples.h"

namespace sedge::model {
namespace {

void encode(benchmark::State& state, Vocab vocab, const std::string& unit) {
  const Tokenizer tokenizer = Tokenizer::make(std::move(vocab)).value();
  std::string text;
  while (text.size() < static_cast<std::size_t>(state.range(0))) text += unit;
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

BENCHMARK_CAPTURE(encode, byte_level_words, byte_level_sample(), "hello there, the 1234 ")->Range(1 << 10, 1 << 20);
BENCHMARK_CAPTURE(encode, byte_level_one_letter, byte_level_sample(), "a")->Range(1 << 10, 1 << 20);
BENCHMARK_CAPTURE(encode, sentencepiece_words, sentencepiece_sample(), "hello there, the ")->Range(1 << 10, 1 << 20);
BENCHMARK_CAPTURE(encode, sentencepiece_one_letter, sentencepiece_sample(), "a")->Range(1 << 10, 1 << 20);

}  // namespace
}  // namespace sedge::model
