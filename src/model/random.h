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

// "tiny", "SmolLM2-135M", "Qwen2.5-0.5B", "TinyLlama-1.1B". All are of arch "llama": the second Qwen's biases are left
// out, its sizes are kept.
std::span<const std::string_view> random_shapes();

// Rows that are no whole number of the type's blocks get another (chosen_type).
// Errors: InvalidArgument (no such shape); those of GgufWriter::write.   Cost: streams; a piece of a megabyte in
// memory.
Status write_random(const std::filesystem::path& out, const RandomOptions& options);

}  // namespace sedge::model
