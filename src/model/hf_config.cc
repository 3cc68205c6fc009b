// Source: transformers, LlamaConfig and modeling_rope_utils (the meaning of rope_type "linear" and "llama3").
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

Status check_model_type(const Fields& fields) {
  std::string type;
  SEDGE_CHECK(fields.text_or(type, "model_type", ""));
  if (type != "llama" && type != "mistral") {
    return fail(Code::kUnimplemented, "field 'model_type' '{}': llama and mistral are imported", type);
  }
  return {};
}

Status refuse_other_features(const Fields& fields, std::size_t context) {
  std::string activation;
  SEDGE_CHECK(fields.text_or(activation, "hidden_act", "silu"));
  if (activation != "silu") return fail(Code::kUnimplemented, "field 'hidden_act' '{}': only silu is run", activation);
  for (const std::string_view bias : {"attention_bias", "mlp_bias"}) {
    bool present = false;
    SEDGE_CHECK(fields.flag_or(present, bias, false));
    if (present) return fail(Code::kUnimplemented, "field '{}' is true: biases are not run", bias);
  }
  std::size_t window = context;
  SEDGE_CHECK(fields.size_or(window, "sliding_window", context));
  if (window >= context) return {};
  return fail(Code::kUnimplemented, "field 'sliding_window' {} is shorter than the context {}", window, context);
}

// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between blended.
Result<std::vector<float>> llama3_factors(const Fields& scaling, const LlamaConfig& config) {
  float factor = 8, low = 1, high = 4;
  std::size_t old_context = 8192;
  SEDGE_CHECK(scaling.real_or(factor, "factor", factor));
  SEDGE_CHECK(scaling.real_or(low, "low_freq_factor", low));
  SEDGE_CHECK(scaling.real_or(high, "high_freq_factor", high));
  SEDGE_CHECK(scaling.size_or(old_context, "original_max_position_embeddings", old_context));
  if (!(factor >= 1 && low > 0 && high > low && old_context > 0)) {
    return fail(Code::kInvalidArgument,
                "field 'rope_scaling': needs factor >= 1 and 0 < low_freq_factor < "
                "high_freq_factor and a context above 0");
  }
  const auto context = static_cast<double>(old_context);
  std::vector<float> factors;
  for (std::size_t i = 0; i < config.rope_dim / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(config.rope_dim);
    const double wavelength = 2 * std::numbers::pi * std::pow(static_cast<double>(config.rope_base), exponent);
    const double blend = std::clamp((context / wavelength - low) / (high - low), 0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - blend) / factor + blend)));
  }
  return factors;
}

Status read_rope(const Fields& fields, HfConfig& out) {
  // transformers 5 moved base and scaling into one object.
  const json::Object* object = fields.object("rope_scaling");
  if (object == nullptr) object = fields.object("rope_parameters");
  SEDGE_CHECK(fields.real_or(out.config.rope_base, "rope_theta", 10000.0f));
  if (object == nullptr) return {};
  const Fields scaling(*object);
  SEDGE_CHECK(scaling.real_or(out.config.rope_base, "rope_theta", out.config.rope_base));
  std::string type;
  SEDGE_CHECK(scaling.text_or(type, "type", "default"));
  SEDGE_CHECK(scaling.text_or(type, "rope_type", type));
  if (type == "default") return {};
  if (type == "linear") {
    SEDGE_CHECK(scaling.real_or(out.rope_linear, "factor", 1));
    if (out.rope_linear > 0) return {};
    return fail(Code::kInvalidArgument, "field 'rope_scaling': factor {} is not positive", out.rope_linear);
  }
  if (type != "llama3") {
    return fail(Code::kUnimplemented, "field 'rope_scaling': type '{}' (linear and llama3 are known)", type);
  }
  SEDGE_TRY(out.rope_freqs, llama3_factors(scaling, out.config));
  return {};
}

Status read_sizes(const Fields& fields, LlamaConfig& config) {
  SEDGE_CHECK(fields.size(config.layers, "num_hidden_layers"));
  SEDGE_CHECK(fields.size(config.dim, "hidden_size"));
  SEDGE_CHECK(fields.size(config.heads, "num_attention_heads"));
  SEDGE_CHECK(fields.size_or(config.kv_heads, "num_key_value_heads", config.heads));
  SEDGE_CHECK(fields.size_or(config.head_dim, "head_dim", config.heads == 0 ? 0 : config.dim / config.heads));
  SEDGE_CHECK(fields.size(config.ffn_dim, "intermediate_size"));
  SEDGE_CHECK(fields.size(config.vocab, "vocab_size"));
  SEDGE_CHECK(fields.size_or(config.context, "max_position_embeddings", 2048));
  SEDGE_CHECK(fields.real_or(config.rms_eps, "rms_norm_eps", 1e-6f));
  SEDGE_CHECK(fields.flag_or(config.tied, "tie_word_embeddings", false));
  config.rope_dim = config.head_dim;
  return {};
}

}  // namespace

Result<HfConfig> parse_hf_config(std::string_view text) {
  SEDGE_TRY(const json::Value document, json::parse(text, "config.json", {.depth_max = 16, .bytes_max = 1 << 20}));
  SEDGE_CHECK(json::check_unique_names(text, "config.json"));
  SEDGE_TRY(const json::Object* object, json::as_object(document, "config.json"));
  const Fields fields(*object);
  HfConfig out;
  out.config.arch = "llama";
  const auto read = [&]() -> Status {
    SEDGE_CHECK(check_model_type(fields));
    SEDGE_CHECK(read_sizes(fields, out.config));
    SEDGE_CHECK(refuse_other_features(fields, out.config.context));
    SEDGE_CHECK(check_llama_config(out.config));
    SEDGE_CHECK(read_rope(fields, out));
    return check_llama_config(out.config);  // the base as well
  };
  if (auto status = read(); !status) return in_context("config.json", std::move(status).error());
  out.bos = fields.id("bos_token_id");
  out.eos = fields.id("eos_token_id");
  return out;
}

}  // namespace sedge::model
