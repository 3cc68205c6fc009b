// LoRA adapters: for some matrices W of a model two thin ones, A and B, so that y = W·x + scale · B·(A·x).
//
// The problem: adapters come as GGUF or as Hugging Face's PEFT writes them, under other names and with other orders of
// rows. The idea: an adapter is read against the sizes of the model that it belongs to, by the rows of the tensor table
// (llama_tensors.h); what comes out names the matrix itself and has its rows in the model's order, so that nobody
// behind looks at a name. Parts that are not run are refused by name: left out, they would change the answer. Rejected:
// adding B·A to the weights (a copy of the model for each adapter, and blocks of four bits would round most of it
// away).
//
// Source: docs/formats/lora.md; Hu et al. 2021; Kalajdzievski 2023 (rank-stabilized scaling).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/llama.h"
#include "model/safetensors.h"

namespace sedge::model {

inline constexpr std::size_t kLoraRankMax = 512;

struct LoraPair {
  std::size_t layer = 0;
  TensorView LlamaLayer::* matrix = nullptr;  // what its part is added to: [cols, rows]
  TensorView a;                               // [cols, rank]
  TensorView b;                               // [rank, rows]
  float scale = 1;                            // alpha / rank
};

struct Lora {
  std::vector<LoraPair> pairs;                  // F32, F16 or BF16; no matrix twice
  std::vector<std::unique_ptr<Buffer>> memory;  // what their views point into
  std::uint64_t parameters = 0;
};

// `path`: a GGUF file, or a directory with adapter_config.json and adapter_model.safetensors.
// Errors, with the path in front: those of the readers; DataLoss (a pair that is incomplete or of other shapes than the
//         base model's); NotFound (a tensor that it does not have); InvalidArgument (another architecture; no adapter);
//         Unimplemented (DoRA, embeddings, heads, experts, ranks over kLoraRankMax).
Result<Lora> load_lora(const std::filesystem::path& path, const LlamaConfig& base);

// The files that load_lora reads.
std::vector<std::filesystem::path> lora_files(const std::filesystem::path& path);

// The same from what is open already; the files may go afterwards. `config` is adapter_config.json.
Result<Lora> lora_from_gguf(const GgufFile& file, const LlamaConfig& base);
Result<Lora> lora_from_peft(std::string_view config, const SafetensorsFile& file, const LlamaConfig& base);

struct RandomLoraOptions {
  std::size_t rank = 8;
  DType type = DType::kF32;
  std::uint64_t seed = 1;
};

// An adapter of random values for every matrix of every layer but experts', as GGUF: for tests. The same seed gives the
// same bytes. alpha is half the rank. Errors: InvalidArgument (a rank out of range, a type that is not of floats);
// those of GgufWriter::write.
Status write_random_lora(const std::filesystem::path& out, const LlamaConfig& base, const RandomLoraOptions& options);

}  // namespace sedge::model
