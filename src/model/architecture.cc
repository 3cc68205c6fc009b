// Sources: the architectures' papers and configurations in transformers; what GGUF files of them hold: llama.cpp.
#include "model/architecture.h"

#include <algorithm>

#include <fmt/format.h>

namespace sedge::model {
namespace {

constexpr Architecture kArchitectures[] = {
    // Llama 1 to 3, Mistral, Mixtral, TinyLlama, SmolLM, ... as stock converters write them
    {.name = "llama", .features = {.window_period = 1, .mixture = true}},
    // the same network with rows left in Hugging Face's order
    {.name = "exaone", .features = {.rope = RopeLayout::kHalf}},
    {.name = "qwen2", .features = {.rope = RopeLayout::kHalf, .biases = Biases::kQkv}},
    {.name = "qwen3", .features = {.rope = RopeLayout::kHalf, .head_norms = true}},
    {.name = "qwen3moe", .features = {.rope = RopeLayout::kHalf, .head_norms = true, .mixture = true}},
    {.name = "smollm3", .features = {.no_rope_period = 4}},
    {.name = "gemma2",
     .features = {.rope = RopeLayout::kHalf,
                  .feed_forward = FeedForward::kGeGlu,
                  .post_norms = true,
                  .scaled_embedding = true,
                  .window_period = 2},
     .window = 4096,
     .attention_cap = 50,
     .logit_cap = 30,
     .wide_layers = 46},
    {.name = "gemma3",
     .features = {.rope = RopeLayout::kHalf,
                  .feed_forward = FeedForward::kGeGlu,
                  .head_norms = true,
                  .post_norms = true,
                  .scaled_embedding = true,
                  .window_period = 6},
     .local_rope_base = 10000,
     .wide_layers = 62},
    {.name = "phi3",
     .features = {.rope = RopeLayout::kHalf, .fused_qkv = true, .fused_gate_up = true, .window_period = 1}},
    {.name = "gpt2",
     .features = {.rope = RopeLayout::kNone,
                  .norm = NormKind::kLayer,
                  .feed_forward = FeedForward::kGelu,
                  .biases = Biases::kAll,
                  .fused_qkv = true}},
    // BERT and what was trained from it: BGE, E5, GTE, MiniLM, ...
    {.name = "bert",
     .features = {.rope = RopeLayout::kNone,
                  .norm = NormKind::kLayer,
                  .feed_forward = FeedForward::kGelu,
                  .biases = Biases::kAll,
                  .residual_norms = true,
                  .causal = false,
                  .token_types = true}},
    {.name = "nomic-bert",
     .features = {.rope = RopeLayout::kHalf,
                  .norm = NormKind::kLayer,
                  .residual_norms = true,
                  .causal = false,
                  .token_types = true,
                  .fused_qkv = true}},
};

constexpr std::string_view kRopeNames[] = {"interleaved rotation", "half rotation", "learned positions"};
constexpr std::string_view kFeedForwardNames[] = {"SwiGLU", "GeGLU", "GELU"};
constexpr std::string_view kBiasNames[] = {"", "biases on q, k and v", "biases"};

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

const Architecture* find_architecture(std::string_view name) {
  const auto* row = std::ranges::find(kArchitectures, name, &Architecture::name);
  return row == std::end(kArchitectures) ? nullptr : row;
}

std::string describe(const Features& features) {
  std::string text;
  const auto add = [&](bool has, std::string_view words) {
    if (has && !words.empty()) text += fmt::format("{}{}", text.empty() ? "" : ", ", words);
  };
  add(true, kRopeNames[static_cast<std::size_t>(features.rope)]);
  add(features.no_rope_period != 0, fmt::format("none in each {}th layer", features.no_rope_period));
  add(true, kFeedForwardNames[static_cast<std::size_t>(features.feed_forward)]);
  add(features.norm == NormKind::kLayer, "LayerNorm");
  add(true, kBiasNames[static_cast<std::size_t>(features.biases)]);
  add(features.head_norms, "norms of heads");
  add(features.post_norms, "norms behind blocks");
  add(features.residual_norms, "norms of the residual");
  add(!features.causal, "sees the whole text");
  add(features.scaled_embedding, "scaled embedding");
  return text;
}

}  // namespace sedge::model
