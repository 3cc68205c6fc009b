// Hugging Face's config.json of a Llama-shaped model, as sizes. Fields that change the arithmetic and that the
// engine does not have are refused by name; fields that only describe training are ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/llama.h"

namespace sedge::model {

struct HfConfig {
  LlamaConfig config;             // rope_layout is what a GGUF made from it has: kInterleaved
  float rope_linear = 1;          // linear position scaling
  std::vector<float> rope_freqs;  // empty, or the rope_dim / 2 factors of Llama 3.1's scaling
  std::optional<std::int32_t> bos, eos;
};

// Errors: Unimplemented (another network), InvalidArgument (a missing or impossible field), what json::parse gives.
Result<HfConfig> parse_hf_config(std::string_view text);

}  // namespace sedge::model
