// A checkpoint: everything from which training goes on as if nothing had happened.
//
// One safetensors file (any tool reads the tensors): weights and both moments, and in the header's metadata the step,
// the place in the data, the recipe's fingerprint and the vocabulary. One file, so that its parts cannot be of two
// ages: it is written beside the old one, synced and renamed over it, and a SIGKILL at any moment leaves one whole
// checkpoint, the old or the new.
// Source: docs/formats/checkpoint.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "train/dataset.h"
#include "train/net.h"

namespace sedge::train {

struct Checkpoint {
  NetConfig net;
  std::uint64_t step = 0;  // steps done
  DataPosition position;
  std::string fingerprint;                  // see recipe.h, with the data's hash and the precision
  std::string tokenizer, tokenizer_config;  // Hugging Face's two files
  std::vector<float> weights, m, v;         // flat, laid out by weight_slots(net)
};

Status write_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

// Errors: NotFound; DataLoss or OutOfRange (not a checkpoint, or a damaged one) naming field or tensor.
Result<Checkpoint> read_checkpoint(const std::filesystem::path& path);

// The pieces, also for exports.

struct NamedTensor {
  std::string name;
  std::vector<std::uint64_t> shape;  // outermost first
  std::span<const float> values;
};
using Metadata = std::vector<std::pair<std::string, std::string>>;

Status write_safetensors(const std::filesystem::path& path, const Metadata& metadata,
                         std::span<const NamedTensor> tensors);

// All of the bytes under the name, or what was there before; durable when it returns.
Status write_file_atomically(const std::filesystem::path& path, std::span<const Bytes> parts);

}  // namespace sedge::train
