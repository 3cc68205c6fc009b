// Vectors of whole texts: what is alike in meaning points the same way, so that notes are searched and commands are
// matched by inner products.
//
// The problem: a network has a state for each token, a search wants one vector a text. The idea: the states that leave
// the last layer are pooled as the model was trained for (its file says how), and the vector is scaled to length 1.
// Any model will do: an encoder, which sees the whole text at once (architecture.h: not causal), or one that generates,
// whose last token alone has seen all of it. A text's vector is the same, bit for bit, whatever is in the batch.
// Source: Reimers & Gurevych 2019 (mean); Devlin et al. 2018 ([CLS]); pooling types as GGUF numbers them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/control.h"
#include "engine/engine.h"
#include "engine/memory_budget.h"
#include "engine/model.h"
#include "engine/prefix_cache.h"

namespace sedge::engine {

struct EmbeddingOptions {
  model::Pooling pooling = model::Pooling::kNone;  // kNone: the model's (pooling_of)
  bool normalize = true;                           // to length 1
  std::size_t dimensions = 0;  // the first so many, before the length is set (Matryoshka models); 0: all
  // What texts of the process may take together, and what gives way to them; none: nobody counts.
  std::shared_ptr<MemoryBudget> memory{};
  std::shared_ptr<PrefixCache> cache{};
  std::vector<AdapterUse> adapters{};  // of the model, stacked in this order
};

// How a model's states are pooled where nobody says: as its file has it, else the mean of an encoder, the last of a
// model that generates.
model::Pooling pooling_of(const model::LlamaConfig& config);

// The ids of a text, with what the vocabulary puts around it. Errors: InvalidArgument (no text, or more tokens than the
// model's context: shorten it).
Result<std::vector<std::int32_t>> encode_for_embedding(const Model& model, std::string_view text);

// states [tokens, dim] as final_norm left them, to one vector [options.dimensions or dim].
// Requires: a pooling, at least one token.
std::vector<float> pool(std::span<const float> states, std::size_t dim, const EmbeddingOptions& options);

// How many of the texts, from the first on, pass the layers together: one at least, a few hundred tokens.
std::size_t embedding_group(std::span<const std::vector<std::int32_t>> texts);

// A vector for each text's ids, in order. Errors: InvalidArgument (a text without tokens, or longer than the context;
// more dimensions than the model has), those of Engine and Sequence::make.
// Cost: the memory of a few hundred tokens, or of the longest text.
Result<std::vector<std::vector<float>>> embed_texts(Engine& engine, const Model& model,
                                                    std::span<const std::vector<std::int32_t>> texts,
                                                    const EmbeddingOptions& options = {},
                                                    const Control* control = nullptr);

}  // namespace sedge::engine
