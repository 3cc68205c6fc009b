#include "engine/packed_weights.h"

#include <algorithm>
#include <vector>

#include <sys/mman.h>

#include "engine/thread_pool.h"
#include "kernels/kernels.h"
#include "kernels/pack/pack.h"
#include "model/llama_tensors.h"

namespace sedge::engine {
namespace {

constexpr std::size_t kGroupsTogether = 16;                 // of sixteen rows, for a thread to pack
constexpr std::size_t kForgetBytes = std::size_t{1} << 20;  // of the file, packed before they are forgotten
constexpr std::size_t kLooks = 8;                           // matrices that are looked at in what was kept

std::size_t packed_size(const model::TensorView& tensor) {
  return kernels::packed_bytes(tensor.type, static_cast<std::size_t>(tensor.rows()),
                               static_cast<std::size_t>(tensor.cols()));
}

std::size_t lines(std::size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }

std::size_t size_of(const model::TensorView& tensor) { return lines(packed_size(tensor)); }

std::vector<model::TensorView*> quantized_matrices(model::LlamaModel& llama) {
  std::vector<model::TensorView*> found;
  const auto add = [&](model::TensorView& tensor) {
    if (kernels::is_quantized(tensor.type)) found.push_back(&tensor);
  };
  for (model::LlamaLayer& layer : llama.weights.layers) {
    for (const auto& row : model::kLayerRows) {
      if (row.rows != nullptr) add(layer.*row.view);
    }
    for (model::LlamaExpert& expert : layer.experts) add(expert.gate), add(expert.up), add(expert.down);
  }
  add(llama.weights.output);
  return found;
}

// Norms and biases.
std::vector<model::TensorView*> vectors(model::LlamaModel& llama) {
  std::vector<model::TensorView*> found;
  const auto add = [&](auto& owner, const auto& rows) {
    for (const auto& row : rows) {
      if (row.rows == nullptr && !(owner.*row.view).data.empty()) found.push_back(&(owner.*row.view));
    }
  };
  for (model::LlamaLayer& layer : llama.weights.layers) add(layer, model::kLayerRows);
  add(llama.weights, model::kModelRows);
  return found;
}

// Where a vector's copy or a packed matrix lies among all.
struct Place {
  model::TensorView* tensor;
  bool matrix;
  std::size_t at, bytes;
};

// Vectors first: pages of the file that come with them go as matrices are packed.
std::vector<Place> places_of(model::LlamaModel& llama) {
  std::vector<Place> places;
  std::size_t at = 0;
  const auto add = [&](model::TensorView* tensor, bool matrix) {
    const std::size_t bytes = matrix ? packed_size(*tensor) : tensor->data.size();
    places.push_back({tensor, matrix, at, bytes});
    at += lines(bytes);
  };
  for (model::TensorView* vector : vectors(llama)) add(vector, false);
  for (model::TensorView* matrix : quantized_matrices(llama)) add(matrix, true);
  return places;
}

std::size_t end_of(const std::vector<Place>& places) {
  return places.empty() ? 0 : places.back().at + lines(places.back().bytes);
}

void pack_matrix(const model::GgufFile& file, const model::TensorView& tensor, std::uint8_t* at, ThreadPool& pool) {
  const auto rows = static_cast<std::size_t>(tensor.rows()), cols = static_cast<std::size_t>(tensor.cols());
  const std::uint8_t* const from = tensor.data.data();
  const std::size_t row_bytes = tensor.data.size() / rows;
  const std::size_t packed_row = kernels::packed_row_bytes(tensor.type, cols);
  const std::size_t groups = (rows + kernels::kPackedRows - 1) / kernels::kPackedRows;
  const std::size_t part = std::max<std::size_t>(kForgetBytes / (row_bytes * kernels::kPackedRows), 1);
  for (std::size_t done = 0; done < groups; done += part) {
    pool.run(std::min(part, groups - done), kGroupsTogether, nullptr, [&](unsigned, std::size_t b, std::size_t e) {
      const std::size_t first = (done + b) * kernels::kPackedRows;
      const std::size_t last = std::min((done + e) * kernels::kPackedRows, rows);
      kernels::pack(tensor.type, from + first * row_bytes, last - first, cols, at + first * packed_row);
    });
    // With the part before: a page that is touched brings its neighbours, which were forgotten.
    const std::size_t first = (done - std::min(done, part)) * kernels::kPackedRows * row_bytes;
    const std::size_t last = std::min((done + part) * kernels::kPackedRows, rows) * row_bytes;
    file.forget(tensor.data.subspan(first, last - first));
  }
}

// Whether the first sixteen rows of a matrix give what stands there.
bool begins_alike(const model::TensorView& tensor, Bytes packed) {
  const auto all = static_cast<std::size_t>(tensor.rows()), cols = static_cast<std::size_t>(tensor.cols());
  const std::size_t rows = std::min(all, kernels::kPackedRows);
  Buffer again(kernels::packed_bytes(tensor.type, rows, cols));
  kernels::pack(tensor.type, tensor.data.data(), rows, cols, again.data());
  return std::ranges::equal(again, packed.first(again.size()));
}

}  // namespace

std::uint64_t PackedWeights::resident_bytes(model::LlamaModel llama, std::uint64_t in_file) {
  std::uint64_t bytes = in_file;
  for (const model::TensorView* tensor : quantized_matrices(llama)) {
    bytes += size_of(*tensor);
    if (tensor->data.data() != llama.weights.token_embd.data.data()) bytes -= tensor->data.size();  // a tied head stays
  }
  return bytes;
}

std::uint64_t PackedWeights::packed_bytes(model::LlamaModel llama) {
  std::uint64_t bytes = 0;
  for (const model::TensorView* tensor : quantized_matrices(llama)) bytes += size_of(*tensor);
  return bytes;
}

Result<PackedWeights> PackedWeights::make(const model::GgufFile& file, model::LlamaModel& llama) {
  PackedWeights packed;
  const std::vector<Place> places = places_of(llama);
  const std::size_t bytes = end_of(places);
  if (packed_bytes(llama) == 0) return packed;
  packed.memory_ = try_aligned<kAlignment>(bytes);
  if (packed.memory_ == nullptr) {
    return fail(Code::kResourceExhausted, "no memory for {} MiB of packed weights: use a smaller model", bytes >> 20);
  }
  packed.bytes_ = bytes;
  ::madvise(packed.memory_.get(), bytes, MADV_HUGEPAGE);  // advice: nothing depends on it
  ThreadPool pool(hardware_threads());                    // only for this: a model is loaded once
  for (const Place& place : places) {
    std::uint8_t* const at = packed.memory_.get() + place.at;
    if (place.matrix) {
      pack_matrix(file, *place.tensor, at, pool);
    } else {
      std::ranges::copy(place.tensor->data, at);
    }
    place.tensor->data = Bytes(at, place.bytes);
  }
  for (const Bytes part : file.parts()) file.forget(part);
  return packed;
}

Result<PackedWeights> PackedWeights::kept(const model::GgufFile& file, KeptWeights weights, model::LlamaModel& llama) {
  const std::vector<Place> places = places_of(llama);
  if (weights.bytes.size() != end_of(places) || packed_bytes(llama) == 0) {
    return fail(Code::kDataLoss, "{} bytes of packed weights are kept, the model has {}", weights.bytes.size(),
                end_of(places));
  }
  std::vector<const Place*> matrices;
  for (const Place& place : places) {
    if (place.matrix) matrices.push_back(&place);
  }
  for (std::size_t i = 0; i < matrices.size(); i += (matrices.size() + kLooks - 1) / kLooks) {
    if (!begins_alike(*matrices[i]->tensor, weights.bytes.subspan(matrices[i]->at))) {
      return fail(Code::kDataLoss, "the packed weights that are kept are not those of '{}'", matrices[i]->tensor->name);
    }
  }
  for (const Place& place : places) place.tensor->data = weights.bytes.subspan(place.at, place.bytes);
  for (const Bytes part : file.parts()) file.forget(part);
  PackedWeights packed;
  packed.kept_ = std::move(weights);
  return packed;
}

}  // namespace sedge::engine
