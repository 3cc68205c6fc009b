// The training run: data and vocabulary in, checkpoints and a model out.
//
// The run is a function of the recipe: the same recipe on the same instruction set gives the same losses, whether it
// ran through or was killed and started again a hundred times. Nothing here reads a clock; what is seen of time
// comes from the observer.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "base/result.h"
#include "train/backend.h"
#include "train/recipe.h"

namespace sedge::train {

struct Progress {
  std::size_t step = 0, steps = 0;  // done, in all
  double loss = 0;                  // mean over the steps since the last report, nats a counted token
  double lr = 0;
  std::size_t tokens = 0;  // done in this process, filler not counted
};

struct Observer {
  std::function<void(const Progress&)> progress;  // after each step
  std::function<void(const std::string&)> say;    // one line about a stage
  std::function<bool()> stop;                     // asked after each step: true ends with a checkpoint
  std::function<Status(const Recipe&, const std::string& folder)> write_corpus;  // train.jsonl and valid*.jsonl
};

// Goes on from `out`/checkpoint.safetensors when there is one, and then writes the model.
// Errors: FailedPrecondition when that checkpoint is of another recipe; Cancelled when stopped; those of the files.
Status train(const Recipe& recipe, Backend& backend, const Observer& observer);

}  // namespace sedge::train
