// heron-eval: how often a model's greedy answer is the expected action, by the engine that robots run and on the file
// that they load. Prints a table an evaluation file; the exit status is 1 when the last file's exact match is below
// --at-least.
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/prompt.h"
#include "train/heron/score.h"

namespace {

using namespace sedge;

constexpr std::size_t kTokensMax = 256;  // the longest action of the corpus has 150

Result<std::string> answer(const std::shared_ptr<const engine::Model>& model, engine::Engine& engine,
                           const std::string& sentence) {
  SEDGE_TRY(const auto prompt, engine::encode_prompt(*model, sentence + "\n"));
  engine::GenerationOptions options;
  options.tokens_max = kTokensMax;
  SEDGE_TRY(engine::Generation generation, engine::Generation::start(model, prompt, {}, options));
  std::string text;
  while (generation.finish() == engine::Finish::kNone) {
    SEDGE_TRY(const engine::Step step, generation.step(engine));
    text += step.text;
  }
  return text;
}

Result<double> evaluate(const std::shared_ptr<const engine::Model>& model, const std::string& path,
                        std::size_t mistakes) {
  SEDGE_TRY(const auto cases, train::heron::read_cases(path));
  engine::Engine engine({.threads = 1});
  train::heron::Score score;
  for (const train::heron::Case& each : cases) {
    SEDGE_TRY(const std::string got, answer(model, engine, each.sentence));
    score.add(each, got);
  }
  fmt::print("{}: {} of {} exact ({:.1f} %)\n{}\n", path, score.right(), score.total(), 100 * score.exact_match(),
             score.table(mistakes));
  return score.exact_match();
}

}  // namespace

int main(int argc, char** argv) {
  double at_least = 0;
  std::size_t mistakes = 0;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--at-least" && i + 1 < argc)
      at_least = std::atof(argv[++i]);
    else if (word == "--mistakes" && i + 1 < argc)
      mistakes = static_cast<std::size_t>(std::atoi(argv[++i]));
    else
      files.push_back(word);
  }
  if (files.size() < 2) {
    fmt::print(stderr,
               "usage: heron-eval MODEL.gguf CASES.jsonl... [--mistakes N] [--at-least FRACTION]\n"
               "Example:\n  heron-eval models/heron/heron.gguf models/heron/eval/outside.jsonl --mistakes 10\n");
    return 2;
  }
  const auto model = engine::Model::load(files.front());
  if (!model) {
    fmt::print(stderr, "heron-eval: {}\n", model.error().message);
    return 2;
  }
  double last = 0;
  for (std::size_t i = 1; i < files.size(); ++i) {
    const auto match = evaluate(*model, files[i], mistakes);
    if (!match) {
      fmt::print(stderr, "heron-eval: {}\n", match.error().message);
      return 2;
    }
    last = *match;
  }
  return last < at_least ? 1 : 0;
}
