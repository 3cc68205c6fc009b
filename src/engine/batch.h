// Several texts of one model in one forward pass: each that is past its prompt adds the row of its next token, and
// those still in their prompts share a number of rows that the caller sets.
//
// The problem: a decode step reads all weights for one token; a prompt's chunk keeps everybody else waiting. The idea:
// since a pass gives each row the bits it would have alone (engine.h), rows of any texts may stand side by side, and
// who stands there may change from step to step: texts join, leave and are cancelled between two steps at no cost
// (continuous batching, chunked prefill). How many prompt rows a step takes is a matter of time, which nothing here
// knows: pacer.h. Rejected: a batch that stays together until its longest text ends; a pass for prompts apart from
// one for tokens, which reads the weights twice.
// Source: Yu et al. 2022 (Orca, iteration-level scheduling); Agrawal et al. 2024 (Sarathi-Serve, chunked prefill).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/control.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/logits_pass.h"

namespace sedge::engine {

// One text in a step; what is after `drafts` is the step's to fill in.
struct Member {
  Generation* generation = nullptr;
  std::size_t drafts = 0;     // tokens that it may guess ahead (GenerationOptions::draft_max), a row each
  Result<Step> did = Step{};  // nothing done when no row was left for its prompt
  Rows rows{};
  std::size_t first = 0;  // of all rows whose logits are wanted
  bool asked = false;
};

// Scratch memory that one step leaves for the next; nothing else stays.
class Batch {
 public:
  // One pass for texts of one model that have not ended, each once, most urgent first: prompts take their rows in this
  // order. `prompt_rows` for all prompts together; a text past its prompt has its row in any case.
  // Errors: Cancelled, and those of Engine::forward: no text has moved, the same step may be asked for again. What goes
  // wrong with one text alone (DataLoss) is in its `did`.
  Status step(Engine& engine, std::span<Member> members, std::size_t prompt_rows, const Control* control = nullptr);

  // Of the last step: rows of prompts, and rows of tokens past them with what was guessed.
  std::size_t prompt_rows() const { return prompt_rows_; }
  std::size_t token_rows() const { return token_rows_; }

 private:
  void form(std::span<Member> members, std::size_t prompt_rows);

  std::size_t prompt_rows_ = 0, token_rows_ = 0;
  LogitsPass pass_;
};

}  // namespace sedge::engine
