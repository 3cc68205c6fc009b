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
  Collector(const Shards& shards, const LlamaConfig& config, std::vector<ImportTensor>& out)
      : shards_(shards), config_(config), out_(out) {}

  Status collect() {
    const auto file_name = [](const auto& row) { return fmt::format("{}.weight", row.hf); };
    // A tied model may be saved under either name of its one matrix.
    const bool as_head = config_.tied && shards_.find(file_name(kEmbeddingRow)) == nullptr;
    SEDGE_CHECK(take(kEmbeddingRow, file_name(as_head ? kOutputRow : kEmbeddingRow), gguf_name(kEmbeddingRow)));
    SEDGE_CHECK(take(kOutputNormRow, file_name(kOutputNormRow), gguf_name(kOutputNormRow)));
    if (config_.tied) {
      used_.insert(file_name(kOutputRow));
    } else {
      SEDGE_CHECK(take(kOutputRow, file_name(kOutputRow), gguf_name(kOutputRow)));
    }
    for (std::size_t layer = 0; layer < config_.layers; ++layer) {
      for (const auto& row : kLayerRows) {
        SEDGE_CHECK(take(row, fmt::format("model.layers.{}.{}.weight", layer, row.hf), gguf_name(row, layer)));
      }
    }
    return nothing_left();
  }

 private:
  template <class Owner>
  Status take(const LlamaTensorRow<Owner>& row, const std::string& name, std::string gguf) {
    const SafeTensor* tensor = shards_.find(name);
    if (tensor == nullptr) return fail(Code::kNotFound, "tensor '{}' is missing", name);
    if (!tensor->type) {
      return fail(Code::kUnimplemented, "tensor '{}': dtype {} is not imported (F32, F16, BF16 are)", name,
                  tensor->dtype);
    }
    const auto wanted = shape_of(row, config_);
    const std::vector<std::uint64_t> shape(tensor->shape.rbegin(), tensor->shape.rend());
    if (shape != wanted) {
      return fail(Code::kDataLoss, "tensor '{}' has shape {}, config.json asks for {} (innermost first)", name,
                  shape_text(shape), shape_text(wanted));
    }
    const std::size_t heads = row.heads != nullptr ? row.heads(config_) : 0;
    out_.push_back({std::move(gguf), *tensor->type, shape, tensor->data, heads});
    used_.insert(name);
    return {};
  }

  // A tensor without a place (a bias, an adapter) would change the answer if it were ignored; the frequencies that
  // old exports carry follow from the config.
  Status nothing_left() const {
    for (const auto& [name, tensor] : shards_.all()) {
      if (used_.contains(name) || name.ends_with(".rotary_emb.inv_freq")) continue;
      return fail(Code::kUnimplemented, "tensor '{}' {} has no place in a plain Llama of {} layers", name,
                  shape_text(tensor->shape), config_.layers);
    }
    return {};
  }

  const Shards& shards_;
  const LlamaConfig& config_;
  std::vector<ImportTensor>& out_;
  std::set<std::string> used_;
};

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
  const fs::path named = whole ? absolute : directory;
  config.config.name = (named.has_filename() ? named : named.parent_path()).filename().string();
  if (!options.name.empty()) config.config.name = options.name;
  SEDGE_TRY(const Shards shards, Shards::open(directory, whole ? fs::path() : in));
  SEDGE_TRY(const Vocab vocab, vocab_of(directory, options, config));
  ImportSource source;
  source.format = "Hugging Face directory";
  source.opened = shards.files();
  write_llama_config(source.writer, config.config);
  if (config.rope_linear != 1) {
    source.writer.set("llama.rope.scaling.type", "linear");
    source.writer.set("llama.rope.scaling.factor", config.rope_linear);
  }
  write_vocab(source.writer, vocab);
  SEDGE_CHECK(Collector(shards, config.config, source.tensors).collect());
  source.rope_freqs = std::move(config.rope_freqs);
  if (const auto& freqs = source.rope_freqs; !freqs.empty()) {
    const Bytes data(reinterpret_cast<const std::uint8_t*>(freqs.data()), freqs.size() * sizeof(float));
    source.tensors.push_back({std::string(kRopeFreqsName), DType::kF32, {freqs.size()}, data, 0});
  }
  return source;
}

}  // namespace sedge::model
