// sedge run: a prompt in, text out.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "apps/command.h"
#include "apps/control_client.h"
#include "apps/run_fleet.h"
#include "apps/run_local.h"
#include "engine/model.h"

namespace sedge::apps {
namespace {

// By the node that is running, or here.
Status run(const RunOptions& options) {
  if (options.local || !node_runs(options.home)) {
    if (options.deadline_ms > 0 || options.fallback || !options.publish.empty()) {
      return fail(Code::kFailedPrecondition,
                  "--deadline, --fallback and --publish need a running node on {}: start `sedge up --model {}`",
                  options.home, options.model);
    }
    return run_local(options);
  }
  if (!options.adapters.empty()) {
    return fail(Code::kFailedPrecondition,
                "--lora is of a local run, and a node is running on {}: add --local, or give the node the adapter "
                "(`sedge up --model {} --lora NAME=FILE`) and run NAME",
                options.home, options.model);
  }
  if (!options.draft.empty()) {
    return fail(Code::kFailedPrecondition,
                "--draft is of a local run, and a node is running on {}: add --local, or give it to the node "
                "(`sedge up --model {} --draft {}`)",
                options.home, options.model, options.draft);
  }
  return run_fleet(options);
}

}  // namespace

void add_run(Commands& commands) {
  auto* command =
      commands.add(commands.root(), "run", "Continues a prompt with a language model",
                   "sedge run models/heron/heron.gguf \"scout two, hold position\" --local --max-tokens 64");
  const auto options = std::make_shared<RunOptions>();
  engine::SamplingOptions& sampling = options->sampling;
  command->add_option("MODEL", options->model, "a GGUF file")->required();
  command->add_option("PROMPT", options->prompt, "the text to go on from; empty: from nothing");
  command->add_option("--max-tokens", options->tokens_max, "stop after this many tokens")->capture_default_str();
  command->add_option("--temp", sampling.temperature, "0: always the best token; higher: more adventurous")
      ->capture_default_str();
  command->add_option("--top-k", sampling.top_k, "draw from the k best tokens; 0: from all")->capture_default_str();
  command->add_option("--top-p", sampling.top_p, "draw from the best tokens that reach this probability")
      ->capture_default_str();
  command->add_option("--min-p", sampling.min_p, "leave out tokens below this fraction of the best one's probability")
      ->capture_default_str();
  command->add_option("--repeat-penalty", sampling.repeat_penalty, "above 1: turn away from the last 64 tokens")
      ->capture_default_str();
  command
      ->add_option("--frequency-penalty", sampling.frequency_penalty,
                   "above 0: turn away from tokens by how often they came in the answer")
      ->capture_default_str();
  command
      ->add_option("--presence-penalty", sampling.presence_penalty,
                   "above 0: turn away from tokens that came in the answer")
      ->capture_default_str();
  const auto read_into = [options](env::GrammarKind kind) {
    return [options, kind](const std::string& path) {
      std::ifstream file(path, std::ios::binary);
      options->grammar = {kind, {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()}};
    };
  };
  auto* schema = command
                     ->add_option_function<std::string>("--json-schema", read_into(env::GrammarKind::kJsonSchema),
                                                        "the answer is JSON that satisfies this file's JSON Schema")
                     ->check(CLI::ExistingFile);
  command
      ->add_option_function<std::string>("--grammar", read_into(env::GrammarKind::kGbnf),
                                         "the answer follows this file's grammar, in llama.cpp's notation (GBNF)")
      ->check(CLI::ExistingFile)
      ->excludes(schema);
  command->add_option("--seed", sampling.seed, "the same seed draws the same text")->capture_default_str();
  command->add_option("--stop", options->stops, "end where this text comes; may be given several times");
  command->add_flag("--chat", options->chat, "put the prompt into the model's chat template, as the user's turn");
  command->add_option("--kv", options->kv, fmt::format("of a local run: keys and values as {}", engine::kCacheFormats))
      ->capture_default_str();
  command->add_flag("--long-context", options->long_context, fmt::format("of a local run: {}", kLongContextHelp));
  command
      ->add_option(
          "--lora", options->adapters,
          "of a local run: a LoRA adapter, such as polite.gguf, or half of it, polite.gguf=0.5; several are stacked")
      ->allow_extra_args(false);
  command->add_option(
      "--draft", options->draft,
      "of a local run: a small model of the same vocabulary that guesses ahead, where it is faster; the "
      "text stays the same");
  command->add_option("--threads", options->threads, "0: as many as the machine runs at once")->capture_default_str();
  command->add_flag("--local", options->local, "run here, even when a node is running");
  command->add_flag("--json", options->json, "print one JSON object: text, tokens, times");
  options->home = default_home();
  command->add_option("--home", options->home, "folder of the running node")->capture_default_str();
  command
      ->add_option_function<std::string>(
          "--deadline", [options](const std::string& text) { options->deadline_ms = parse_ms(text); },
          "time for the whole answer, such as 300ms or 2s; needs a running node")
      ->check(check_ms);
  command->add_option_function<std::string>(
      "--fallback", [options](const std::string& text) { options->fallback = text; },
      "what to answer when the model's comes too late");
  command->add_option("--publish", options->publish, "publish the answer on this topic; may be given several times")
      ->allow_extra_args(false);
  commands.on(command, [options] { return run(*options); });
}

}  // namespace sedge::apps
