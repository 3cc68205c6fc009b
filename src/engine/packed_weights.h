// A model's block-quantized matrices as the kernels want them (kernels/pack/pack.h), made once when it is loaded.
//
// Memory: as many bytes again as those matrices have in the file, rounded up to sixteen rows each. The file's own
// pages are dropped as they are packed, so that both are never in memory together. Norms and biases are copied beside
// them: a system with large pages brings two megabytes for each that is read in the file, and one that is short of
// memory takes them away between two tokens. Rows of the embedding come again as they are looked up.
//
// What was packed once can be kept and mapped by the next process (platform/packed_store.h), which then packs nothing,
// and whose system may take the memory back, as any file's.
//
// Rejected: weaving on the fly (each decode step would pay), and weaving only what fits some allowance (two layouts
// for every kernel, and a speed that nobody can foresee).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "engine/aligned.h"
#include "model/gguf.h"
#include "model/llama.h"
#include "model/mapped_file.h"

namespace sedge::engine {

// Where an earlier process has kept PackedWeights::memory(), at a cache line; none: nowhere.
struct KeptWeights {
  std::shared_ptr<const model::MappedFile> file;
  Bytes bytes;
};

class PackedWeights {
 public:
  // Counted up with each change of how a matrix is packed (kernels/pack/pack.h) or where it lies among the others: what
  // was kept before is not found then (docs/formats/packed_weights.md).
  static constexpr std::uint32_t kLayout = 1;

  // Points the data of every quantized matrix of the layers and of the head, which are in `file`, at its packed form,
  // which lives as long as what is returned, and vectors at their copies; nothing where no matrix is quantized. The
  // embedding stays as it is in the file: its rows are read one by one.
  // Errors: ResourceExhausted (no memory for it): use a smaller model.
  static Result<PackedWeights> make(const model::GgufFile& file, model::LlamaModel& llama);

  // The same, of bytes that were packed before. Errors: DataLoss: they are not this model's, by their number or by some
  // rows that are packed again to see.
  static Result<PackedWeights> kept(const model::GgufFile& file, KeptWeights weights, model::LlamaModel& llama);

  // What a model of `in_file` bytes of tensors takes once it runs: its matrices are packed, the rest is read in place.
  static std::uint64_t resident_bytes(model::LlamaModel llama, std::uint64_t in_file);
  // Of these what is packed: memory that the system cannot take back, as it can the pages of a file.
  static std::uint64_t packed_bytes(model::LlamaModel llama);
  // Memory that the system cannot take back: none of what was kept.
  std::size_t bytes() const { return kept_.file == nullptr ? memory().size() : 0; }
  // All that was packed or copied, as kept() takes it.
  Bytes memory() const { return kept_.file == nullptr ? Bytes(memory_.get(), bytes_) : kept_.bytes; }

 private:
  // A huge page: where the system grants some, a decode step's walk through all weights misses few translations.
  static constexpr std::size_t kAlignment = std::size_t{2} << 20;
  AlignedBytes<kAlignment> memory_;
  std::size_t bytes_ = 0;
  KeptWeights kept_;
};

}  // namespace sedge::engine
