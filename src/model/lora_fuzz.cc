// Any bytes are an adapter of the small model here or an error: a GGUF, or a PEFT config and safetensors with a zero
// between them. Of an adapter every pair fits its matrix.
#include <algorithm>

#include "base/assert.h"
#include "model/lora.h"
#include "model/testing/tiny_llama.h"

using namespace sedge;

namespace {

Result<model::Lora> read(Bytes input, const model::LlamaConfig& base) {
  const auto zero = std::ranges::find(input, std::uint8_t{0});
  if (zero == input.end() || input[0] != '{') {
    SEDGE_TRY(const model::GgufFile file, model::GgufFile::parse(input));
    return model::lora_from_gguf(file, base);
  }
  const auto config = static_cast<std::size_t>(zero - input.begin());
  SEDGE_TRY(const model::SafetensorsFile file, model::SafetensorsFile::parse(input.subspan(config + 1)));
  return model::lora_from_peft(as_text(input.first(config)), file, base);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const model::LlamaConfig base = model::testing::tiny_config();
  const auto lora = size == 0 ? Result<model::Lora>(fail(Code::kOutOfRange, "nothing")) : read({data, size}, base);
  if (!lora) return 0;
  SEDGE_ASSERT(!lora->pairs.empty());
  for (const model::LoraPair& pair : lora->pairs) {
    SEDGE_ASSERT(pair.layer < base.layers && pair.matrix != nullptr);
    SEDGE_ASSERT(pair.a.rows() == pair.b.cols() && pair.a.rows() >= 1 && pair.a.rows() <= model::kLoraRankMax);
    for (const model::TensorView* half : {&pair.a, &pair.b}) {
      SEDGE_ASSERT(half->data.size() == half->rows() * *model::row_bytes(half->type, half->cols()));
    }
  }
  return 0;
}
