#include "engine/adapter.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace sedge::engine {

using Row = std::pair<const model::TensorView*, const model::LoraPair*>;

Adapter::Adapter(std::shared_ptr<const Model> base, model::Lora lora) : base_(std::move(base)), lora_(std::move(lora)) {
  for (const model::LoraPair& pair : lora_.pairs) {
    by_matrix_.emplace_back(&(base_->weights().layers[pair.layer].*pair.matrix), &pair);
  }
  std::ranges::sort(by_matrix_, std::less<>(), &Row::first);
}

Result<std::shared_ptr<const Adapter>> Adapter::load(const std::filesystem::path& path,
                                                     std::shared_ptr<const Model> base) {
  SEDGE_TRY(model::Lora lora, model::load_lora(path, base->config()));
  return std::make_shared<const Adapter>(std::move(base), std::move(lora));
}

std::uint64_t Adapter::bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& memory : lora_.memory) bytes += memory->size();
  return bytes;
}

const model::LoraPair* Adapter::find(const model::TensorView* matrix) const {
  const auto at = std::ranges::lower_bound(by_matrix_, matrix, std::less<>(), &Row::first);
  return at == by_matrix_.end() || at->first != matrix ? nullptr : at->second;
}

Status check_adapters(const Model& model, std::span<const AdapterUse> adapters) {
  if (adapters.size() > kAdaptersMax) {
    return fail(Code::kInvalidArgument, "{} adapters, at most {} are stacked", adapters.size(), kAdaptersMax);
  }
  for (const AdapterUse& use : adapters) {
    if (use.adapter == nullptr || &use.adapter->base() != &model) {
      return fail(Code::kInvalidArgument, "an adapter was loaded for another model: load it for this one");
    }
    if (!std::isfinite(use.scale)) {
      return fail(Code::kInvalidArgument, "an adapter's scale is {}, no finite number", use.scale);
    }
  }
  return {};
}

}  // namespace sedge::engine
