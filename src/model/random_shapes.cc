#include "model/random_shapes.h"

#include <algorithm>
#include <array>
#include <optional>

#include "model/random.h"

namespace sedge::model {
namespace {

struct Shape {
  std::string_view name, model_type;
  std::size_t layers, dim, heads, kv_heads, ffn_dim, vocab, context;
  float rope_base = 10000.0f;
  bool tied = true;
  std::size_t head_dim = 0;  // 0: width / heads
  std::size_t rope_dim = 0;  // 0: head_dim
  std::size_t window = 0;
  std::size_t experts = 0, experts_used = 0, expert_ffn_dim = 0;
  RopeScaling scaling = {};
  std::optional<Llama3Scaling> llama3 = {};
};

constexpr RopeScaling kYarn = {.kind = RopeScaling::Kind::kYarn, .factor = 4, .original_context = 64};
constexpr RopeScaling kLinear = {.kind = RopeScaling::Kind::kLinear, .factor = 2};
constexpr RopeScaling kLong = {.kind = RopeScaling::Kind::kLongRope, .original_context = 256, .magnitude = 1.125f};

// Within 64 positions the eight pairs of a head turn 10, 3.2, 1.02, 0.3 times and less: kept, blended twice, divided.
constexpr Llama3Scaling kLlama3 = {.original_context = 64};

// Windows are shorter than a test's text where stock llama.cpp knows them, and longer where it does not. Phi's shape
// lacks its number: llama.cpp expects certain tokens of whatever is called "phi3".
constexpr Shape kShapes[] = {
    {"tiny", "llama", 2, 64, 4, 2, 96, 512, 256},
    {"tiny-wide", "llama", 2, 256, 4, 2, 512, 512, 256},  // rows that blocks of 256 fit
    {"tiny-mistral", "mistral", 2, 64, 4, 2, 96, 512, 256, 1e6f, false, 0, 0, 224},
    {"tiny-llama3", "llama", 2, 64, 4, 2, 96, 512, 256, 10000.0f, true, 0, 0, 0, 0, 0, 0, {}, kLlama3},
    {"tiny-exaone", "exaone", 2, 64, 4, 2, 96, 512, 256, 1e6f},
    {"tiny-qwen2", "qwen2", 2, 64, 4, 2, 96, 512, 256, 1e6f},
    {"tiny-qwen2-yarn", "qwen2", 2, 64, 4, 2, 96, 512, 256, 1e6f, true, 0, 0, 0, 0, 0, 0, kYarn},
    {"tiny-qwen3", "qwen3", 2, 64, 4, 2, 96, 512, 256, 1e6f, false, 32},
    {"tiny-smollm3", "smollm3", 4, 64, 4, 2, 96, 512, 256, 5e6f},
    {"tiny-gemma2", "gemma2", 4, 64, 4, 2, 96, 512, 256, 10000.0f, true, 32, 0, 16},
    {"tiny-gemma3", "gemma3_text", 7, 64, 4, 1, 96, 512, 256, 1e6f, true, 32, 0, 16, 0, 0, 0, kLinear},
    {"tiny-phi", "phi3", 2, 64, 4, 2, 96, 512, 512, 10000.0f, false, 0, 8, 224, 0, 0, 0, kLong},
    {"tiny-gpt2", "gpt2", 2, 64, 4, 4, 256, 512, 256},
    {"tiny-mixtral", "mixtral", 2, 64, 4, 2, 96, 512, 256, 1e6f, false, 0, 0, 0, 4, 2, 96},
    {"tiny-qwen3moe", "qwen3_moe", 2, 64, 4, 2, 96, 512, 256, 1e6f, false, 32, 0, 0, 8, 3, 32},
    {"tiny-bert", "bert", 2, 64, 4, 4, 256, 512, 128},
    {"tiny-nomic-bert", "nomic_bert", 2, 64, 4, 4, 96, 512, 128, 1000.0f},
    {"SmolLM2-135M", "llama", 30, 576, 9, 3, 1536, 49152, 8192, 100000.0f},
    {"Qwen2.5-0.5B", "llama", 24, 896, 14, 2, 4864, 151936, 32768, 1000000.0f},
    {"TinyLlama-1.1B", "llama", 22, 2048, 32, 4, 5632, 32000, 2048, 10000.0f, false},
};

constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kShapes)> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kShapes[i].name;
  return names;
}();

LlamaConfig config_of(const Shape& shape, std::string_view arch) {
  LlamaConfig config = config_of_architecture(arch);
  config.name = fmt::format("random {}", shape.name);
  config.layers = shape.layers, config.dim = shape.dim;
  config.heads = shape.heads, config.kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim != 0 ? shape.head_dim : shape.dim / shape.heads;
  config.rope_dim = shape.rope_dim != 0 ? shape.rope_dim : config.head_dim;
  config.ffn_dim = shape.ffn_dim, config.vocab = shape.vocab, config.context = shape.context;
  config.rope_base = shape.rope_base, config.tied = shape.tied;
  config.window = shape.window;
  config.experts = shape.experts, config.experts_used = shape.experts_used;
  config.expert_ffn_dim = shape.expert_ffn_dim;
  if (config.features.token_types) config.token_types = 2;
  if (!config.features.causal) config.pooling = Pooling::kMean, config.norm_eps = 1e-12f;
  config.rope_scaling = shape.scaling;
  set_scale_dim(config);
  return config;
}

}  // namespace

std::span<const std::string_view> random_shapes() { return kNames; }

Result<RandomShape> find_random_shape(std::string_view name) {
  const auto* shape = std::ranges::find(kShapes, name, &Shape::name);
  if (shape == std::end(kShapes)) {
    return fail(Code::kInvalidArgument, "no shape '{}'; there are {}", name, fmt::join(kNames, ", "));
  }
  RandomShape out;
  out.type = find_hf_type(shape->model_type);
  out.config = config_of(*shape, out.type->arch);
  out.llama3 = shape->llama3;
  if (out.llama3) out.rope_freqs = llama3_factors(*out.llama3, out.config.rope_dim, out.config.rope_base);
  if (shape->scaling.kind != RopeScaling::Kind::kLongRope) return out;
  for (std::size_t i = 0; i < out.config.rope_dim / 2; ++i) {
    out.rope_short.push_back(1.0f + 0.25f * static_cast<float>(i));
    out.rope_long.push_back(4.0f + static_cast<float>(i));
  }
  return out;
}

namespace {

// WordPiece: printable characters, each as a word's beginning and within it, and the same words.
Vocab random_wordpieces(std::size_t size) {
  Vocab vocab;
  vocab.model = "bert";
  vocab.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  vocab.types.assign(vocab.tokens.size(), static_cast<std::int32_t>(TokenType::kControl));
  for (char letter = '!'; letter <= '~'; ++letter) {
    if (letter >= 'A' && letter <= 'Z') continue;
    vocab.tokens.push_back(fmt::format("\u2581{}", letter));
    vocab.tokens.emplace_back(1, letter);
  }
  while (vocab.tokens.size() < size) vocab.tokens.push_back(fmt::format("\u2581w{}", vocab.tokens.size()));
  vocab.types.resize(size, static_cast<std::int32_t>(TokenType::kNormal));
  vocab.unk = 1, vocab.bos = 2, vocab.sep = 3, vocab.add_bos = vocab.add_sep = true;
  return vocab;
}

}  // namespace

Vocab random_vocab(const LlamaConfig& config) {
  const std::size_t size = config.vocab;
  if (!config.features.causal) return random_wordpieces(size);
  Vocab vocab;
  vocab.tokens = {"<unk>", "<s>", "</s>"};
  vocab.types = {static_cast<std::int32_t>(TokenType::kUnknown), static_cast<std::int32_t>(TokenType::kControl),
                 static_cast<std::int32_t>(TokenType::kControl)};
  for (int byte = 0; byte < 256; ++byte) vocab.tokens.push_back(fmt::format("<0x{:02X}>", byte));
  vocab.types.resize(vocab.tokens.size(), static_cast<std::int32_t>(TokenType::kByte));
  while (vocab.tokens.size() < size) vocab.tokens.push_back(fmt::format("\u2581w{}", vocab.tokens.size()));
  vocab.types.resize(size, static_cast<std::int32_t>(TokenType::kNormal));
  vocab.scores.assign(size, 0.0f);
  vocab.unk = 0, vocab.bos = 1, vocab.eos = 2, vocab.add_bos = true;
  return vocab;
}

}  // namespace sedge::model
