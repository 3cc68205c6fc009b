#include "model/lora.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/assert.h"
#include "base/json.h"
#include "model/hf_type.h"
#include "model/import_source.h"
#include "model/llama_tensors.h"
#include "model/random_tensor.h"

namespace sedge::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfigName = "adapter_config.json", kWeightsName = "adapter_model.safetensors";

// Where a tensor of the base model stands, and what of the network it is: rows of one or several matrices.
struct Place {
  struct Part {
    TensorView LlamaLayer::* matrix;
    std::size_t rows;
  };
  std::size_t layer = 0;
  std::vector<std::uint64_t> shape;
  std::vector<Part> parts;
  std::size_t rotated_heads = 0;  // whose rows Hugging Face keeps in another order
  std::string_view refused;       // why no pair may stand here
};

// Every matrix of the base model by its GGUF name.
class Places {
 public:
  explicit Places(const LlamaConfig& base) {
    const bool interleaved = base.features.rope == RopeLayout::kInterleaved;
    const Status all = for_each_tensor(base, [&](const auto& row, std::size_t layer) -> Status {
      Place place{.layer = layer, .shape = shape_of(row, base), .parts = {}, .refused = {}};
      if (place.shape.size() < 2) return {};
      describe(base, row, place);
      if (row.heads != nullptr && interleaved) place.rotated_heads = row.heads(base);
      places_.emplace(gguf_name(row, layer), std::move(place));
      return {};
    });
    SEDGE_ASSERT(all.has_value());
  }

  const Place* find(const std::string& name) const {
    const auto at = places_.find(name);
    return at == places_.end() ? nullptr : &at->second;
  }

 private:
  static void describe(const LlamaConfig&, const LlamaTensorRow<LlamaWeights>&, Place& place) {
    place.refused = "adapters of embeddings and heads";
  }
  static void describe(const LlamaConfig& base, const LlamaTensorRow<LlamaLayer>& row, Place& place) {
    place.parts = {{row.view, row.rows(base)}};
  }
  static void describe(const LlamaConfig& base, const LlamaTensorRow<FusedLayer>& row, Place& place) {
    if (row.view == &FusedLayer::qkv) {
      place.parts = {{&LlamaLayer::q, base.q_dim()}, {&LlamaLayer::k, base.kv_dim()}, {&LlamaLayer::v, base.kv_dim()}};
    } else if (row.view == &FusedLayer::gate_up) {
      place.parts = {{&LlamaLayer::gate, base.ffn_dim}, {&LlamaLayer::up, base.ffn_dim}};
    } else {
      place.refused = "adapters of experts";
    }
  }

  std::map<std::string, Place, std::less<>> places_;
};

// A and B as the file has them: shapes in GGUF order, names the file's own.
struct Halves {
  std::optional<TensorView> a, b;
};
using HalvesByTensor = std::map<std::string, Halves>;  // by the base model's GGUF name

struct Scaling {
  std::optional<double> alpha;  // none: what B and A give is added as it is
  bool by_root = false;         // of the rank

  float of(std::size_t rank) const {
    if (!alpha) return 1;
    const auto r = static_cast<double>(rank);
    return static_cast<float>(*alpha / (by_root ? std::sqrt(r) : r));
  }
};

class Builder {
 public:
  Builder(const LlamaConfig& base, const Places& places, Scaling scaling, bool half_by_half)
      : base_(base), places_(places), scaling_(scaling), half_by_half_(half_by_half) {}

  Status add(const std::string& name, const Halves& halves) {
    if (!halves.a || !halves.b) {
      return fail(Code::kDataLoss, "tensor '{}' has no partner {}: the file is not whole",
                  (halves.a ? halves.a : halves.b)->name, halves.a ? 'B' : 'A');
    }
    const TensorView &a = *halves.a, &b = *halves.b;
    const Place* place = places_.find(name);
    if (place == nullptr) {
      return fail(Code::kNotFound,
                  "tensor '{}': the {} of {} layers has no matrix '{}': give the model that it was "
                  "trained on",
                  a.name, base_.arch, base_.layers, name);
    }
    if (!place->refused.empty()) {
      return fail(Code::kUnimplemented, "tensor '{}': {} are not run: train one for the other matrices of the layers",
                  a.name, place->refused);
    }
    SEDGE_CHECK(check_shapes(a, b, *place));
    const TensorView down = keep(a, 0);
    TensorView up = keep(b, half_by_half_ ? place->rotated_heads : 0);
    for (const Place::Part& part : place->parts) {
      LoraPair pair{place->layer, part.matrix, down, up, scaling_.of(a.shape[1])};
      pair.b.shape[1] = part.rows;
      pair.b.data = up.data.first(up.data.size() / up.shape[1] * part.rows);
      up.data = up.data.subspan(pair.b.data.size());
      up.shape[1] -= part.rows;
      made_.pairs.push_back(std::move(pair));
    }
    made_.parameters += a.values() + b.values();
    return {};
  }

  Lora made() && { return std::move(made_); }

 private:
  static Status check_shapes(const TensorView& a, const TensorView& b, const Place& place) {
    const auto check = [](const TensorView& tensor, const std::vector<std::uint64_t>& wanted) -> Status {
      if (tensor.shape == wanted) return {};
      return fail(Code::kDataLoss,
                  "tensor '{}' has shape {}, the model asks for {} (innermost first): give the model "
                  "that it was trained on",
                  tensor.name, shape_text(tensor.shape), shape_text(wanted));
    };
    const std::uint64_t rank = a.shape.size() == 2 ? a.shape[1] : 1;
    SEDGE_CHECK(check(a, {place.shape[0], rank}));
    SEDGE_CHECK(check(b, {rank, place.shape[1]}));
    if (rank >= 1 && rank <= kLoraRankMax) return {};
    return fail(Code::kUnimplemented, "tensor '{}' is of rank {}, 1 to {} are run", a.name, rank, kLoraRankMax);
  }

  // A copy that outlives the file, its rows in the model's order, blocks as F32.
  TensorView keep(const TensorView& in, std::size_t half_heads) {
    const kernels::Format& from = kernels::format_of(in.type);
    TensorView out{in.name, from.block_values == 1 ? in.type : DType::kF32, in.shape, {}};
    const std::size_t cols = in.cols(), rows = in.rows(), in_bytes = in.data.size() / rows;
    const std::size_t out_bytes = cols * kernels::format_of(out.type).block_bytes;
    Buffer& memory = *made_.memory.emplace_back(std::make_unique<Buffer>(rows * out_bytes));
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t source = half_heads == 0 ? row : half_row(row, rows / half_heads);
      const std::uint8_t* at = in.data.data() + source * in_bytes;
      if (out.type == in.type) {
        std::copy_n(at, in_bytes, memory.data() + row * out_bytes);
      } else {
        from.dequantize(at, reinterpret_cast<float*>(memory.data() + row * out_bytes), cols);
      }
    }
    out.data = memory;
    return out;
  }

  const LlamaConfig& base_;
  const Places& places_;
  Scaling scaling_;
  bool half_by_half_;
  Lora made_;
};

Result<Lora> build(const LlamaConfig& base, const Places& places, const HalvesByTensor& all, Scaling scaling,
                   bool half_by_half) {
  if (scaling.alpha && !(std::fabs(*scaling.alpha) <= double{std::numeric_limits<float>::max()})) {
    return fail(Code::kDataLoss, "alpha is {}, no number that binary32 holds", *scaling.alpha);
  }
  Builder builder(base, places, scaling, half_by_half);
  for (const auto& [name, halves] : all) SEDGE_CHECK(builder.add(name, halves));
  Lora made = std::move(builder).made();
  if (made.pairs.empty()) return fail(Code::kInvalidArgument, "it holds no pairs of matrices: it is no LoRA adapter");
  return made;
}

Status put(std::optional<TensorView>& half, TensorView tensor) {
  if (half) return fail(Code::kDataLoss, "tensors '{}' and '{}' are for the same matrix", half->name, tensor.name);
  half = std::move(tensor);
  return {};
}

// The name without its ending, where it has that.
std::optional<std::string_view> without(std::string_view name, std::string_view ending) {
  if (!name.ends_with(ending)) return std::nullopt;
  return name.substr(0, name.size() - ending.size());
}

Status check_gguf(const GgufFile& file, const LlamaConfig& base) {
  const std::pair<std::string_view, std::string_view> wanted[] = {
      {"general.type", "adapter"}, {"adapter.type", "lora"}, {"general.architecture", base.arch}};
  for (const auto& [key, value] : wanted) {
    auto found = file.get_string(key);
    if (found && *found == value) continue;
    return fail(Code::kInvalidArgument, "metadata '{}' is {}, '{}' is wanted: give a LoRA adapter of this model", key,
                found ? fmt::format("'{}'", *found) : "absent", value);
  }
  constexpr std::string_view kActivated = "adapter.alora.invocation_tokens";
  if (!file.has(kActivated)) return {};
  return fail(Code::kUnimplemented, "metadata '{}': adapters that begin in the middle of a text are not run",
              kActivated);
}

// Every name that a matrix of the base model may have at Hugging Face, with that in GGUF.
std::map<std::string, std::string> hf_names(const LlamaConfig& base) {
  std::map<std::string, std::string> names;
  for (const HfType& type : hf_types()) {
    if (type.arch != base.arch) continue;
    const Status all = for_each_tensor(base, [&](const auto& row, std::size_t layer) -> Status {
      if (row.suffix != kWeight) return {};
      const std::size_t planes = row.planes == nullptr ? 1 : row.planes(base);
      for (std::size_t plane = 0; plane < planes; ++plane) {
        const std::string name = hf_name(type, row, layer, plane);
        const std::string stem(name.substr(0, name.size() - kWeight.size() - 1));
        names.emplace(stem, gguf_name(row, layer));
        if (!type.part_of.empty()) names.emplace(fmt::format("{}{}", type.part_of, stem), gguf_name(row, layer));
      }
      return {};
    });
    SEDGE_ASSERT(all.has_value());
  }
  return names;
}

// What would add something else than B·(A·x): a field is refused unless it is absent or says no in one of these words.
bool says_no(const json::Value& value) {
  if (value.is_null()) return true;
  if (value.is_bool()) return !value.get_bool();
  if (value.is_string()) return value.get_string() == "none";
  if (value.is_array()) return value.get_array().empty();
  return value.is_object() && value.get_object().empty();
}

Result<Scaling> read_peft_config(std::string_view text) {
  SEDGE_TRY(const json::Value document, json::parse(text, kConfigName, {.depth_max = 8, .bytes_max = 1 << 20}));
  SEDGE_CHECK(json::check_unique_names(text, kConfigName));
  SEDGE_TRY(const json::Object* object, json::as_object(document, kConfigName));
  SEDGE_TRY(const std::string kind, json::get_string(*object, "peft_type"));
  if (kind != "LORA") {
    return fail(Code::kUnimplemented, "{}: field 'peft_type' is '{}', LORA is run", kConfigName, kind);
  }
  for (const std::string_view field : {"use_dora", "use_qalora", "bias", "lora_bias", "modules_to_save",
                                       "alpha_pattern", "trainable_token_indices", "alora_invocation_tokens"}) {
    const json::Value* value = object->if_contains(field);
    if (value == nullptr || says_no(*value)) continue;
    return fail(Code::kUnimplemented, "{}: field '{}' is {}: adapters with that are not run", kConfigName, field,
                json::write(*value));
  }
  Scaling scaling;
  SEDGE_TRY(scaling.alpha, json::get_double(*object, "lora_alpha"));
  if (object->contains("use_rslora")) {
    SEDGE_TRY(scaling.by_root, json::get_bool(*object, "use_rslora"));
  }
  return scaling;
}

Result<TensorView> view_of(const SafeTensor& tensor) {
  if (!tensor.type || kernels::format_of(*tensor.type).block_values != 1) {
    return fail(Code::kUnimplemented, "tensor '{}': dtype {} is not read (F32, F16, BF16 are)", tensor.name,
                tensor.dtype);
  }
  return TensorView{tensor.name, *tensor.type, {tensor.shape.rbegin(), tensor.shape.rend()}, tensor.data};
}

Result<Lora> load(const fs::path& path, const LlamaConfig& base) {
  const std::vector<fs::path> files = lora_files(path);
  if (files.size() == 1) {
    SEDGE_TRY(const GgufFile file, GgufFile::open(path));
    return lora_from_gguf(file, base);
  }
  SEDGE_TRY(const auto config, MappedFile::open(files[0]));
  SEDGE_TRY(const SafetensorsFile weights, SafetensorsFile::open(files[1]));
  return lora_from_peft(as_text(config->bytes()), weights, base);
}

}  // namespace

std::vector<fs::path> lora_files(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  return {path / kConfigName, path / kWeightsName};
}

Result<Lora> lora_from_gguf(const GgufFile& file, const LlamaConfig& base) {
  SEDGE_CHECK(check_gguf(file, base));
  Scaling scaling;
  if (constexpr std::string_view kAlpha = "adapter.lora.alpha"; file.has(kAlpha)) {
    SEDGE_TRY(scaling.alpha, file.get_float(kAlpha));
    if (*scaling.alpha == 0) scaling.alpha.reset();  // as llama.cpp reads it
  }
  HalvesByTensor all;
  for (const TensorView& tensor : file.tensors()) {
    const auto a = without(tensor.name, ".lora_a"), b = without(tensor.name, ".lora_b");
    if (!a && !b) {
      return fail(Code::kUnimplemented, "tensor '{}' is neither .lora_a nor .lora_b: only LoRA pairs are run",
                  tensor.name);
    }
    Halves& halves = all[std::string(a ? *a : *b)];
    SEDGE_CHECK(put(a ? halves.a : halves.b, tensor));
  }
  return build(base, Places(base), all, scaling, false);
}

Result<Lora> lora_from_peft(std::string_view config, const SafetensorsFile& file, const LlamaConfig& base) {
  SEDGE_TRY(const Scaling scaling, read_peft_config(config));
  const auto names = hf_names(base);
  HalvesByTensor all;
  for (const SafeTensor& tensor : file.tensors()) {
    constexpr std::string_view kPrefix = "base_model.model.";
    const auto a = without(tensor.name, ".lora_A.weight"), b = without(tensor.name, ".lora_B.weight");
    if ((!a && !b) || !tensor.name.starts_with(kPrefix)) {
      return fail(Code::kUnimplemented,
                  "tensor '{}' is no {}NAME.lora_A.weight or .lora_B.weight: only LoRA pairs of "
                  "matrices are run",
                  tensor.name, kPrefix);
    }
    const auto found = names.find(std::string((a ? *a : *b).substr(kPrefix.size())));
    if (found == names.end()) {
      return fail(Code::kNotFound,
                  "tensor '{}' has no place in a {} of {} layers: give the model that it was trained "
                  "on",
                  tensor.name, base.arch, base.layers);
    }
    Halves& halves = all[found->second];
    SEDGE_TRY(TensorView view, view_of(tensor));
    SEDGE_CHECK(put(a ? halves.a : halves.b, std::move(view)));
  }
  return build(base, Places(base), all, scaling, true);
}

Result<Lora> load_lora(const fs::path& path, const LlamaConfig& base) {
  auto loaded = load(path, base);
  if (!loaded) return in_context(path.string(), std::move(loaded).error());
  return loaded;
}

Status write_random_lora(const fs::path& out, const LlamaConfig& base, const RandomLoraOptions& options) {
  if (options.rank < 1 || options.rank > kLoraRankMax) {
    return fail(Code::kInvalidArgument, "rank {}, 1 to {} are run", options.rank, kLoraRankMax);
  }
  if (kernels::format_of(options.type).block_values != 1) {
    return fail(Code::kInvalidArgument, "type {}: adapters are F32, F16 or BF16", dtype_name(options.type));
  }
  GgufWriter writer;
  writer.set("general.architecture", base.arch);
  writer.set("general.type", "adapter");
  writer.set("adapter.type", "lora");
  writer.set("adapter.lora.alpha", static_cast<float>(options.rank) / 2);
  Prng seeds(options.seed);
  SEDGE_CHECK(for_each_tensor(base, [&]<class Owner>(const LlamaTensorRow<Owner>& row, std::size_t layer) -> Status {
    const auto shape = shape_of(row, base);
    if (std::is_same_v<Owner, LlamaWeights> || shape.size() != 2) return {};
    const std::pair<std::string_view, std::vector<std::uint64_t>> halves[] = {{"lora_a", {shape[0], options.rank}},
                                                                              {"lora_b", {options.rank, shape[1]}}};
    for (const auto& [ending, half] : halves) {
      const RandomTensor tensor(half, options.type, RandomKind::kMatrix, false, seeds.next());
      writer.add_tensor(fmt::format("{}.{}", gguf_name(row, layer), ending), options.type, half,
                        [tensor](const ByteSink& sink) {
                          RandomTensor fresh = tensor;
                          return fresh.run(sink);
                        });
    }
    return {};
  }));
  return writer.write(out);
}

}  // namespace sedge::model
