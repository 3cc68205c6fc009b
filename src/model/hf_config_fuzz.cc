// Any text is a config within its limits or an error.
#include "base/assert.h"
#include "model/hf_config.h"

using namespace sedge;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = model::parse_hf_config(as_text(Bytes(data, size)));
  if (!config) return 0;
  SEDGE_ASSERT(model::check_llama_config(config->config).has_value());
  SEDGE_ASSERT(config->rope_freqs.empty() || config->rope_freqs.size() == config->config.rope_dim / 2);
  return 0;
}
