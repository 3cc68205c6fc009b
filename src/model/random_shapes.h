// The shapes that random models come in. Internal to random*.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/hf_type.h"
#include "model/random_tensor.h"
#include "model/rope_scaling.h"
#include "model/vocab.h"

namespace sedge::model {

struct RandomShape {
  const HfType* type = nullptr;  // what it would be called at Hugging Face
  LlamaConfig config;
  std::vector<float> rope_short, rope_long;  // of LongRoPE: [rope_dim / 2]
  std::optional<Llama3Scaling> llama3;       // what rope_freqs are made from
  std::vector<float> rope_freqs;             // [rope_dim / 2], or empty
};

// Errors: InvalidArgument with the names there are.
Result<RandomShape> find_random_shape(std::string_view name);

// Bytes (of an encoder: characters), and words that hardly a text spells: as many as the shape has.
Vocab random_vocab(const LlamaConfig& config);

// The tensor of a row, with the next seed.
template <class Owner>
RandomTensor random_tensor(const RandomShape& shape, const LlamaTensorRow<Owner>& row, DType type, std::uint64_t seed) {
  const bool vector = row.rows == nullptr;
  const RandomKind of_vector = row.suffix == kBias ? RandomKind::kBiasVector : RandomKind::kNormVector;
  return {shape_of(row, shape.config), type, vector ? of_vector : RandomKind::kMatrix, shape.type->norms_less_one,
          seed};
}

}  // namespace sedge::model
