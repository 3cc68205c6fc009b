// LoRA adapters beside a model (model/lora.h): which of its matrices one adds to, and in what parts a request wants it.
//
// The problem: one copy of the weights, and texts that each want another adapter or none, in one pass. The idea: an
// adapter is a table from a matrix of the model to a pair of thin ones; a pass computes each product for all rows, and
// adds B·(scale·(A·x)) to those whose text asked for it (pass_adapters.cc). Weights are never touched, so that adapters
// come, go and stack from request to request, and a row's bits are those it has alone.
//
// Source: Hu et al. 2021; Chen et al. 2023 (Punica), Sheng et al. 2023 (S-LoRA): adapters side by side in a batch.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "model/lora.h"

namespace sedge::engine {

inline constexpr std::size_t kAdaptersMax = 8;  // stacked, of one text

// Immutable, shared by every text that wants it.
class Adapter {
 public:
  // Errors: those of model::load_lora.
  static Result<std::shared_ptr<const Adapter>> load(const std::filesystem::path& path,
                                                     std::shared_ptr<const Model> base);
  // Of pairs that were read against this model.
  Adapter(std::shared_ptr<const Model> base, model::Lora lora);

  const Model& base() const { return *base_; }
  std::uint64_t parameters() const { return lora_.parameters; }
  std::uint64_t bytes() const;

  // What is added to the product with this matrix of the base; nullptr: nothing.
  const model::LoraPair* find(const model::TensorView* matrix) const;

 private:
  std::shared_ptr<const Model> base_;
  model::Lora lora_;
  std::vector<std::pair<const model::TensorView*, const model::LoraPair*>> by_matrix_;  // sorted
};

// An adapter and how much of it: 1 is as it was trained.
struct AdapterUse {
  std::shared_ptr<const Adapter> adapter;
  float scale = 1;
  friend bool operator==(const AdapterUse&, const AdapterUse&) = default;
};

// Errors: InvalidArgument (over kAdaptersMax, an adapter of another model, a scale that is no finite number).
Status check_adapters(const Model& model, std::span<const AdapterUse> adapters);

}  // namespace sedge::engine
