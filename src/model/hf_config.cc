// Source: transformers, the configuration file of each type, and modeling_rope_utils (the meaning of rope_type).
#include "model/hf_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "base/json.h"

namespace sedge::model {
namespace {

// Optional fields: absent and null mean the default.
class Fields {
 public:
  explicit Fields(const json::Object& object) : object_(object) {}

  bool has(std::string_view key) const {
    const json::Value* value = object_.if_contains(key);
    return value != nullptr && !value->is_null();
  }
  Status size(std::size_t& out, std::string_view key) const {
    SEDGE_TRY(const std::uint64_t value, json::get_uint(object_, key));
    out = static_cast<std::size_t>(value);
    return {};
  }
  Status size_or(std::size_t& out, std::string_view key, std::size_t otherwise) const {
    out = otherwise;
    return has(key) ? size(out, key) : Status{};
  }
  Status real_or(float& out, std::string_view key, float otherwise) const {
    out = otherwise;
    if (!has(key)) return {};
    SEDGE_TRY(const double value, json::get_double(object_, key));
    out = static_cast<float>(std::clamp(value, -1e30, 1e30));
    return {};
  }
  // Numbers, each at most 1e30.
  Status reals(std::vector<float>& out, std::string_view key) const {
    const json::Value* value = object_.if_contains(key);
    if (value == nullptr || !value->is_array()) return fail(Code::kInvalidArgument, "field '{}' is not a list", key);
    for (const json::Value& each : value->get_array()) {
      if (!each.is_number()) return fail(Code::kInvalidArgument, "field '{}' has more than numbers", key);
      out.push_back(static_cast<float>(std::clamp(each.to_number<double>(), -1e30, 1e30)));
    }
    return {};
  }
  const json::Array* list(std::string_view key) const {
    const json::Value* value = object_.if_contains(key);
    return value != nullptr ? value->if_array() : nullptr;
  }
  Status flag_or(bool& out, std::string_view key, bool otherwise) const {
    out = otherwise;
    if (!has(key)) return {};
    SEDGE_TRY(out, json::get_bool(object_, key));
    return {};
  }
  Status text_or(std::string& out, std::string_view key, std::string_view otherwise) const {
    out = otherwise;
    if (!has(key)) return {};
    SEDGE_TRY(out, json::get_string(object_, key));
    return {};
  }
  // A token id, or the first of a list of them.
  std::optional<std::int32_t> id(std::string_view key) const {
    const json::Value* value = object_.if_contains(key);
    if (value != nullptr && value->is_array() && !value->get_array().empty()) value = &value->get_array()[0];
    const std::int64_t* number = value != nullptr ? value->if_int64() : nullptr;
    if (number == nullptr || *number < 0 || *number > INT32_MAX) return std::nullopt;
    return static_cast<std::int32_t>(*number);
  }
  const json::Object* object(std::string_view key) const {
    const json::Value* value = object_.if_contains(key);
    return value != nullptr ? value->if_object() : nullptr;
  }

 private:
  const json::Object& object_;
};

Result<const HfType*> type_of(const Fields& fields) {
  std::string name;
  SEDGE_CHECK(fields.text_or(name, "model_type", ""));
  if (const HfType* type = find_hf_type(name); type != nullptr) return type;
  std::vector<std::string_view> known;
  for (const HfType& row : hf_types()) known.push_back(row.model_type);
  return fail(Code::kUnimplemented, "field 'model_type' '{}': {} are imported", name, fmt::join(known, ", "));
}

Status check_activation(const Fields& fields, const HfType& type, const Features& features) {
  const bool gelu = features.feed_forward != FeedForward::kSwiGlu;
  if (!features
           .causal) {  // by the error function, or the gate's name; it is run as stock llama.cpp runs it, by the tanh
    std::string activation;
    SEDGE_CHECK(fields.text_or(activation, type.fields.activation, gelu ? "gelu" : "swiglu"));
    if (activation == (gelu ? "gelu" : "swiglu")) return {};
  }
  std::string activation;
  SEDGE_CHECK(fields.text_or(activation, type.fields.activation, gelu ? "gelu_pytorch_tanh" : "silu"));
  if (gelu ? activation == "gelu_pytorch_tanh" || activation == "gelu_new" : activation == "silu") return {};
  return fail(Code::kUnimplemented, "field '{}' '{}': only {} is run", type.fields.activation, activation,
              gelu ? "GELU by its tanh" : "silu");
}

struct Flag {
  std::string_view name;
  bool wanted;  // any other value is refused
  bool when_absent;
};

// Switches of one type or another that turn its network into one that is not run.
constexpr Flag kFlags[] = {
    {"attention_bias", false, false},      {"mlp_bias", false, false},
    {"use_sliding_window", false, false},  {"norm_topk_prob", true, true},
    {"scale_attn_weights", true, true},    {"scale_attn_by_inverse_layer_idx", false, false},
    {"add_cross_attention", false, false}, {"use_bidirectional_attention", false, false},
    {"is_decoder", false, false},          {"prenorm", false, false},
    {"qkv_proj_bias", false, false},       {"mlp_fc1_bias", false, false},
    {"mlp_fc2_bias", false, false},        {"use_rms_norm", false, false},
    {"parallel_block", false, false},      {"rotary_emb_interleaved", false, false},
};

Status refuse_other_features(const Fields& fields, const HfType& type, const LlamaConfig& config) {
  SEDGE_CHECK(check_activation(fields, type, config.features));
  for (const Flag& flag : kFlags) {
    bool value = flag.when_absent;
    SEDGE_CHECK(fields.flag_or(value, flag.name, flag.when_absent));
    if (value != flag.wanted) return fail(Code::kUnimplemented, "field '{}' is {}: that is not run", flag.name, value);
  }
  std::string positions;
  SEDGE_CHECK(fields.text_or(positions, "position_embedding_type", "absolute"));
  if (positions != "absolute" && has_positions(config)) {
    return fail(Code::kUnimplemented, "field 'position_embedding_type' '{}': only absolute is run", positions);
  }
  if (fields.has("rotary_scaling_factor")) return fail(Code::kUnimplemented, "field 'rotary_scaling_factor'");
  std::size_t sparse_step = 1;
  SEDGE_CHECK(fields.size_or(sparse_step, "decoder_sparse_step", 1));
  if (sparse_step != 1) return fail(Code::kUnimplemented, "field 'decoder_sparse_step' is {}, not 1", sparse_step);
  if (const json::Array* dense = fields.list("mlp_only_layers"); dense != nullptr && !dense->empty()) {
    return fail(Code::kUnimplemented, "field 'mlp_only_layers' is not empty");
  }
  if (type.windows || fields.has("use_sliding_window")) return {};
  std::size_t window = config.context;
  SEDGE_CHECK(fields.size_or(window, "sliding_window", config.context));
  if (window >= config.context) return {};
  return fail(Code::kUnimplemented, "field 'sliding_window' {} is shorter than the context {}", window, config.context);
}

// A list with an entry a layer must say what the architecture's row says.
Status check_layers(const Fields& fields, std::string_view key, const LlamaConfig& config, const auto& as_expected) {
  const json::Array* list = fields.list(key);
  if (list == nullptr) return {};
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    if (layer < list->size() && as_expected((*list)[layer], layer)) continue;
    return fail(Code::kUnimplemented, "field '{}': layer {} is of another kind than {} has it", key, layer,
                config.arch);
  }
  return {};
}

Status read_attention(const Fields& fields, const HfType& type, LlamaConfig& config) {
  if (type.windows) {
    const bool mixed = config.features.window_period > 1;
    std::size_t window = 0;
    SEDGE_CHECK(fields.size_or(window, "sliding_window", config.window));
    config.window = mixed || window < config.context ? window : 0;
    std::size_t period = config.features.window_period;
    SEDGE_CHECK(fields.size_or(period, "sliding_window_pattern", period));
    if (period != config.features.window_period) {
      return fail(Code::kUnimplemented, "field 'sliding_window_pattern' is {}, not {}", period,
                  config.features.window_period);
    }
  }
  SEDGE_CHECK(check_layers(fields, "layer_types", config, [&](const json::Value& kind, std::size_t layer) {
    return kind.is_string() && (kind.get_string() == "sliding_attention") == config.is_local(layer);
  }));
  SEDGE_CHECK(check_layers(fields, "no_rope_layers", config, [&](const json::Value& rotates, std::size_t layer) {
    return rotates.is_number() && (rotates.to_number<double>() != 0) == config.rotates(layer);
  }));
  SEDGE_CHECK(fields.real_or(config.attention_cap, "attn_logit_softcapping", 0));
  SEDGE_CHECK(fields.real_or(config.logit_cap, "final_logit_softcapping", 0));
  const Architecture& row = *find_architecture(config.arch);
  if ((config.attention_cap != 0) != (row.attention_cap != 0) || (config.logit_cap != 0) != (row.logit_cap != 0)) {
    return fail(Code::kUnimplemented, "fields 'attn_logit_softcapping' and 'final_logit_softcapping' of a {}",
                config.arch);
  }
  if (config.local_rope_base != 0) {
    SEDGE_CHECK(fields.real_or(config.local_rope_base, "rope_local_base_freq", config.local_rope_base));
  }
  set_scale_dim(config);
  const std::size_t divides = config.scale_dim != 0 ? config.scale_dim : config.head_dim;
  float scalar = 0;
  SEDGE_CHECK(fields.real_or(scalar, "query_pre_attn_scalar", static_cast<float>(divides)));
  if (scalar == static_cast<float>(divides)) return {};
  return fail(Code::kUnimplemented, "field 'query_pre_attn_scalar' is {}, a {} of {} layers has {}", scalar,
              config.arch, config.layers, divides);
}

Result<std::vector<float>> read_llama3(const Fields& scaling, const LlamaConfig& config) {
  Llama3Scaling read;
  SEDGE_CHECK(scaling.real_or(read.factor, "factor", read.factor));
  SEDGE_CHECK(scaling.real_or(read.low, "low_freq_factor", read.low));
  SEDGE_CHECK(scaling.real_or(read.high, "high_freq_factor", read.high));
  SEDGE_CHECK(scaling.size_or(read.original_context, "original_max_position_embeddings", read.original_context));
  if (!(read.factor >= 1 && read.low > 0 && read.high > read.low && read.original_context > 0)) {
    return fail(Code::kInvalidArgument,
                "field 'rope_scaling': needs factor >= 1 and 0 < low_freq_factor < "
                "high_freq_factor and a context above 0");
  }
  return llama3_factors(read, config.rope_dim, config.rope_base);
}

// Scores stay as sharp as they were when the context grows from `from` to `to`: by the square root of the logarithms'
// ratio.
Status read_longrope(const Fields& fields, const Fields& scaling, HfConfig& out) {
  LlamaConfig& config = out.config;
  SEDGE_CHECK(scaling.reals(out.rope_short, "short_factor"));
  SEDGE_CHECK(scaling.reals(out.rope_long, "long_factor"));
  for (const auto* list : {&out.rope_short, &out.rope_long}) {
    if (list->size() == config.rope_dim / 2 && std::ranges::all_of(*list, [](float f) { return f > 0; })) continue;
    return fail(Code::kInvalidArgument, "field 'rope_scaling': needs {} positive factors", config.rope_dim / 2);
  }
  RopeScaling& made = config.rope_scaling;
  made.kind = RopeScaling::Kind::kLongRope;
  SEDGE_CHECK(scaling.size_or(made.original_context, "original_max_position_embeddings", config.context));
  SEDGE_CHECK(fields.size_or(made.original_context, "original_max_position_embeddings", made.original_context));
  const double from = static_cast<double>(made.original_context), to = static_cast<double>(config.context);
  const bool grown = from > 1 && to > from;
  const double magnitude = grown ? std::sqrt(1 + std::log(to / from) / std::log(from)) : 1.0;
  return scaling.real_or(made.magnitude, "attention_factor", static_cast<float>(magnitude));
}

Status read_yarn(const Fields& scaling, LlamaConfig& config) {
  RopeScaling& made = config.rope_scaling;
  made.kind = RopeScaling::Kind::kYarn;
  SEDGE_CHECK(scaling.real_or(made.factor, "factor", 1));
  SEDGE_CHECK(scaling.size_or(made.original_context, "original_max_position_embeddings", config.context));
  SEDGE_CHECK(scaling.real_or(made.beta_fast, "beta_fast", made.beta_fast));
  SEDGE_CHECK(scaling.real_or(made.beta_slow, "beta_slow", made.beta_slow));
  for (const std::string_view name : {"attention_factor", "mscale", "mscale_all_dim"}) {
    if (scaling.has(name)) return fail(Code::kUnimplemented, "field 'rope_scaling': '{}' is not supported", name);
  }
  return {};
}

// Where base, scaling and the part that rotates stand.
struct RopeObjects {
  const json::Object* all = nullptr;
  const json::Object* local = nullptr;  // of layers with a window, where they have their own
};

// transformers 5 moved them into one object, or one for each kind of layer.
Result<RopeObjects> rope_objects(const Fields& fields) {
  const json::Object* object = fields.object("rope_scaling");
  if (object == nullptr) object = fields.object("rope_parameters");
  if (object == nullptr) return RopeObjects{};
  const bool nested = std::ranges::any_of(*object, [](const auto& member) { return member.value().is_object(); });
  if (!nested) return RopeObjects{.all = object};
  for (const auto& member : *object) {
    if (member.value().is_object() && (member.key() == "full_attention" || member.key() == "sliding_attention"))
      continue;
    return fail(Code::kUnimplemented, "field 'rope_parameters': '{}' beside kinds of layers",
                std::string_view(member.key()));
  }
  const Fields kinds(*object);
  const RopeObjects found{kinds.object("full_attention"), kinds.object("sliding_attention")};
  if (found.all == nullptr) return fail(Code::kInvalidArgument, "field 'rope_parameters': 'full_attention' is missing");
  return found;
}

// A base and nothing else: what layers with a window have.
Status read_local_rope(const Fields& local, LlamaConfig& config) {
  std::string type;
  SEDGE_CHECK(local.text_or(type, "rope_type", "default"));
  if (type != "default" || config.local_rope_base == 0) {
    return fail(Code::kUnimplemented, "field 'rope_parameters': 'sliding_attention' of type '{}' in a {}", type,
                config.arch);
  }
  return local.real_or(config.local_rope_base, "rope_theta", config.local_rope_base);
}

Status read_rope(const Fields& fields, HfConfig& out) {
  SEDGE_TRY(const RopeObjects objects, rope_objects(fields));
  SEDGE_CHECK(fields.real_or(out.config.rope_base, out.type->fields.rope_base, 10000.0f));
  if (objects.all == nullptr) return {};
  if (objects.local != nullptr) SEDGE_CHECK(read_local_rope(Fields(*objects.local), out.config));
  const Fields scaling(*objects.all);
  SEDGE_CHECK(scaling.real_or(out.config.rope_base, "rope_theta", out.config.rope_base));
  std::string type;
  SEDGE_CHECK(scaling.text_or(type, "type", "default"));
  SEDGE_CHECK(scaling.text_or(type, "rope_type", type));
  if (type == "default") return {};
  if (type == "linear") {
    out.config.rope_scaling.kind = RopeScaling::Kind::kLinear;
    return scaling.real_or(out.config.rope_scaling.factor, "factor", 1);
  }
  if (type == "yarn") return read_yarn(scaling, out.config);
  if (type == "longrope" || type == "su") return read_longrope(fields, scaling, out);
  if (type != "llama3") {
    return fail(Code::kUnimplemented, "field 'rope_scaling': type '{}' (linear, yarn, longrope and llama3 are known)",
                type);
  }
  SEDGE_TRY(out.rope_freqs, read_llama3(scaling, out.config));
  return {};
}

Status read_experts(const Fields& fields, const HfType& type, LlamaConfig& config) {
  if (!config.features.mixture || !fields.has(type.fields.experts)) return {};
  SEDGE_CHECK(fields.size(config.experts, type.fields.experts));
  SEDGE_CHECK(fields.size(config.experts_used, "num_experts_per_tok"));
  return fields.size_or(config.expert_ffn_dim, "moe_intermediate_size", config.ffn_dim);
}

Status read_sizes(const Fields& fields, const HfType& type, LlamaConfig& config) {
  const HfFields& names = type.fields;
  SEDGE_CHECK(fields.size(config.layers, names.layers));
  SEDGE_CHECK(fields.size(config.dim, names.dim));
  SEDGE_CHECK(fields.size(config.heads, names.heads));
  SEDGE_CHECK(fields.size_or(config.kv_heads, "num_key_value_heads", config.heads));
  SEDGE_CHECK(fields.size_or(config.head_dim, "head_dim", config.heads == 0 ? 0 : config.dim / config.heads));
  const bool plain = config.features.feed_forward == FeedForward::kGelu;  // GPT-2 leaves out four times the width
  if (plain && !fields.has(names.ffn)) {
    config.ffn_dim = std::min<std::size_t>(config.dim, 1 << 20) * 4;
  } else {
    SEDGE_CHECK(fields.size(config.ffn_dim, names.ffn));
  }
  SEDGE_CHECK(fields.size(config.vocab, "vocab_size"));
  SEDGE_CHECK(fields.size_or(config.context, names.context, 2048));
  SEDGE_CHECK(fields.real_or(config.norm_eps, names.epsilon, names.epsilon_default));
  SEDGE_CHECK(fields.flag_or(config.tied, "tie_word_embeddings", type.tied));
  config.tied = config.tied || !config.features.causal;
  if (config.features.token_types) SEDGE_CHECK(fields.size_or(config.token_types, "type_vocab_size", 2));
  float rotary = 1;
  SEDGE_TRY(const RopeObjects objects, rope_objects(fields));
  SEDGE_CHECK(fields.real_or(rotary, "rotary_emb_fraction", 1));
  SEDGE_CHECK(fields.real_or(rotary, "partial_rotary_factor", rotary));
  if (objects.all != nullptr) SEDGE_CHECK(Fields(*objects.all).real_or(rotary, "partial_rotary_factor", rotary));
  if (!(rotary > 0 && rotary <= 1)) {
    return fail(Code::kInvalidArgument, "field 'partial_rotary_factor' {} is not in (0, 1]", rotary);
  }
  config.rope_dim =
      static_cast<std::size_t>(rotary * static_cast<float>(std::min<std::size_t>(config.head_dim, 1 << 20)));
  // The importer would put rows of the part that does not rotate between those that do.
  if (config.features.rope == RopeLayout::kInterleaved && config.rope_dim != config.head_dim) {
    return fail(Code::kUnimplemented, "field 'partial_rotary_factor' {} in a {}", rotary, config.arch);
  }
  return read_experts(fields, type, config);
}

}  // namespace

Result<HfConfig> parse_hf_config(std::string_view text) {
  SEDGE_TRY(const json::Value document, json::parse(text, "config.json", {.depth_max = 16, .bytes_max = 1 << 20}));
  SEDGE_CHECK(json::check_unique_names(text, "config.json"));
  SEDGE_TRY(const json::Object* object, json::as_object(document, "config.json"));
  const Fields fields(*object);
  HfConfig out;
  const auto read = [&]() -> Status {
    SEDGE_TRY(out.type, type_of(fields));
    out.config = config_of_architecture(out.type->arch);
    SEDGE_CHECK(read_sizes(fields, *out.type, out.config));
    SEDGE_CHECK(refuse_other_features(fields, *out.type, out.config));
    SEDGE_CHECK(check_llama_config(out.config));
    SEDGE_CHECK(read_attention(fields, *out.type, out.config));
    SEDGE_CHECK(read_rope(fields, out));
    return check_llama_config(out.config);  // the base and the scaling as well
  };
  if (auto status = read(); !status) return in_context("config.json", std::move(status).error());
  out.bos = fields.id("bos_token_id");
  out.eos = fields.id("eos_token_id");
  return out;
}

}  // namespace sedge::model
