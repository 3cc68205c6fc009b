#include "engine/engine.h"

#include <algorithm>
#include <cmath>

#include "engine/pass.h"
#include "kernels/kernels.h"

namespace sedge::engine {

using model::TensorView;

namespace {

// How many rows pass a layer together: so many tokens, or of an encoder whole texts, one at least.
std::size_t chunk_of(std::span<const PassRow> rows, std::size_t tokens, bool causal) {
  if (causal) return std::min(tokens, rows.size());
  std::size_t count = rows[0].seen;
  while (count < rows.size() && count + rows[count].seen <= tokens) count += rows[count].seen;
  return count;
}

Status check_size(std::string_view what, std::size_t size, std::size_t tokens, std::size_t width) {
  if (size == tokens * width) return {};
  return fail(Code::kInvalidArgument, "{} has {} floats, {} tokens of {} were meant", what, size, tokens, width);
}

std::unexpected<Error> cancelled() { return fail(Code::kCancelled, "cancelled"); }

}  // namespace

Engine::Engine(EngineOptions options) : options_(options), pool_(options.threads) {
  options_.chunk_tokens = std::clamp(options_.chunk_tokens, std::size_t{1}, std::size_t{512});
}

Status Engine::embed(const Model& model, std::span<const std::int32_t> ids, std::span<float> hidden) const {
  const TensorView& table = model.weights().token_embd;
  const std::size_t dim = model.config().dim;
  SEDGE_CHECK(check_size("the hidden state", hidden.size(), ids.size(), dim));
  const kernels::Format& format = kernels::format_of(table.type);
  const std::size_t row_bytes = dim / format.block_values * format.block_bytes;
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const auto id = static_cast<std::size_t>(ids[t]);
    if (ids[t] < 0 || id >= model.config().vocab) {
      return fail(Code::kInvalidArgument, "token {} is {}, the vocabulary has {}", t, ids[t], model.config().vocab);
    }
    format.dequantize(table.data.data() + id * row_bytes, hidden.data() + t * dim, dim);
  }
  if (!model.config().features.scaled_embedding) return {};
  const float scale = std::sqrt(static_cast<float>(dim));
  for (float& value : hidden) value *= scale;
  return {};
}

Status Engine::find_rows(std::span<const Slice> slices, std::size_t layer_begin, std::size_t layer_end, bool causal) {
  rows_.clear();
  for (const Slice& slice : slices) {
    if (slice.sequence == nullptr || !slice.sequence->holds(layer_begin, layer_end)) {
      return fail(Code::kInvalidArgument, "a sequence has no memory for layers {} to {}", layer_begin, layer_end);
    }
    const std::size_t length = slice.sequence->length(layer_begin);
    for (std::size_t layer = layer_begin; layer < layer_end; ++layer) {
      if (slice.sequence->length(layer) == length) continue;
      return fail(Code::kFailedPrecondition, "layer {} stands at position {}, layer {} at {}", layer_begin, length,
                  layer, slice.sequence->length(layer));
    }
    if (slice.tokens > slice.sequence->capacity() - length) {
      return fail(Code::kOutOfRange, "{} tokens do not fit at position {} of a context of {}", slice.tokens, length,
                  slice.sequence->capacity());
    }
    if (!causal && length > 0) {
      return fail(Code::kFailedPrecondition, "an encoder computes a text at once, this one has {} positions", length);
    }
    for (std::size_t i = 0; i < slice.tokens; ++i) {
      rows_.push_back({slice.sequence, length + i, causal ? length + i + 1 : slice.tokens, slice.adapters});
    }
  }
  return {};
}

Status Engine::forward(const Model& model, std::span<const Slice> slices, std::size_t layer_begin,
                       std::size_t layer_end, std::span<float> hidden, const Control* control) {
  if (layer_begin >= layer_end || layer_end > model.config().layers) {
    return fail(Code::kInvalidArgument, "layers {} to {} are not in a model of {}", layer_begin, layer_end,
                model.config().layers);
  }
  const bool causal = model.config().features.causal;
  for (const Slice& slice : slices) SEDGE_CHECK(check_adapters(model, slice.adapters));
  SEDGE_CHECK(find_rows(slices, layer_begin, layer_end, causal));
  const std::size_t dim = model.config().dim;
  SEDGE_CHECK(check_size("the hidden state", hidden.size(), rows_.size(), dim));
  for (auto left = std::span<const PassRow>(rows_); !left.empty();) {
    const auto chunk = left.first(chunk_of(left, options_.chunk_tokens, causal));
    Pass pass(*this, model, chunk.size(), control);
    if (!pass.layers(chunk, layer_begin, layer_end, hidden.data() + (rows_.size() - left.size()) * dim)) {
      return cancelled();
    }
    left = left.subspan(chunk.size());
  }
  for (const PassRow& row : rows_) {  // only now, so that a cancelled call has added nothing
    for (std::size_t layer = layer_begin; layer < layer_end; ++layer) row.sequence->set_length(layer, row.position + 1);
  }
  return {};
}

Status Engine::final_norm(const Model& model, std::span<float> hidden) {
  const std::size_t dim = model.config().dim, tokens = hidden.size() / dim;
  SEDGE_CHECK(check_size("the hidden state", hidden.size(), tokens, dim));
  Pass(*this, model, tokens, nullptr).final_norm(hidden.data());
  return {};
}

Status Engine::head(const Model& model, std::span<const float> hidden, std::span<float> logits,
                    const Control* control) {
  if (model.weights().output.data.empty()) {
    return fail(Code::kInvalidArgument, "a model of architecture '{}' predicts no tokens: it makes embeddings",
                model.config().arch);
  }
  const std::size_t dim = model.config().dim, vocab = model.config().vocab, tokens = hidden.size() / dim;
  SEDGE_CHECK(check_size("the hidden state", hidden.size(), tokens, dim));
  SEDGE_CHECK(check_size("the logits", logits.size(), tokens, vocab));
  for (std::size_t first = 0; first < tokens; first += options_.chunk_tokens) {
    Pass pass(*this, model, std::min(options_.chunk_tokens, tokens - first), control);
    if (!pass.head(hidden.data() + first * dim, logits.data() + first * vocab)) return cancelled();
  }
  return {};
}

}  // namespace sedge::engine
