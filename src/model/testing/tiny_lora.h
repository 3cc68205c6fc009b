// Small LoRA adapters in memory, in both layouts, for tests of the reader and of the engine.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "model/llama_tensors.h"
#include "model/testing/tiny_llama.h"

namespace sedge::model::testing {

struct NamedValues {
  std::string name;
  std::vector<std::uint64_t> shape;  // outermost first
  std::vector<float> values;
};

inline Buffer safetensors_of(const std::vector<NamedValues>& tensors) {
  json::Object header;
  Buffer data;
  for (const NamedValues& tensor : tensors) {
    const std::size_t begin = data.size(), bytes = tensor.values.size() * sizeof(float);
    data.resize(begin + bytes);
    std::memcpy(data.data() + begin, tensor.values.data(), bytes);
    header[tensor.name] = json::Object{{"dtype", "F32"},
                                       {"shape", json::Array(tensor.shape.begin(), tensor.shape.end())},
                                       {"data_offsets", json::Array{begin, data.size()}}};
  }
  const std::string text = json::write(header);
  const std::uint64_t length = text.size();
  Buffer file(sizeof length + text.size());
  std::memcpy(file.data(), &length, sizeof length);
  std::memcpy(file.data() + sizeof length, text.data(), text.size());
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

// One half of a pair in PEFT's layout: "A" [rank, cols] or "B" [rows, rank], values within ±`span`.
inline NamedValues peft_half(const std::string& module, char half, std::uint64_t outer, std::uint64_t inner,
                             std::uint64_t seed, float span = 1) {
  NamedValues made{fmt::format("base_model.model.{}.lora_{}.weight", module, half),
                   {outer, inner},
                   random_values(outer * inner, seed)};
  for (float& value : made.values) value *= span;
  return made;
}

struct TinyLoraOptions {
  std::string arch = "llama";
  float alpha = 16;
  DType type = DType::kF32;
  std::uint64_t seed = 1;
  float span = 1;  // of the values
};

// A GGUF adapter of these pairs: a matrix's name, its row length and rows, the rank.
struct TinyPair {
  std::string name;
  std::uint64_t cols, rows, rank;
};
inline Buffer tiny_lora(const std::vector<TinyPair>& pairs, const TinyLoraOptions& options = {}) {
  GgufWriter writer;
  writer.set("general.architecture", options.arch);
  writer.set("general.type", "adapter");
  writer.set("adapter.type", "lora");
  writer.set("adapter.lora.alpha", options.alpha);
  std::uint64_t seed = options.seed * 1000;
  const auto add = [&](const std::string& name, std::vector<std::uint64_t> shape) {
    std::vector<float> values = random_values(shape[0] * shape[1], seed++);
    for (float& value : values) value *= options.span;
    const auto& format = kernels::format_of(options.type);
    Buffer bytes(values.size() / format.block_values * format.block_bytes);
    format.quantize(values.data(), bytes.data(), values.size());
    writer.add_tensor(name, options.type, std::move(shape), [bytes](const ByteSink& sink) { return sink(bytes); });
  };
  for (const TinyPair& pair : pairs) {
    add(pair.name + ".lora_a", {pair.cols, pair.rank});
    add(pair.name + ".lora_b", {pair.rank, pair.rows});
  }
  auto bytes = writer.to_bytes();
  SEDGE_ASSERT(bytes.has_value());
  return *std::move(bytes);
}

// Pairs of one rank for all matrices of all layers.
inline std::vector<TinyPair> all_pairs(const LlamaConfig& config, std::uint64_t rank) {
  std::vector<TinyPair> pairs;
  for (const auto& [name, shape] : tensor_list(config)) {
    if (name.starts_with("blk.") && shape.size() == 2) pairs.push_back({name, shape[0], shape[1], rank});
  }
  return pairs;
}

}  // namespace sedge::model::testing
