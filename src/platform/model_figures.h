// What a model takes of this machine and how fast it is here: before it is chosen, and for the forecasts of who runs
// its tasks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/result.h"
#include "engine/model.h"
#include "platform/packed_store.h"

namespace sedge::platform {

struct ModelMemory {
  std::uint64_t weights = 0;   // bytes: packed ones (engine/packed_weights.h), and what is read where it lies
  std::uint64_t packed = 0;    // of these: memory that the system cannot take back
  std::uint64_t position = 0;  // of keys and values, a token of context
};
ModelMemory memory_of(const model::GgufFile& file, const model::LlamaModel& llama, kernels::DType cache);

// The weights of a model file, for as long as this process may have the memory: where packing them would take more than
// `bytes_max`, the system would end the process in the middle of it, or later. 0: nobody counts.
// Those that `store` keeps are not packed, and the system may take their memory back: they are not counted.
// Errors: those of engine::Model::load; ResourceExhausted, with what is needed and what there is.
Result<std::shared_ptr<const engine::Model>> load_model(const std::filesystem::path& path, engine::ModelOptions options,
                                                        std::size_t bytes_max, PackedStore* store = nullptr);
// The same on this machine, beside `packed` bytes of weights that are loaded.
Result<std::shared_ptr<const engine::Model>> load_here(const std::filesystem::path& path,
                                                       engine::ModelOptions options = {}, std::size_t packed = 0,
                                                       PackedStore* store = nullptr);

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
