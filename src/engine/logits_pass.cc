#include "engine/logits_pass.h"

namespace sedge::engine {

void LogitsPass::clear() { ids_.clear(), slices_.clear(), wanted_.clear(), logits_.clear(); }

void LogitsPass::add(Sequence& sequence, std::span<const std::int32_t> ids, std::size_t logits,
                     std::span<const AdapterUse> adapters) {
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  slices_.push_back({&sequence, ids.size(), adapters});
  wanted_.push_back(logits);
}

Status LogitsPass::run(Engine& engine, const Model& model, const Control* control) {
  const std::size_t dim = model.config().dim;
  hidden_.resize(ids_.size() * dim);
  SEDGE_CHECK(engine.embed(model, ids_, hidden_));
  SEDGE_CHECK(engine.forward(model, slices_, 0, model.config().layers, hidden_, control));
  last_.clear();
  auto end = hidden_.begin();
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    end += static_cast<std::ptrdiff_t>(slices_[i].tokens * dim);
    last_.insert(last_.end(), end - static_cast<std::ptrdiff_t>(wanted_[i] * dim), end);
  }
  logits_.resize(last_.size() / dim * model.config().vocab);
  return last_.empty() ? Status{} : engine.head(model, last_, logits_, control);
}

}  // namespace sedge::engine
