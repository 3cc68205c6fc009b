// What a model takes of this machine and how fast it is here: before it is chosen, and for the forecasts of who runs
// its tasks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "engine/model.h"

namespace sedge::platform {

struct ModelMemory {
  std::uint64_t weights = 0;   // bytes: packed ones (engine/packed_weights.h), and what is read where it lies
  std::uint64_t position = 0;  // of keys and values, a token of context
};
ModelMemory memory_of(const model::GgufFile& file, const model::LlamaModel& llama, kernels::DType cache);

struct ModelSpeed {
  double prompt_tok_s = 0;
  double generate_tok_s = 0;  // an encoder makes none: the same again
};
struct SpeedSample {
  std::size_t prompt = 32, tokens = 8;  // of one text, within the model's context
};
// Errors: ResourceExhausted (no memory for the text).
Result<ModelSpeed> measure_speed(const std::shared_ptr<const engine::Model>& model, unsigned threads,
                                 SpeedSample sample = {});

}  // namespace sedge::platform
