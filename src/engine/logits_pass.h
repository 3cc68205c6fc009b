// Rows of several sequences through all layers of one model, and the logits of the last few rows of each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/control.h"
#include "engine/engine.h"

namespace sedge::engine {

// Its memory stays for the next pass.
class LogitsPass {
 public:
  void clear();
  // The next positions of a sequence, each sequence once; `logits` of the last of them are wanted.
  void add(Sequence& sequence, std::span<const std::int32_t> ids, std::size_t logits,
           std::span<const AdapterUse> adapters = {});
  std::size_t rows() const { return ids_.size(); }
  std::size_t sequences() const { return slices_.size(); }

  // Errors: Cancelled, and those of Engine::embed, forward and head. After one that head() met, sequences have moved.
  Status run(Engine& engine, const Model& model, const Control* control);
  // Of the last run, in the order of add(): [logits wanted, vocab].
  std::span<float> logits() { return logits_; }

 private:
  std::vector<std::int32_t> ids_;
  std::vector<Slice> slices_;
  std::vector<std::size_t> wanted_;  // logits of each slice
  std::vector<float> hidden_;        // [rows, dim]
  std::vector<float> last_;          // [rows whose logits are wanted, dim]
  std::vector<float> logits_;
};

}  // namespace sedge::engine
