// Model files with random weights in the shapes of known models: for benchmarks, which need the sizes of a model and
// not its sense, and for tests that should not need a download. The same seed gives the same bytes everywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/dtype.h"
#include "model/llama.h"

namespace sedge::model {

struct RandomOptions {
  std::string shape;  // a name of random_shapes()
  TypeChoice type = {};
  std::uint64_t seed = 1;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes of tensor data; may be empty
};

// "tiny", "tiny-wide" (rows that blocks of 256 fit) and one or more tiny shapes of each architecture, then
// "SmolLM2-135M", "Qwen2.5-0.5B", "TinyLlama-1.1B". The last three are of arch "llama": the second Qwen's biases are
// left out, its sizes are kept.
std::span<const std::string_view> random_shapes();

// Rows that are no whole number of the type's blocks get another (chosen_type).
// Errors: InvalidArgument (no such shape); those of GgufWriter::write.   Cost: streams; a piece of a megabyte in
// memory.
Status write_random(const std::filesystem::path& out, const RandomOptions& options);

// The same model as a Hugging Face directory: config.json, model.safetensors, tokenizer.json, tokenizer_config.json.
// Its weights are F32, whatever options.type says: importing it gives the F32 file's. Errors: as above; Unknown with
// the system's reason.   Cost: one tensor in memory at a time.
Status write_random_hf(const std::filesystem::path& directory, const RandomOptions& options);

}  // namespace sedge::model
