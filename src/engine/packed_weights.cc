#include "engine/packed_weights.h"

#include <new>
#include <vector>

#include <sys/mman.h>

#include "kernels/kernels.h"
#include "kernels/pack/pack.h"

namespace sedge::engine {
namespace {

// A huge page: where the system grants some, a decode step's walk through all weights misses few translations.
constexpr std::align_val_t kAlignment{std::size_t{2} << 20};
constexpr std::size_t kLine = 64;

std::size_t packed_size(const model::TensorView& tensor) {
  return kernels::packed_bytes(tensor.type, static_cast<std::size_t>(tensor.rows()),
                               static_cast<std::size_t>(tensor.cols()));
}

std::size_t size_of(const model::TensorView& tensor) { return (packed_size(tensor) + kLine - 1) / kLine * kLine; }

std::vector<model::TensorView*> quantized_matrices(model::LlamaModel& llama) {
  std::vector<model::TensorView*> found;
  const auto add = [&](model::TensorView& tensor) {
    if (kernels::is_quantized(tensor.type)) found.push_back(&tensor);
  };
  for (model::LlamaLayer& layer : llama.weights.layers) {
    for (auto part : {&model::LlamaLayer::q, &model::LlamaLayer::k, &model::LlamaLayer::v, &model::LlamaLayer::o,
                      &model::LlamaLayer::gate, &model::LlamaLayer::up, &model::LlamaLayer::down})
      add(layer.*part);
  }
  add(llama.weights.output);
  return found;
}

}  // namespace

void PackedWeights::Release::operator()(std::uint8_t* memory) const { ::operator delete[](memory, kAlignment); }

Result<PackedWeights> PackedWeights::make(model::LlamaModel& llama) {
  const std::vector<model::TensorView*> matrices = quantized_matrices(llama);
  PackedWeights packed;
  for (const model::TensorView* tensor : matrices) packed.bytes_ += size_of(*tensor);
  if (packed.bytes_ == 0) return packed;
  packed.memory_.reset(static_cast<std::uint8_t*>(::operator new[](packed.bytes_, kAlignment, std::nothrow)));
  if (packed.memory_ == nullptr) {
    return fail(Code::kResourceExhausted, "no memory for {} MiB of packed weights: use a smaller model",
                packed.bytes_ >> 20);
  }
  ::madvise(packed.memory_.get(), packed.bytes_, MADV_HUGEPAGE);  // advice: nothing depends on it
  std::uint8_t* at = packed.memory_.get();
  for (model::TensorView* tensor : matrices) {
    const auto rows = static_cast<std::size_t>(tensor->rows()), cols = static_cast<std::size_t>(tensor->cols());
    kernels::pack(tensor->type, tensor->data.data(), rows, cols, at);
    tensor->data = Bytes(at, packed_size(*tensor));
    at += size_of(*tensor);
  }
  return packed;
}

}  // namespace sedge::engine
