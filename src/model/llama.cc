// Metadata to sizes and back. Every key of a known architecture that would change the arithmetic is either read or
// refused. Source: the GGUF specification's "LLaMA" section for the keys; docs/formats/gguf.md §4.
#include "model/llama.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>

#include "base/assert.h"
#include "model/llama_tensors.h"

namespace sedge::model {
namespace {

struct SizeLimit {
  std::string_view name;
  std::size_t LlamaConfig::* size;
  std::size_t max;
  std::size_t min = 1;
};

// Far above any model of this family (the largest has 126 layers, width 16384) and small enough that no product
// of two of them overflows.
constexpr SizeLimit kLimits[] = {
    {"layers", &LlamaConfig::layers, 1024},
    {"width", &LlamaConfig::dim, 1 << 20},
    {"heads", &LlamaConfig::heads, 1 << 12},
    {"key-value heads", &LlamaConfig::kv_heads, 1 << 12},
    {"head size", &LlamaConfig::head_dim, 1 << 14},
    {"feed-forward width", &LlamaConfig::ffn_dim, 1 << 22},
    {"vocabulary", &LlamaConfig::vocab, 1 << 21},
    {"context", &LlamaConfig::context, 1 << 28},
    {"rotary size", &LlamaConfig::rope_dim, 1 << 14},
    {"window", &LlamaConfig::window, 1 << 28, 0},
    {"experts", &LlamaConfig::experts, 1 << 10, 0},
    {"expert width", &LlamaConfig::expert_ffn_dim, 1 << 22, 0},
    {"token types", &LlamaConfig::token_types, 1 << 10, 0},
};

constexpr std::size_t kExpertsMax = 1 << 16;  // of all layers
constexpr std::string_view kTokenTypesKey = "tokenizer.ggml.token_type_count";

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
  // Of any type: a switch is 0 or 1.
  Result<double> number(std::string_view name) const {
    if (const auto real = file_.get_float(key(name))) return *real;
    if (const auto whole = file_.get_uint(key(name))) return static_cast<double>(*whole);
    SEDGE_TRY(const bool flag, file_.get_bool(key(name)));
    return flag;
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

std::string_view epsilon_key(const LlamaConfig& config) {
  return config.features.norm == NormKind::kRms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
}

Result<LlamaConfig> architecture_of(const GgufFile& file) {
  SEDGE_TRY(const std::string name, file.get_string("general.architecture"));
  if (find_architecture(name) != nullptr) return config_of_architecture(name);
  std::vector<std::string_view> known;
  for (const Architecture& row : architectures()) known.push_back(row.name);
  return fail(Code::kUnimplemented, "general.architecture '{}' is not run here ({} are)", name, fmt::join(known, ", "));
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

// Keys that some converters write although they say what would be so without them: any other value is refused.
struct NeutralKey {
  std::string_view name;
  double neutral;
};
constexpr NeutralKey kNeutralKeys[] = {
    {"rope.scaling.yarn_attn_factor", 1}, {"rope.scaling.yarn_ext_factor", 1}, {"rope.scaling.yarn_log_multiplier", 0},
    {"expert_weights_scale", 1},          {"expert_weights_norm", true},       {"expert_gating_func", 1},  // softmax
};
constexpr NeutralKey kNoCaps[] = {{"attn_logit_softcapping", 0}, {"final_logit_softcapping", 0}};

Status refuse_unless_neutral(const Keys& keys, std::span<const NeutralKey> rows) {
  for (const NeutralKey& row : rows) {
    if (!keys.has(row.name)) continue;
    SEDGE_TRY(const double value, keys.number(row.name));
    if (value != row.neutral) return fail(Code::kUnimplemented, "{} is {}: that is not run", keys.key(row.name), value);
  }
  return {};
}

// Features of the wider family that change the arithmetic: ignoring one would give wrong text without a word.
Status refuse_what_is_not_known(const Keys& keys, const Features& features) {
  for (const std::string_view name :
       {"attention.clamp_kqv", "attention.scale", "attention.max_alibi_bias", "logit_scale", "residual_scale",
        "embedding_scale", "expert_shared_count", "use_parallel_residual"}) {
    if (keys.has(name)) return fail(Code::kUnimplemented, "{} is not supported", keys.key(name));
  }
  SEDGE_CHECK(refuse_unless_neutral(keys, kNeutralKeys));
  const NeutralKey causal{"attention.causal", features.causal ? 1.0 : 0.0};
  SEDGE_CHECK(refuse_unless_neutral(keys, {&causal, 1}));
  std::size_t experts = 0;
  SEDGE_CHECK(keys.size_or(experts, "expert_count", 0));
  if (experts != 0 && !features.mixture) {
    return fail(Code::kUnimplemented, "{} is {}: mixtures of this architecture are not run", keys.key("expert_count"),
                experts);
  }
  if (keys.has("attention.sliding_window") && features.window_period == 0) {
    return fail(Code::kUnimplemented, "{} is not supported", keys.key("attention.sliding_window"));
  }
  return {};
}

Status read_experts(const Keys& keys, LlamaConfig& config) {
  if (!config.features.mixture) return {};
  SEDGE_CHECK(keys.size_or(config.experts, "expert_count", 0));
  if (config.experts == 0) return {};
  SEDGE_CHECK(keys.size(config.experts_used, "expert_used_count"));
  return keys.size_or(config.expert_ffn_dim, "expert_feed_forward_length", config.ffn_dim);
}

// Which layers see how far, and what caps scores and logits.
Status read_attention(const Keys& keys, LlamaConfig& config) {
  if (config.features.window_period != 0) {
    SEDGE_CHECK(keys.size_or(config.window, "attention.sliding_window", config.window));
    SEDGE_CHECK(
        keys.size_or(config.features.window_period, "attention.sliding_window_pattern", config.features.window_period));
    if (config.features.window_period == 0) {
      return fail(Code::kInvalidArgument, "{} is 0", keys.key("attention.sliding_window_pattern"));
    }
  }
  if (config.local_rope_base != 0) {
    SEDGE_CHECK(keys.real_or(config.local_rope_base, "rope.freq_base_swa", config.local_rope_base));
  }
  if (config.attention_cap == 0) return refuse_unless_neutral(keys, kNoCaps);
  SEDGE_CHECK(keys.real_or(config.attention_cap, "attn_logit_softcapping", config.attention_cap));
  return keys.real_or(config.logit_cap, "final_logit_softcapping", config.logit_cap);
}

// What embeddings need. A file of a type that is not run (a model that ranks pairs of texts) is refused.
Status read_pooling(const GgufFile& file, const Keys& keys, LlamaConfig& config) {
  if (config.features.token_types && file.has(kTokenTypesKey)) {
    SEDGE_TRY(const std::uint64_t types, file.get_uint(kTokenTypesKey));
    config.token_types = static_cast<std::size_t>(types);
  }
  std::size_t pooling = 0;
  SEDGE_CHECK(keys.size_or(pooling, "pooling_type", 0));
  if (pooling > static_cast<std::size_t>(Pooling::kLast)) {
    return fail(Code::kUnimplemented, "{} is {}: none (0), mean (1), first (2) and last (3) are run",
                keys.key("pooling_type"), pooling);
  }
  config.pooling = static_cast<Pooling>(pooling);
  return {};
}

Result<RopeScaling::Kind> scaling_kind(const GgufFile& file, const Keys& keys) {
  using Kind = RopeScaling::Kind;
  const std::string type_key = keys.key("rope.scaling.type");
  std::string type = keys.has("rope.scale_linear") ? "linear" : "none";
  if (file.has(type_key)) {
    SEDGE_TRY(type, file.get_string(type_key));
  }
  const bool own_factors = file.find_tensor(kRopeShortName) != nullptr;
  if (type == "longrope" || (type == "none" && own_factors)) return Kind::kLongRope;
  if (own_factors) return fail(Code::kDataLoss, "{} is '{}' beside tensor '{}'", type_key, type, kRopeShortName);
  if (type == "none") return Kind::kNone;
  if (type == "linear") return Kind::kLinear;
  if (type == "yarn") return Kind::kYarn;
  return fail(Code::kUnimplemented, "{} '{}' is not supported (linear, yarn and longrope are)", type_key, type);
}

Status read_scaling(const GgufFile& file, const Keys& keys, LlamaConfig& config) {
  RopeScaling& scaling = config.rope_scaling;
  using Kind = RopeScaling::Kind;
  SEDGE_TRY(scaling.kind, scaling_kind(file, keys));
  SEDGE_CHECK(keys.real_or(scaling.magnitude, "rope.scaling.attn_factor", 1));
  if (scaling.kind == Kind::kLinear || scaling.kind == Kind::kYarn) {
    const bool old = !keys.has("rope.scaling.factor");
    SEDGE_CHECK(keys.real_or(scaling.factor, old ? "rope.scale_linear" : "rope.scaling.factor", 1));
  }
  if (scaling.kind == Kind::kNone || scaling.kind == Kind::kLinear) return {};
  SEDGE_CHECK(keys.size_or(scaling.original_context, "rope.scaling.original_context_length", config.context));
  SEDGE_CHECK(keys.real_or(scaling.beta_fast, "rope.scaling.yarn_beta_fast", scaling.beta_fast));
  SEDGE_CHECK(keys.real_or(scaling.beta_slow, "rope.scaling.yarn_beta_slow", scaling.beta_slow));
  if (scaling.kind == Kind::kLongRope && config.context > scaling.original_context) {
    if (file.find_tensor(kRopeLongName) != nullptr) config.long_context = config.context;
    config.context = scaling.original_context;
  }
  return {};
}

Status check_scaling(const LlamaConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.original_context > UINT32_MAX) {
    return fail(Code::kInvalidArgument, "RoPE's original context {} is over {}", scaling.original_context, UINT32_MAX);
  }
  const auto positive = [](float value) { return std::isfinite(value) && value > 0; };
  if (!positive(scaling.factor) || !positive(scaling.magnitude)) {
    return fail(Code::kInvalidArgument, "RoPE's scaling factor {} or magnitude {} is not a positive number",
                scaling.factor, scaling.magnitude);
  }
  if (scaling.kind != RopeScaling::Kind::kYarn) return {};
  if (config.rope_base > 1 && scaling.original_context > 0 && positive(scaling.beta_slow) &&
      std::isfinite(scaling.beta_fast) && scaling.beta_fast > scaling.beta_slow)
    return {};
  return fail(Code::kInvalidArgument, "YaRN needs a base above 1, a context, and turns {} above {} above 0",
              scaling.beta_fast, scaling.beta_slow);
}

Status check_features(const LlamaConfig& config) {
  if (config.experts_used > config.experts || (config.experts != 0 && config.experts_used == 0)) {
    return fail(Code::kInvalidArgument, "{} of {} experts cannot be chosen", config.experts_used, config.experts);
  }
  if (config.experts != 0 && config.expert_ffn_dim == 0) return fail(Code::kInvalidArgument, "expert width is 0");
  // Each is a few views in memory, whatever its size in the file; the largest known model has 94 layers of 128.
  if (config.layers * config.experts > kExpertsMax) {
    return fail(Code::kInvalidArgument, "{} layers of {} experts: {} together are allowed", config.layers,
                config.experts, kExpertsMax);
  }
  if (config.features.fused_qkv && config.features.rope == RopeLayout::kInterleaved) {
    return fail(Code::kUnimplemented, "fused queries and keys that rotate interleaved");
  }
  for (const float cap : {config.attention_cap, config.logit_cap, config.local_rope_base}) {
    if (!std::isfinite(cap) || cap < 0 || (cap != 0 && cap < 1e-3f)) {
      return fail(Code::kInvalidArgument, "{} is no cap of logits and no base of RoPE", cap);
    }
  }
  return check_scaling(config);
}

}  // namespace

Status check_llama_config(const LlamaConfig& config) {
  for (const SizeLimit& limit : kLimits) {
    const std::size_t size = config.*limit.size;
    if (size >= limit.min && size <= limit.max) continue;
    return fail(Code::kInvalidArgument, "{} is {}, {} to {} are allowed", limit.name, size, limit.min, limit.max);
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
  if (!(config.norm_eps >= 0 && config.norm_eps < 1)) {
    return fail(Code::kInvalidArgument, "the norms' epsilon {} is not in [0, 1)", config.norm_eps);
  }
  return check_features(config);
}

LlamaConfig config_of_architecture(std::string_view name) {
  const Architecture* row = find_architecture(name);
  SEDGE_ASSERT(row != nullptr);
  LlamaConfig config;
  config.arch = row->name;
  config.features = row->features;
  config.window = row->window;
  config.attention_cap = row->attention_cap;
  config.logit_cap = row->logit_cap;
  config.local_rope_base = row->local_rope_base;
  return config;
}

void set_scale_dim(LlamaConfig& config) {
  const Architecture* row = find_architecture(config.arch);
  const bool wide = row != nullptr && row->wide_layers != 0 && row->wide_layers == config.layers;
  config.scale_dim = wide ? config.dim / config.heads : 0;
}

Result<LlamaConfig> read_llama_config(const GgufFile& file) {
  if (const auto type = file.get_string("general.type"); type && *type == "adapter") {
    return fail(Code::kInvalidArgument, "it is an adapter: give the model, and this beside it with --lora");
  }
  SEDGE_TRY(LlamaConfig config, architecture_of(file));
  const std::string arch = config.arch;
  const Keys keys(file, arch);
  if (file.has("general.name")) {
    SEDGE_TRY(config.name, file.get_string("general.name"));
  }
  SEDGE_CHECK(refuse_what_is_not_known(keys, config.features));
  SEDGE_CHECK(keys.size(config.layers, "block_count"));
  SEDGE_CHECK(keys.size(config.dim, "embedding_length"));
  SEDGE_CHECK(keys.size(config.ffn_dim, "feed_forward_length"));
  SEDGE_CHECK(keys.size(config.context, "context_length"));
  SEDGE_CHECK(read_heads(keys, config));
  SEDGE_CHECK(read_vocab_size(file, keys, config));
  SEDGE_CHECK(keys.real_or(config.rope_base, "rope.freq_base", config.rope_base));
  SEDGE_CHECK(keys.real_or(config.norm_eps, epsilon_key(config), config.norm_eps));
  SEDGE_CHECK(read_experts(keys, config));
  SEDGE_CHECK(read_attention(keys, config));
  SEDGE_CHECK(read_scaling(file, keys, config));
  SEDGE_CHECK(read_pooling(file, keys, config));
  config.tied = file.find_tensor(gguf_name(kOutputRow)) == nullptr || !config.features.causal;
  SEDGE_CHECK(check_llama_config(config));
  set_scale_dim(config);
  return config;
}

namespace {

// The type of longrope is told by its tensors, as stock converters leave it.
void write_scaling(const auto& set, const RopeScaling& scaling) {
  using Kind = RopeScaling::Kind;
  if (scaling.kind == Kind::kLinear) set("rope.scaling.type", "linear");
  if (scaling.kind == Kind::kYarn) set("rope.scaling.type", "yarn");
  if (scaling.kind == Kind::kLinear || scaling.kind == Kind::kYarn) set("rope.scaling.factor", scaling.factor);
  if (scaling.original_context != 0) {
    set("rope.scaling.original_context_length", static_cast<std::uint32_t>(scaling.original_context));
  }
  if (scaling.magnitude != 1) set("rope.scaling.attn_factor", scaling.magnitude);
  const RopeScaling plain;
  if (scaling.beta_fast != plain.beta_fast) set("rope.scaling.yarn_beta_fast", scaling.beta_fast);
  if (scaling.beta_slow != plain.beta_slow) set("rope.scaling.yarn_beta_slow", scaling.beta_slow);
}

}  // namespace

void write_llama_config(GgufWriter& writer, const LlamaConfig& config) {
  const auto set = [&](std::string_view name, auto value) {
    writer.set(fmt::format("{}.{}", config.arch, name), value);
  };
  const auto size = [](std::size_t value) { return static_cast<std::uint32_t>(value); };  // kLimits: it fits
  writer.set("general.architecture", config.arch);
  writer.set("general.name", config.name);
  set("block_count", size(config.layers));
  set("context_length", size(std::max(config.context, config.long_context)));
  set("embedding_length", size(config.dim));
  set("feed_forward_length", size(config.ffn_dim));
  set("attention.head_count", size(config.heads));
  set("attention.head_count_kv", size(config.kv_heads));
  set(epsilon_key(config), config.norm_eps);
  if (config.features.rope != RopeLayout::kNone) {
    set("rope.dimension_count", size(config.rope_dim));
    set("rope.freq_base", config.rope_base);
  }
  set("vocab_size", size(config.vocab));
  if (config.window != 0) set("attention.sliding_window", size(config.window));
  if (config.local_rope_base != 0) set("rope.freq_base_swa", config.local_rope_base);
  if (config.attention_cap != 0) set("attn_logit_softcapping", config.attention_cap);
  if (config.logit_cap != 0) set("final_logit_softcapping", config.logit_cap);
  if (config.experts != 0) {
    set("expert_count", size(config.experts));
    set("expert_used_count", size(config.experts_used));
    set("expert_feed_forward_length", size(config.expert_ffn_dim));
  }
  if (!config.features.causal) set("attention.causal", false);
  if (config.token_types != 0) writer.set(kTokenTypesKey, size(config.token_types));
  if (config.pooling != Pooling::kNone) set("pooling_type", static_cast<std::uint32_t>(config.pooling));
  write_scaling(set, config.rope_scaling);
  if (config.q_dim() == config.dim) return;
  set("attention.key_length", size(config.head_dim));
  set("attention.value_length", size(config.head_dim));
}

}  // namespace sedge::model
