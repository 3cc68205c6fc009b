// Sentences with their actions, made from the grammar (grammar.h) and the lexicon, deterministic from a seed.
//
// Three splits that cannot overlap: a sentence belongs to held-out sentences when its hash says so, whatever the seed,
// and to held-out templates when a held-out row took part in it. The hash ignores case and punctuation, so that a
// held-out sentence has no twin in training.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace sedge::train::heron {

struct Example {
  std::string sentence;
  std::string action;  // canonical JSON, one line
  int template_id =
      -1;  // the row of grammar() that made its first clause, or what is not an order; -1: a frame says it all
};

enum class Split { kTrain, kHeldOutSentences, kHeldOutTemplates };

// The examples of one split; only training repeats itself. The same arguments give the same list on every machine.
std::vector<Example> generate(std::uint64_t seed, std::size_t count, Split split);

// Writes train.jsonl (`count` lines), heldout_sentences.jsonl and heldout_templates.jsonl (1000 each) into `dir`:
// {"prompt":"<sentence>\n","completion":"<action>"}.
// Errors: Unavailable when a file cannot be written.
Status write_corpus(const std::string& dir, std::uint64_t seed, std::size_t count);

// One line of such a file.
std::string to_jsonl(const Example& example);

// A table of examples, mean sentence and action bytes for each action, and totals.
std::string coverage(const std::vector<Example>& examples);

}  // namespace sedge::train::heron
