// A Hugging Face directory: config.json, one safetensors file or several behind an index, and a tokenizer.
#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "base/json.h"
#include "model/import_source.h"
#include "model/llama_tensors.h"
#include "model/safetensors.h"

namespace sedge::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

bool present(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

Result<std::string> read_text(const fs::path& path) {
  SEDGE_TRY(const auto file, MappedFile::open(path));
  constexpr std::size_t kBytesMax = 64u << 20;
  if (file->bytes().size() > kBytesMax) {
    return fail(Code::kResourceExhausted, "{}: {} bytes, at most {} are read", path.string(), file->bytes().size(),
                kBytesMax);
  }
  return std::string(as_text(file->bytes()));
}

// Every tensor of a model, whichever file it is in.
class Shards {
 public:
  static Result<Shards> open(const fs::path& directory, const fs::path& weights) {
    Shards shards;
    if (!weights.empty()) {
      SEDGE_CHECK(shards.add(weights));
    } else if (present(directory / kSingle)) {
      SEDGE_CHECK(shards.add(directory / kSingle));
    } else if (present(directory / kIndex)) {
      SEDGE_CHECK(shards.add_index(directory));
    } else {
      return fail(Code::kNotFound, "{}: holds neither {} nor {}", directory.string(), kSingle, kIndex);
    }
    return shards;
  }

  const SafeTensor* find(const std::string& name) const {
    const auto at = tensors_.find(name);
    return at == tensors_.end() ? nullptr : at->second;
  }
  const std::map<std::string, const SafeTensor*>& all() const { return tensors_; }
  std::vector<std::shared_ptr<const void>> files() const { return {files_.begin(), files_.end()}; }

 private:
  Status add(const fs::path& path) {
    SEDGE_TRY(SafetensorsFile opened, SafetensorsFile::open(path));
    const auto& file = *files_.emplace_back(std::make_shared<const SafetensorsFile>(std::move(opened)));
    for (const SafeTensor& tensor : file.tensors()) {
      if (tensors_.emplace(tensor.name, &tensor).second) continue;
      return fail(Code::kDataLoss, "{}: tensor '{}' is in another shard too", path.string(), tensor.name);
    }
    return {};
  }

  Status add_index(const fs::path& directory) {
    SEDGE_TRY(const std::string text, read_text(directory / kIndex));
    SEDGE_TRY(const json::Value document, json::parse(text, kIndex, {.depth_max = 4, .bytes_max = text.size()}));
    SEDGE_CHECK(json::check_unique_names(text, kIndex));
    SEDGE_TRY(const json::Object* object, json::as_object(document, kIndex));
    SEDGE_TRY(const json::Value* map_value, json::member(*object, "weight_map"));
    SEDGE_TRY(const json::Object* map, json::as_object(*map_value, "field 'weight_map'"));
    std::map<std::string, std::string> shard_of;  // tensor -> file name
    std::set<std::string> names;
    for (const auto& [tensor, value] : *map) {
      SEDGE_TRY(const std::string name, json::get_string(*map, tensor));
      // A name, not a path: an index from a stranger must not make us read elsewhere.
      if (fs::path(name).filename() != name || name.empty() || name == "." || name == "..") {
        return fail(Code::kDataLoss, "{}: field 'weight_map': '{}' is not a plain file name", kIndex, name);
      }
      shard_of.emplace(tensor, name);
      names.insert(name);
    }
    for (const std::string& name : names) SEDGE_CHECK(add(directory / name));
    for (const auto& [tensor, name] : shard_of) {
      if (!tensors_.contains(tensor)) {
        return fail(Code::kDataLoss, "{}: tensor '{}' is not in {}", kIndex, tensor, name);
      }
    }
    return {};
  }

  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::map<std::string, const SafeTensor*> tensors_;
};

class Collector {
 public:
  Collector(const Shards& shards, const HfConfig& hf, std::vector<ImportTensor>& out)
      : shards_(shards), hf_(hf), config_(hf.config), out_(out) {}

  Status collect() {
    SEDGE_CHECK(
        for_each_tensor(config_, [&](const auto& row, std::size_t layer) -> Status { return take(row, layer); }));
    if (config_.tied) used_.insert(find_name(hf_name(*hf_.type, kOutputRow)));  // saved once more
    return nothing_left();
  }

 private:
  // GPT-2 is saved by itself or as a part of a "transformer", BERT of a "bert".
  std::string find_name(std::string name) const {
    std::string longer = fmt::format("{}{}", hf_.type->part_of, name);
    return shards_.find(name) == nullptr && shards_.find(longer) != nullptr ? longer : name;
  }

  template <class Owner>
  Status take(const LlamaTensorRow<Owner>& row, std::size_t layer) {
    const auto shape = shape_of(row, config_);
    ImportTensor made;
    made.name = gguf_name(row, layer);
    made.shape = shape;
    made.exact = stays_exact(row);
    made.less_one = hf_.type->norms_less_one && shape.size() == 1 && row.suffix == kWeight;
    made.transposed = hf_.type->transposed && shape.size() == 2 && !std::is_same_v<Owner, LlamaWeights>;
    const bool interleaved = config_.features.rope == RopeLayout::kInterleaved;
    made.half_heads = row.heads != nullptr && interleaved ? row.heads(config_) : 0;
    const std::size_t planes = row.planes == nullptr ? 1 : row.planes(config_);
    std::vector<std::uint64_t> wanted(shape.begin(), shape.begin() + std::min<std::ptrdiff_t>(2, std::ssize(shape)));
    if (made.transposed) std::swap(wanted[0], wanted[1]);
    for (std::size_t plane = 0; plane < planes; ++plane) {
      std::string name = hf_name(*hf_.type, row, layer, plane);
      // A tied model may be saved under either name of its one matrix.
      if (row.gguf == kEmbeddingRow.gguf && config_.tied && config_.features.causal &&
          shards_.find(find_name(name)) == nullptr) {
        name = hf_name(*hf_.type, kOutputRow);
      }
      SEDGE_TRY(const SafeTensor* tensor, find(find_name(std::move(name)), wanted));
      if (plane != 0 && *tensor->type != made.type) {
        return fail(Code::kUnimplemented, "tensor '{}' is of another type than the expert before it", tensor->name);
      }
      made.type = *tensor->type;
      made.pieces.push_back(tensor->data);
    }
    out_.push_back(std::move(made));
    return {};
  }

  Result<const SafeTensor*> find(const std::string& name, const std::vector<std::uint64_t>& wanted) {
    const SafeTensor* tensor = shards_.find(name);
    if (tensor == nullptr) return fail(Code::kNotFound, "tensor '{}' is missing", name);
    if (!tensor->type) {
      return fail(Code::kUnimplemented, "tensor '{}': dtype {} is not imported (F32, F16, BF16 are)", name,
                  tensor->dtype);
    }
    const std::vector<std::uint64_t> shape(tensor->shape.rbegin(), tensor->shape.rend());
    if (shape != wanted) {
      return fail(Code::kDataLoss, "tensor '{}' has shape {}, config.json asks for {} (innermost first)", name,
                  shape_text(shape), shape_text(wanted));
    }
    used_.insert(name);
    return tensor;
  }

  // A tensor without a place (a bias, an adapter) would change the answer if it were ignored; the frequencies and masks
  // that old exports carry follow from the config, and heads of other tasks are behind it.
  Status nothing_left() const {
    for (const auto& [name, tensor] : shards_.all()) {
      const bool unused =
          std::ranges::any_of(hf_.type->unused, [&](std::string_view part) { return name.contains(part); });
      if (used_.contains(name) || name.ends_with(".rotary_emb.inv_freq") || unused) continue;
      return fail(Code::kUnimplemented, "tensor '{}' {} has no place in a {} of {} layers", name,
                  shape_text(tensor->shape), hf_.type->model_type, config_.layers);
    }
    return {};
  }

  const Shards& shards_;
  const HfConfig& hf_;
  const LlamaConfig& config_;
  std::vector<ImportTensor>& out_;
  std::set<std::string> used_;
};

// How states are pooled, as the folder of a sentence-transformers model says it: one switch of several is on.
Status read_pooling(const fs::path& path, LlamaConfig& config) {
  if (!present(path)) return {};
  constexpr std::pair<std::string_view, Pooling> kSwitches[] = {{"pooling_mode_mean_tokens", Pooling::kMean},
                                                                {"pooling_mode_cls_token", Pooling::kFirst},
                                                                {"pooling_mode_lasttoken", Pooling::kLast}};
  SEDGE_TRY(const std::string text, read_text(path));
  SEDGE_TRY(const json::Value document, json::parse(text, path.string(), {.depth_max = 4, .bytes_max = text.size()}));
  SEDGE_TRY(const json::Object* object, json::as_object(document, path.string()));
  for (const auto& [key, value] : *object) {
    const std::string_view name(key);
    if (!name.starts_with("pooling_mode_") || !value.is_bool() || !value.get_bool()) continue;
    const auto* found = std::ranges::find(kSwitches, name, [](const auto& each) { return each.first; });
    if (found == std::end(kSwitches) || config.pooling != Pooling::kNone) {
      return fail(Code::kUnimplemented, "{}: field '{}': one of mean, cls and last token is run", path.string(), name);
    }
    config.pooling = found->second;
  }
  return {};
}

Result<Vocab> vocab_of(const fs::path& directory, const ImportOptions& options, const HfConfig& config) {
  fs::path path = options.tokenizer;
  // tokenizer.json first: it alone has the tokens that were added after SentencePiece was trained.
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    if (path.empty() && present(directory / name)) path = directory / name;
  }
  if (path.empty()) {
    return fail(Code::kNotFound, "{}: holds neither tokenizer.json nor tokenizer.model (or give --tokenizer)",
                directory.string());
  }
  SEDGE_TRY(Vocab vocab, open_vocab(path, directory / "tokenizer_config.json", config.config.vocab));
  const auto in_range = [&](std::optional<std::int32_t> id) {
    return id && static_cast<std::size_t>(*id) < vocab.tokens.size() ? id : std::nullopt;
  };
  if (!vocab.bos) vocab.bos = in_range(config.bos);
  if (!vocab.eos) vocab.eos = in_range(config.eos);
  if (const fs::path chat = directory / "chat_template.jinja"; vocab.chat_template.empty() && present(chat)) {
    SEDGE_TRY(vocab.chat_template, read_text(chat));
  }
  SEDGE_CHECK(pad_vocab(vocab, config.config.vocab));
  return vocab;
}

}  // namespace

Result<ImportSource> open_hf(const fs::path& in, const ImportOptions& options) {
  std::error_code error;
  const bool whole = fs::is_directory(in, error);
  const fs::path absolute = fs::absolute(in, error).lexically_normal();
  const fs::path directory = whole ? in : absolute.parent_path();
  SEDGE_TRY(const std::string text, read_text(directory / "config.json"));
  SEDGE_TRY(HfConfig config, parse_hf_config(text));
  SEDGE_CHECK(read_pooling(directory / "1_Pooling" / "config.json", config.config));
  const fs::path named = whole ? absolute : directory;
  config.config.name = (named.has_filename() ? named : named.parent_path()).filename().string();
  if (!options.name.empty()) config.config.name = options.name;
  SEDGE_TRY(const Shards shards, Shards::open(directory, whole ? fs::path() : in));
  SEDGE_TRY(const Vocab vocab, vocab_of(directory, options, config));
  ImportSource source;
  source.format = "Hugging Face directory";
  source.opened = shards.files();
  write_llama_config(source.writer, config.config);
  write_vocab(source.writer, vocab);
  SEDGE_CHECK(Collector(shards, config, source.tensors).collect());
  source.rope_factors = {std::move(config.rope_freqs), std::move(config.rope_short), std::move(config.rope_long)};
  constexpr std::string_view kNames[] = {kRopeFreqsName, kRopeShortName, kRopeLongName};
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    const std::vector<float>& factors = source.rope_factors[i];
    if (factors.empty()) continue;
    const Bytes data(reinterpret_cast<const std::uint8_t*>(factors.data()), factors.size() * sizeof(float));
    source.tensors.push_back({std::string(kNames[i]), DType::kF32, {factors.size()}, {data}});
  }
  return source;
}

}  // namespace sedge::model
