// What `sedge run` was asked for, and running it in this very process.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/sampler.h"
#include "env/compute.h"

namespace sedge::apps {

struct RunOptions {
  std::string model;   // a GGUF file
  std::string prompt;  // raw text; empty: the beginning token alone
  bool chat = false;   // the prompt is a user's turn of the model's chat template
  std::size_t tokens_max = 256;
  engine::SamplingOptions sampling;
  std::vector<std::string> stops;
  env::Grammar grammar;                 // what the text must be
  std::string kv = "f32";               // engine::cache_format_of
  bool long_context = false;            // engine::ModelOptions
  unsigned threads = 0;                 // 0: as many as the machine runs at once
  std::vector<std::string> adapters;    // of a local run: parse_adapter_file
  std::string draft;                    // of a local run: a small model that guesses ahead
  bool local = false;                   // here, even when a node is running
  std::string home;                     // of the node that runs
  double deadline_ms = 0;               // through a node: no answer after this is worth anything; 0: whenever
  std::vector<std::string> publish;     // through a node: topics on which the answer is published
  std::optional<std::string> fallback;  // through a node: what to answer when the model's comes too late
  bool json = false;
};

// Loads the model, streams the text to standard output as it comes, or prints one JSON object at the end.
Status run_local(const RunOptions& options);

}  // namespace sedge::apps
