// From metadata and tensors to a description the engine can trust. Rejected: loading whatever is there and failing
// in the first matrix product; a missing, surplus or misshapen tensor is found here, with its name.
// Source: the GGUF specification's "LLaMA" section for the keys; docs/formats/gguf.md §4.
#include "model/llama.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>

#include "model/llama_tensors.h"

namespace sedge::model {
namespace {

struct Architecture {
  std::string_view name;  // general.architecture, and the prefix of its keys
  RopeLayout rope_layout;
};

constexpr Architecture kArchitectures[] = {
    {"llama", RopeLayout::kInterleaved},  // Llama, Mistral, TinyLlama, SmolLM, ... as stock converters write them
    {"exaone", RopeLayout::kHalf},        // the same network with rows left in Hugging Face's order
};

struct SizeLimit {
  std::string_view name;
  std::size_t LlamaConfig::* size;
  std::size_t max;
};

// Far above any model of this family (the largest has 126 layers, width 16384) and small enough that no product
// of two of them overflows.
constexpr SizeLimit kLimits[] = {
    {"layers", &LlamaConfig::layers, 1024},           {"width", &LlamaConfig::dim, 1 << 20},
    {"heads", &LlamaConfig::heads, 1 << 12},          {"key-value heads", &LlamaConfig::kv_heads, 1 << 12},
    {"head size", &LlamaConfig::head_dim, 1 << 14},   {"feed-forward width", &LlamaConfig::ffn_dim, 1 << 22},
    {"vocabulary", &LlamaConfig::vocab, 1 << 21},     {"context", &LlamaConfig::context, 1 << 28},
    {"rotary size", &LlamaConfig::rope_dim, 1 << 14},
};

// Reads the keys of one architecture: "<arch>.block_count" and so on.
class Keys {
 public:
  Keys(const GgufFile& file, std::string_view arch) : file_(file), arch_(arch) {}

  std::string key(std::string_view name) const { return fmt::format("{}.{}", arch_, name); }
  bool has(std::string_view name) const { return file_.has(key(name)); }

  Status size(std::size_t& out, std::string_view name) const {
    SEDGE_TRY(const std::uint64_t value, file_.get_uint(key(name)));
    out = static_cast<std::size_t>(value);
    return {};
  }
  Status size_or(std::size_t& out, std::string_view name, std::size_t otherwise) const {
    out = otherwise;
    return has(name) ? size(out, name) : Status{};
  }
  Status real_or(float& out, std::string_view name, float otherwise) const {
    out = otherwise;
    if (!has(name)) return {};
    SEDGE_TRY(const double value, file_.get_float(key(name)));
    out = static_cast<float>(value);
    return {};
  }

 private:
  const GgufFile& file_;
  std::string_view arch_;
};

Result<const Architecture*> architecture_of(const GgufFile& file) {
  SEDGE_TRY(const std::string name, file.get_string("general.architecture"));
  const auto* row = std::ranges::find(kArchitectures, name, &Architecture::name);
  if (row != std::end(kArchitectures)) return row;
  return fail(Code::kUnimplemented, "general.architecture '{}' is not run here (llama and exaone are)", name);
}

Status read_vocab_size(const GgufFile& file, const Keys& keys, LlamaConfig& config) {
  if (const GgufEntry* tokens = file.find("tokenizer.ggml.tokens")) {
    config.vocab = static_cast<std::size_t>(tokens->count);
    return {};
  }
  return keys.size(config.vocab, "vocab_size");
}

Status read_heads(const Keys& keys, LlamaConfig& config) {
  SEDGE_CHECK(keys.size(config.heads, "attention.head_count"));
  SEDGE_CHECK(keys.size_or(config.kv_heads, "attention.head_count_kv", config.heads));
  const std::size_t even_share = config.heads == 0 ? 0 : config.dim / config.heads;
  SEDGE_CHECK(keys.size_or(config.head_dim, "attention.key_length", even_share));
  std::size_t value_dim = 0;
  SEDGE_CHECK(keys.size_or(value_dim, "attention.value_length", config.head_dim));
  if (value_dim != config.head_dim) {
    return fail(Code::kUnimplemented, "{} {} differs from {} {}", keys.key("attention.value_length"), value_dim,
                keys.key("attention.key_length"), config.head_dim);
  }
  return keys.size_or(config.rope_dim, "rope.dimension_count", config.head_dim);
}

// Features of the wider family that change the arithmetic: ignoring one would give wrong text without a word.
Status refuse_what_is_not_plain(const Keys& keys) {
  std::size_t experts = 0;
  SEDGE_CHECK(keys.size_or(experts, "expert_count", 0));
  if (experts != 0)
    return fail(Code::kUnimplemented, "{} is {}: mixtures are not run", keys.key("expert_count"), experts);
  for (const std::string_view name : {"attention.sliding_window", "attention.clamp_kqv", "logit_scale"}) {
    if (keys.has(name)) return fail(Code::kUnimplemented, "{} is not supported", keys.key(name));
  }
  return {};
}

// Linear position scaling, as a divisor of every frequency; 1 when there is none.
Result<float> linear_scaling(const GgufFile& file, const Keys& keys) {
  const std::string type_key = keys.key("rope.scaling.type");
  std::string type = keys.has("rope.scale_linear") ? "linear" : "none";
  if (file.has(type_key)) {
    SEDGE_TRY(type, file.get_string(type_key));
  }
  if (type == "none") return 1.0f;
  if (type != "linear") return fail(Code::kUnimplemented, "{} '{}' is not supported (linear is)", type_key, type);
  float factor = 1;
  SEDGE_CHECK(keys.real_or(factor, keys.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear", 1));
  if (std::isfinite(factor) && factor > 0) return factor;
  return fail(Code::kInvalidArgument, "{} {} is not a positive number", keys.key("rope.scaling.factor"), factor);
}

class Loader {
 public:
  Loader(const GgufFile& file, const LlamaConfig& config) : file_(file), config_(config) {}

  template <class Owner>
  Status take(Owner& owner, const LlamaTensorRow<Owner>& row, const std::string& name) {
    const TensorView* tensor = file_.find_tensor(name);
    if (tensor == nullptr) return fail(Code::kNotFound, "tensor '{}' is missing", name);
    const auto wanted = shape_of(row, config_);
    if (tensor->shape != wanted) {
      return fail(Code::kDataLoss, "tensor '{}' has shape {}, the metadata asks for {}", name,
                  shape_text(tensor->shape), shape_text(wanted));
    }
    if (row.rows == nullptr && tensor->type != DType::kF32) {
      return fail(Code::kUnimplemented, "tensor '{}' is {}, norms are read as F32", name, dtype_name(tensor->type));
    }
    owner.*row.view = *tensor;
    used_.insert(name);
    return {};
  }

  Result<std::vector<float>> rope_freqs() {
    const TensorView* tensor = file_.find_tensor(kRopeFreqsName);
    if (tensor == nullptr) return std::vector<float>();
    used_.insert(std::string(kRopeFreqsName));
    if (tensor->type != DType::kF32 || tensor->shape != std::vector<std::uint64_t>{config_.rope_dim / 2}) {
      return fail(Code::kDataLoss, "tensor '{}' is {} {}, should be F32 [{}]", kRopeFreqsName, dtype_name(tensor->type),
                  shape_text(tensor->shape), config_.rope_dim / 2);
    }
    std::vector<float> factors(config_.rope_dim / 2);
    std::memcpy(factors.data(), tensor->data.data(), tensor->data.size());
    const auto bad = std::ranges::find_if(factors, [](float f) { return !std::isfinite(f) || f <= 0; });
    if (bad == factors.end()) return factors;
    return fail(Code::kDataLoss, "tensor '{}': factor {} is not a positive number", kRopeFreqsName, *bad);
  }

  Status nothing_left() const {
    for (const TensorView& tensor : file_.tensors()) {
      if (!used_.contains(tensor.name)) {
        return fail(Code::kUnimplemented, "tensor '{}' has no place in a plain Llama of {} layers", tensor.name,
                    config_.layers);
      }
    }
    return {};
  }

 private:
  const GgufFile& file_;
  const LlamaConfig& config_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace

Status check_llama_config(const LlamaConfig& config) {
  for (const SizeLimit& limit : kLimits) {
    const std::size_t size = config.*limit.size;
    if (size >= 1 && size <= limit.max) continue;
    return fail(Code::kInvalidArgument, "{} is {}, 1 to {} are allowed", limit.name, size, limit.max);
  }
  if (config.heads % config.kv_heads != 0) {
    return fail(Code::kInvalidArgument, "{} heads cannot share {} key-value heads", config.heads, config.kv_heads);
  }
  if (config.head_dim % 2 != 0 || config.rope_dim % 2 != 0 || config.rope_dim > config.head_dim) {
    return fail(Code::kInvalidArgument, "head size {} and rotary size {} must be even, the second at most the first",
                config.head_dim, config.rope_dim);
  }
  if (!std::isfinite(config.rope_base) || config.rope_base <= 0) {
    return fail(Code::kInvalidArgument, "RoPE's base {} is not a positive number", config.rope_base);
  }
  if (!(config.rms_eps >= 0 && config.rms_eps < 1)) {
    return fail(Code::kInvalidArgument, "RMSNorm's epsilon {} is not in [0, 1)", config.rms_eps);
  }
  return {};
}

Result<LlamaConfig> read_llama_config(const GgufFile& file) {
  SEDGE_TRY(const Architecture* architecture, architecture_of(file));
  const Keys keys(file, architecture->name);
  LlamaConfig config;
  config.arch = architecture->name;
  config.rope_layout = architecture->rope_layout;
  if (file.has("general.name")) {
    SEDGE_TRY(config.name, file.get_string("general.name"));
  }
  SEDGE_CHECK(refuse_what_is_not_plain(keys));
  SEDGE_CHECK(keys.size(config.layers, "block_count"));
  SEDGE_CHECK(keys.size(config.dim, "embedding_length"));
  SEDGE_CHECK(keys.size(config.ffn_dim, "feed_forward_length"));
  SEDGE_CHECK(keys.size(config.context, "context_length"));
  SEDGE_CHECK(read_heads(keys, config));
  SEDGE_CHECK(read_vocab_size(file, keys, config));
  SEDGE_CHECK(keys.real_or(config.rope_base, "rope.freq_base", config.rope_base));
  SEDGE_CHECK(keys.real_or(config.rms_eps, "attention.layer_norm_rms_epsilon", config.rms_eps));
  config.tied = file.find_tensor(gguf_name(kOutputRow)) == nullptr;
  SEDGE_CHECK(check_llama_config(config));
  return config;
}

void write_llama_config(GgufWriter& writer, const LlamaConfig& config) {
  const auto set = [&](std::string_view name, auto value) {
    writer.set(fmt::format("{}.{}", config.arch, name), value);
  };
  const auto size = [](std::size_t value) { return static_cast<std::uint32_t>(value); };  // kLimits: it fits
  writer.set("general.architecture", config.arch);
  writer.set("general.name", config.name);
  set("block_count", size(config.layers));
  set("context_length", size(config.context));
  set("embedding_length", size(config.dim));
  set("feed_forward_length", size(config.ffn_dim));
  set("attention.head_count", size(config.heads));
  set("attention.head_count_kv", size(config.kv_heads));
  set("attention.layer_norm_rms_epsilon", config.rms_eps);
  set("rope.dimension_count", size(config.rope_dim));
  set("rope.freq_base", config.rope_base);
  set("vocab_size", size(config.vocab));
  if (config.q_dim() == config.dim) return;
  set("attention.key_length", size(config.head_dim));
  set("attention.value_length", size(config.head_dim));
}

Result<LlamaModel> load_llama(const GgufFile& file) {
  LlamaModel model;
  SEDGE_TRY(model.config, read_llama_config(file));
  if (file.tensors().empty()) return fail(Code::kFailedPrecondition, "the file holds a vocabulary and no weights");
  const LlamaConfig& config = model.config;
  Loader loader(file, config);
  LlamaWeights& weights = model.weights;
  SEDGE_CHECK(loader.take(weights, kEmbeddingRow, gguf_name(kEmbeddingRow)));
  SEDGE_CHECK(loader.take(weights, kOutputNormRow, gguf_name(kOutputNormRow)));
  if (config.tied) {
    weights.output = weights.token_embd;
  } else {
    SEDGE_CHECK(loader.take(weights, kOutputRow, gguf_name(kOutputRow)));
  }
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    LlamaLayer& views = weights.layers.emplace_back();
    for (const auto& row : kLayerRows) SEDGE_CHECK(loader.take(views, row, gguf_name(row, layer)));
  }
  SEDGE_TRY(model.rope_factors, loader.rope_freqs());
  SEDGE_TRY(const float linear, linear_scaling(file, Keys(file, config.arch)));
  if (linear != 1) {
    model.rope_factors.resize(config.rope_dim / 2, 1.0f);
    for (float& factor : model.rope_factors) factor *= linear;
  }
  SEDGE_CHECK(loader.nothing_left());
  for (const TensorView& tensor : file.tensors()) model.parameters += tensor.values();
  return model;
}

}  // namespace sedge::model
