#include "engine/embedding.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace sedge::engine {
namespace {

using model::Pooling;

constexpr std::size_t kTokensTogether = 512;  // of several texts in one pass: scratch is some megabytes then

Status check_length(std::size_t tokens, std::size_t context) {
  if (tokens == 0) return fail(Code::kInvalidArgument, "an empty text has no embedding");
  if (tokens <= context) return {};
  return fail(Code::kInvalidArgument, "{} tokens, the model's context is {}: shorten the text, or cut it in parts",
              tokens, context);
}

Status check(const Model& model, std::span<const std::vector<std::int32_t>> texts, std::size_t dimensions) {
  const model::LlamaConfig& config = model.config();
  if (dimensions > config.dim) {
    return fail(Code::kInvalidArgument, "{} dimensions are asked for, the model has {}", dimensions, config.dim);
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (auto status = check_length(texts[i].size(), config.context); !status) {
      return in_context(fmt::format("text {}", i), std::move(status).error());
    }
  }
  return {};
}

// The last states of all tokens: [tokens of all texts, dim].
Result<std::vector<float>> states_of(Engine& engine, const Model& model,
                                     std::span<const std::vector<std::int32_t>> texts, const EmbeddingOptions& options,
                                     const Control* control) {
  std::vector<std::int32_t> ids;
  std::vector<Sequence> sequences;
  for (const auto& text : texts) {
    ids.insert(ids.end(), text.begin(), text.end());
    SEDGE_TRY(MemoryShare memory,
              take_memory(options.memory, options.cache.get(), Sequence::bytes_of(model, text.size())));
    SEDGE_TRY(Sequence sequence, Sequence::make(model, {.capacity = text.size(), .memory = std::move(memory)}));
    sequences.push_back(std::move(sequence));
  }
  std::vector<Slice> slices;
  for (std::size_t i = 0; i < texts.size(); ++i) slices.push_back({&sequences[i], texts[i].size(), options.adapters});
  std::vector<float> hidden(ids.size() * model.config().dim);
  SEDGE_CHECK(engine.embed(model, ids, hidden));
  SEDGE_CHECK(engine.forward(model, slices, 0, model.config().layers, hidden, control));
  SEDGE_CHECK(engine.final_norm(model, hidden));
  return hidden;
}

void to_length_one(std::vector<float>& vector) {
  double square = 0;
  for (const float x : vector) square += static_cast<double>(x) * static_cast<double>(x);
  if (square == 0) return;
  const double scale = 1 / std::sqrt(square);
  for (float& x : vector) x = static_cast<float>(static_cast<double>(x) * scale);
}

}  // namespace

Pooling pooling_of(const model::LlamaConfig& config) {
  if (config.pooling != Pooling::kNone) return config.pooling;
  return config.features.causal ? Pooling::kLast : Pooling::kMean;
}

Result<std::vector<std::int32_t>> encode_for_embedding(const Model& model, std::string_view text) {
  std::vector<std::int32_t> ids;
  if (!text.empty()) ids = model.tokenizer().encode(text);
  SEDGE_CHECK(check_length(ids.size(), model.config().context));
  return ids;
}

std::size_t embedding_group(std::span<const std::vector<std::int32_t>> texts) {
  std::size_t count = 0, tokens = 0;
  while (count < texts.size() && (count == 0 || tokens + texts[count].size() <= kTokensTogether)) {
    tokens += texts[count++].size();
  }
  return count;
}

std::vector<float> pool(std::span<const float> states, std::size_t dim, const EmbeddingOptions& options) {
  const std::size_t tokens = states.size() / dim;
  SEDGE_ASSERT(tokens > 0 && options.pooling != Pooling::kNone && options.dimensions <= dim);
  const bool last = options.pooling == Pooling::kLast, mean = options.pooling == Pooling::kMean;
  const std::size_t begin = last ? tokens - 1 : 0, end = mean ? tokens : begin + 1;
  std::vector<float> vector(options.dimensions != 0 ? options.dimensions : dim);
  for (std::size_t d = 0; d < vector.size(); ++d) {
    double sum = 0;
    for (std::size_t t = begin; t < end; ++t) sum += static_cast<double>(states[t * dim + d]);
    vector[d] = static_cast<float>(sum / static_cast<double>(end - begin));
  }
  if (options.normalize) to_length_one(vector);
  return vector;
}

Result<std::vector<std::vector<float>>> embed_texts(Engine& engine, const Model& model,
                                                    std::span<const std::vector<std::int32_t>> texts,
                                                    const EmbeddingOptions& options, const Control* control) {
  SEDGE_CHECK(check(model, texts, options.dimensions));
  EmbeddingOptions how = options;
  if (how.pooling == Pooling::kNone) how.pooling = pooling_of(model.config());
  const std::size_t dim = model.config().dim;
  std::vector<std::vector<float>> vectors;
  while (!texts.empty()) {
    const auto group = texts.first(embedding_group(texts));
    SEDGE_TRY(const std::vector<float> states, states_of(engine, model, group, how, control));
    std::size_t at = 0;
    for (const auto& text : group) {
      vectors.push_back(pool(std::span(states).subspan(at, text.size() * dim), dim, how));
      at += text.size() * dim;
    }
    texts = texts.subspan(group.size());
  }
  return vectors;
}

}  // namespace sedge::engine
