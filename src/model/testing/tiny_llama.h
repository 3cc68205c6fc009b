// A Llama of a few kilobytes with random weights, for tests of readers, importers and engines.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"
#include "model/gguf.h"
#include "model/llama_tensors.h"
#include "model/vocab.h"

namespace sedge::model::testing {

inline LlamaConfig tiny_config() {
  LlamaConfig config;
  config.arch = "llama";
  config.name = "tiny";
  config.layers = 2;
  config.dim = 32;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = config.rope_dim = 8;
  config.ffn_dim = 64;
  config.vocab = 16;
  config.context = 64;
  config.tied = true;
  return config;
}

// Every tensor of such a model by its GGUF name and shape, in file order.
inline std::vector<std::pair<std::string, std::vector<std::uint64_t>>> tensor_list(const LlamaConfig& config) {
  std::vector<std::pair<std::string, std::vector<std::uint64_t>>> list;
  const Status all = for_each_tensor(config, [&](const auto& row, std::size_t layer) -> Status {
    list.emplace_back(gguf_name(row, layer), shape_of(row, config));
    return {};
  });
  SEDGE_ASSERT(all.has_value());
  return list;
}

// Values in [-1, 1), the same for the same seed.
inline std::vector<float> random_values(std::size_t count, std::uint64_t seed) {
  Prng prng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(prng.uniform() * 2 - 1);
  return values;
}

inline Buffer random_tensor(DType type, std::span<const std::uint64_t> shape, std::uint64_t seed) {
  std::size_t count = 1;
  for (const std::uint64_t dimension : shape) count *= dimension;
  const auto& format = kernels::format_of(type);
  Buffer bytes(count / format.block_values * format.block_bytes);
  format.quantize(random_values(count, seed).data(), bytes.data(), count);
  return bytes;
}

// Matrices of type `type`, vectors F32. The writer owns its bytes.
inline GgufWriter tiny_writer(const LlamaConfig& config, DType type = DType::kF32, std::uint64_t seed = 1) {
  GgufWriter writer;
  write_llama_config(writer, config);
  for (const auto& [name, shape] : tensor_list(config)) {
    const DType stored = shape.size() == 1 ? DType::kF32 : type;
    writer.add_tensor(name, stored, shape,
                      [data = random_tensor(stored, shape, seed++)](const ByteSink& sink) { return sink(data); });
  }
  return writer;
}

// Every byte a token of its own, after <unk>, <s> and </s>: 259 of them.
inline Vocab byte_vocab() {
  Vocab vocab;
  vocab.tokens = {"<unk>", "<s>", "</s>"};
  vocab.types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    vocab.tokens.push_back(fmt::format("<0x{:02X}>", byte));
    vocab.types.push_back(6);
  }
  vocab.scores.assign(vocab.tokens.size(), 0.0f);
  vocab.unk = 0, vocab.bos = 1, vocab.eos = 2;
  return vocab;
}

}  // namespace sedge::model::testing
