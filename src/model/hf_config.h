// Hugging Face's config.json of a Llama-shaped model, as sizes. Fields that change the arithmetic and that the
// engine does not have are refused by name; fields that only describe training are ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/hf_type.h"

namespace sedge::model {

struct HfConfig {
  const HfType* type = nullptr;  // its row
  LlamaConfig config;            // what a GGUF made from it has
  // Empty, or rope_dim / 2 factors each: those of Llama 3.1's scaling; the short and the long ones of LongRoPE.
  std::vector<float> rope_freqs, rope_short, rope_long;
  std::optional<std::int32_t> bos, eos;
};

// Errors: Unimplemented (another network), InvalidArgument (a missing or impossible field), what json::parse gives.
Result<HfConfig> parse_hf_config(std::string_view text);

}  // namespace sedge::model
