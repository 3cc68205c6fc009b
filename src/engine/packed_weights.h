// A model's block-quantized matrices as the kernels want them (kernels/pack/pack.h), made once when it is loaded.
//
// Memory: as many bytes again as those matrices have in the file, rounded up to sixteen rows each. The file's own
// pages are dropped as they are packed, so that both are never in memory together. Norms and biases are copied beside
// them: a system with large pages brings two megabytes for each that is read in the file, and one that is short of
// memory takes them away between two tokens. Rows of the embedding come again as they are looked up.
// Rejected: weaving on the fly (each decode step would pay), and weaving only what fits some allowance (two layouts
// for every kernel, and a speed that nobody can foresee).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "engine/aligned.h"
#include "model/gguf.h"
#include "model/llama.h"

namespace sedge::engine {

class PackedWeights {
 public:
  // Points the data of every quantized matrix of the layers and of the head, which are in `file`, at its packed form,
  // which lives as long as what is returned, and vectors at their copies; nothing where no matrix is quantized. The
  // embedding stays as it is in the file: its rows are read one by one.
  // Errors: ResourceExhausted (no memory for it): use a smaller model.
  static Result<PackedWeights> make(const model::GgufFile& file, model::LlamaModel& llama);

  // What a model of `in_file` bytes of tensors takes once it runs: its matrices are packed, the rest is read in place.
  static std::uint64_t resident_bytes(model::LlamaModel llama, std::uint64_t in_file);
  // Of these what is packed: memory that the system cannot take back, as it can the pages of a file.
  static std::uint64_t packed_bytes(model::LlamaModel llama);
  std::size_t bytes() const { return bytes_; }

 private:
  // A huge page: where the system grants some, a decode step's walk through all weights misses few translations.
  static constexpr std::size_t kAlignment = std::size_t{2} << 20;
  AlignedBytes<kAlignment> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace sedge::engine
