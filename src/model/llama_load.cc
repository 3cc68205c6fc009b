// From tensors to views that the engine can trust. Rejected: loading whatever is there and failing in the first matrix
// product; a missing, surplus or misshapen tensor is found here, with its name.
//
// What a file holds as one tensor for several (rows of q, k and v; all experts) is cut into views by rows here: rows
// are whole in every format, so nothing behind the loader knows of it.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "base/assert.h"
#include "model/llama.h"
#include "model/llama_tensors.h"

namespace sedge::model {
namespace {

// The next rows of a tensor of many, under its name. Requires: whole.data holds them.
class Cutter {
 public:
  explicit Cutter(const TensorView& whole) : whole_(whole) {}

  // A matrix of `rows` rows, or of a vector so many values.
  TensorView next(std::size_t rows) {
    const bool vector = whole_.shape.size() == 1;
    TensorView part{whole_.name, whole_.type, {vector ? rows : whole_.shape[0]}, {}};
    if (!vector) part.shape.push_back(rows);
    const std::size_t all = vector ? whole_.cols() : whole_.rows();
    SEDGE_ASSERT(all > 0);
    const std::size_t bytes = whole_.data.size() / all * rows;
    part.data = whole_.data.subspan(at_, bytes);
    at_ += bytes;
    return part;
  }

 private:
  const TensorView& whole_;
  std::size_t at_ = 0;
};

void cut(const FusedLayer& fused, const LlamaConfig& config, LlamaLayer& layer) {
  const auto qkv = [&](const TensorView& whole, TensorView& q, TensorView& k, TensorView& v) {
    if (whole.shape.empty()) return;
    Cutter rows(whole);
    q = rows.next(config.q_dim()), k = rows.next(config.kv_dim()), v = rows.next(config.kv_dim());
  };
  qkv(fused.qkv, layer.q, layer.k, layer.v);
  qkv(fused.qkv_bias, layer.q_bias, layer.k_bias, layer.v_bias);
  if (!fused.gate_up.shape.empty()) {
    Cutter rows(fused.gate_up);
    layer.gate = rows.next(config.ffn_dim), layer.up = rows.next(config.ffn_dim);
  }
  if (config.experts == 0) return;
  Cutter gates(fused.gate_exps), ups(fused.up_exps), downs(fused.down_exps);
  for (std::size_t e = 0; e < config.experts; ++e) {
    layer.experts.push_back(
        {gates.next(config.expert_ffn_dim), ups.next(config.expert_ffn_dim), downs.next(config.dim)});
  }
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
      return fail(Code::kUnimplemented, "tensor '{}' is {}, norms and biases are read as F32", name,
                  dtype_name(tensor->type));
    }
    owner.*row.view = *tensor;
    used_.insert(name);
    return {};
  }

  // Empty when the file has none.
  Result<std::vector<float>> rope_factors(std::string_view name) {
    const TensorView* tensor = file_.find_tensor(name);
    if (tensor == nullptr) return std::vector<float>();
    used_.insert(std::string(name));
    if (tensor->type != DType::kF32 || tensor->shape != std::vector<std::uint64_t>{config_.rope_dim / 2}) {
      return fail(Code::kDataLoss, "tensor '{}' is {} {}, should be F32 [{}]", name, dtype_name(tensor->type),
                  shape_text(tensor->shape), config_.rope_dim / 2);
    }
    std::vector<float> factors(config_.rope_dim / 2);
    std::memcpy(factors.data(), tensor->data.data(), tensor->data.size());
    const auto bad = std::ranges::find_if(factors, [](float f) { return !std::isfinite(f) || f <= 0; });
    if (bad == factors.end()) return factors;
    return fail(Code::kDataLoss, "tensor '{}': factor {} is not a positive number", name, *bad);
  }

  // Those of a tensor of the file, times those that the scaling makes.
  Status read_rope_factors(std::vector<float>& factors, bool long_context) {
    SEDGE_TRY(factors, rope_factors(kRopeFreqsName));
    if (config_.rope_scaling.kind == RopeScaling::Kind::kLongRope) {
      SEDGE_TRY(std::vector<float> of_long, rope_factors(kRopeLongName));
      SEDGE_TRY(factors, rope_factors(kRopeShortName));
      if (factors.empty()) return fail(Code::kNotFound, "tensor '{}' is missing", kRopeShortName);
      if (long_context) factors = std::move(of_long);
    }
    const auto made = scaling_factors(config_.rope_scaling, config_.rope_dim, config_.rope_base);
    if (made.empty()) return {};
    factors.resize(made.size(), 1.0f);
    for (std::size_t i = 0; i < made.size(); ++i) factors[i] *= made[i];
    return {};
  }

  Status nothing_left() const {
    for (const TensorView& tensor : file_.tensors()) {
      if (!used_.contains(tensor.name)) {
        return fail(Code::kUnimplemented, "tensor '{}' has no place in a {} of {} layers", tensor.name, config_.arch,
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

Result<LlamaModel> load_llama(const GgufFile& file, bool long_context) {
  LlamaModel model;
  SEDGE_TRY(model.config, read_llama_config(file));
  if (file.tensors().empty()) return fail(Code::kFailedPrecondition, "the file holds a vocabulary and no weights");
  const LlamaConfig& config = model.config;
  Loader loader(file, config);
  LlamaWeights& weights = model.weights;
  weights.layers.resize(config.layers);
  std::vector<FusedLayer> fused(config.layers);
  SEDGE_CHECK(for_each_tensor(config, [&]<class Owner>(const LlamaTensorRow<Owner>& row, std::size_t layer) -> Status {
    const std::string name = gguf_name(row, layer);
    if constexpr (std::is_same_v<Owner, LlamaWeights>) return loader.take(weights, row, name);
    if constexpr (std::is_same_v<Owner, LlamaLayer>) return loader.take(weights.layers[layer], row, name);
    if constexpr (std::is_same_v<Owner, FusedLayer>) return loader.take(fused[layer], row, name);
  }));
  if (config.tied && config.features.causal) weights.output = weights.token_embd;
  for (std::size_t layer = 0; layer < config.layers; ++layer) cut(fused[layer], config, weights.layers[layer]);
  long_context = long_context && config.long_context > 0;
  SEDGE_CHECK(loader.read_rope_factors(model.rope_factors, long_context));
  if (long_context) model.config.context = config.long_context;
  SEDGE_CHECK(loader.nothing_left());
  for (const TensorView& tensor : file.tensors()) model.parameters += tensor.values();
  return model;
}

}  // namespace sedge::model
